"""Calls from everywhere: async, in handlers, in finalisers, from many threads."""

from __future__ import annotations

import gc
import json
import sys
import threading
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import structlog
from structlog.contextvars import bind_contextvars

from asynclog import lazy
from asynclog._levels import LevelTable
from asynclog._line.encoder import LineEncoder
from asynclog._logger.bound import BoundLogger
from asynclog._logger.system import LogSystem
from asynclog.intake.overflow import Overflow
from asynclog.intake.producer import Producer

# Exceptions


def test_exception_outside_of_a_handler_is_an_error_without_one(log: BoundLogger, lines: Any):
    """No exception is being handled: the record has none, and nothing is raised."""
    log.exception("hello", a=1)
    assert lines.last["level"] == "error"
    assert "exception" not in lines.last
    assert lines.last["a"] == 1


@pytest.mark.anyio
async def test_exceptions_are_written(log: BoundLogger, lines: Any):
    """By exception(), by exc_info in each of its forms, and by their async twins."""
    try:
        raise ValueError("broken")
    except ValueError as error:
        log.exception("hello")
        log.error("hello", exc_info=True)
        log.info("hello", exc_info=error)
        log.info("hello", exc_info=sys.exc_info())
        await log.aexception("hello")
        await log.aerror("hello", exc_info=True)
    assert len(lines.lines) == 6
    for event in lines.events:
        assert event["exception"]["type"] == "ValueError"
        assert event["exception"]["message"] == "broken"
    log.bind(a=1).info("hello", exc_info=False)
    assert "exception" not in lines.last


def test_the_stack_can_be_asked_for(log: BoundLogger, lines: Any):
    """stack_info shows the caller's frames and none of ours."""
    log.info("hello", stack_info=True)
    text = json.dumps(lines.last["stack"])
    assert "test_the_stack_can_be_asked_for" in text
    assert "_bound.py" not in text
    assert "_fastpath.py" not in text


# Async methods


@pytest.mark.anyio
async def test_async_methods_wait_for_room(log: BoundLogger, lines: Any):
    """They return when the line was accepted, not before."""
    lines.room = anyio.Event()
    done: list[int] = []

    async def call(number: int) -> None:
        await log.ainfo("hello", number=number)
        done.append(number)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call, 1)
        await anyio.wait_all_tasks_blocked()
        assert done == []
        assert lines.lines == []
        lines.room.set()
    assert done == [1]
    assert len(lines.lines) == 1


@pytest.mark.anyio
async def test_a_cancelled_wait_accepts_nothing(log: BoundLogger, lines: Any):
    """The cancellation is raised, and the record is not there."""
    lines.room = anyio.Event()
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(log.ainfo, "hello")
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
    assert scope.cancelled_caught
    assert lines.lines == []


@pytest.mark.anyio
async def test_a_cancelled_task_does_not_begin_to_log(log: BoundLogger, lines: Any):
    """A call in a cancelled scope raises at once; processors do not run."""
    with anyio.CancelScope() as scope:
        scope.cancel()
        await log.ainfo("hello", a=lazy(lambda: pytest.fail("evaluated")))
        pytest.fail("not cancelled")
    assert scope.cancelled_caught
    assert lines.lines == []


@pytest.mark.anyio
async def test_an_accepted_call_raises_nothing(log: BoundLogger, lines: Any):
    """A cancellation that comes while the line is put waits for the next checkpoint."""
    with anyio.CancelScope() as scope:
        original = lines.put

        def put(line: bytes, level: int) -> bool:
            scope.cancel()
            return original(line, level)

        lines.put = put
        await log.ainfo("hello")
        assert len(lines.lines) == 1
        await anyio.lowlevel.checkpoint()
        pytest.fail("not cancelled")


@pytest.mark.anyio
async def test_async_methods_keep_context_and_call_site(system: LogSystem):
    """Processors run in the caller's context, on its thread, called from its frame."""
    system.set_processors(
        [
            structlog.processors.CallsiteParameterAdder(
                [
                    structlog.processors.CallsiteParameter.FUNC_NAME,
                    structlog.processors.CallsiteParameter.THREAD_NAME,
                    structlog.processors.CallsiteParameter.MODULE,
                ]
            )
        ]
    )
    log = system.get_logger()
    bind_contextvars(request=7)
    await log.ainfo("hello")
    log.info("hello")
    log.log(20, "hello")
    log.exception("hello")
    for event in log._logger.target.events:
        assert event["func_name"] == "test_async_methods_keep_context_and_call_site"
        assert event["thread_name"] == threading.current_thread().name
        assert event["module"] == "test_calls"
        assert event["request"] == 7


# Together with the real producer


def test_threads_share_a_real_producer():
    """Every call of every thread becomes one whole line of the ring."""
    producer = Producer(Overflow())
    system = LogSystem(producer, LineEncoder(), LevelTable(), None)
    threads = [
        threading.Thread(
            target=lambda name=name: [
                system.get_logger(name).bind(thread=name).info("hello", number=number)
                for number in range(100)
            ]
        )
        for name in "abcd"
    ]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    ring = producer.ring
    assert ring is not None
    events = [json.loads(line) for line in bytes(ring.read(ring.tail, ring.head)).splitlines()]
    for name in "abcd":
        assert [e["number"] for e in events if e["thread"] == name] == list(range(100))


def test_finalisers_may_log(log: BoundLogger, lines: Any):
    """Objects that log when they are collected, also in the middle of another call."""

    class Noisy:
        def __init__(self) -> None:
            self.myself = self

        def __del__(self) -> None:
            log.info("gone", number=1.5)

    threshold = gc.get_threshold()
    gc.set_threshold(5)
    try:
        for number in range(200):
            Noisy()
            log.info("hello", number=number, items=[number])
    finally:
        gc.set_threshold(*threshold)
    gc.collect()
    assert sum(event["event"] == "gone" for event in lines.events) == 200
    assert [e["number"] for e in lines.events if e["event"] == "hello"] == list(range(200))
