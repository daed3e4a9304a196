"""Stages: where a program is, in every record, on three event loops and in threads."""

from __future__ import annotations

import contextvars
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
import structlog

import asynclog
from asynclog.experiment import stage


def paths(events: list[dict[str, Any]], event: str) -> list[Any]:
    """Return the stage of each record of an event."""
    return [record.get("stage") for record in events if record["event"] == event]


def test_records_of_a_stage(log: asynclog.BoundLogger, events: list[dict[str, Any]]) -> None:
    """Start and end are records with the metadata as given; what is between names the stage."""
    with log.stage("epoch", epoch=5, lr=0.001):
        log.info("inside")
    log.info("outside")
    start, inside, end, outside = events
    elapsed = end.pop("elapsed")
    for record in (start, end):
        del record["timestamp"]
    assert start == {
        "kind": "stage",
        "level": "info",
        "event": "Stage [epoch] (epoch=5, lr=0.001) - START",
        "logger": "app",
        "stage": "epoch",
        "stage_event": "start",
        "epoch": 5,
        "lr": 0.001,
    }
    assert end == {**start, "event": f"Stage [epoch] - END ({elapsed:.4f}s)", "stage_event": "end"}
    assert inside["stage"] == "epoch"
    assert "stage" not in outside


def test_long_stages(
    log: asynclog.BoundLogger, events: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a second on, tenths of a second say enough."""
    now = 0.0
    monkeypatch.setattr("asynclog._logger.stages.time.perf_counter", lambda: now)
    with log.stage("training"):
        now = 10.5
    assert events[-1]["event"] == "Stage [training] - END (10.5s)"
    assert events[-1]["elapsed"] == 10.5


def test_nesting(log: asynclog.BoundLogger, events: list[dict[str, Any]]) -> None:
    """A path names all stages from the outermost on, and stages of the same name nest, too."""
    with log.stage("epoch"):
        for name in ("train", "validation"):
            with log.stage(name), log.stage("batch"), log.stage("batch"):
                log.info("deep")
        log.info("shallow")
    assert paths(events, "deep") == ["epoch/train/batch/batch", "epoch/validation/batch/batch"]
    assert paths(events, "shallow") == ["epoch"]
    assert "Stage [epoch/train/batch] - START" in [record["event"] for record in events]


def test_what_it_yields(log: asynclog.BoundLogger) -> None:
    """Name, path, metadata and elapsed, by attribute and by key; elapsed runs and then stays."""
    with log.stage("epoch", epoch=5) as outer, log.stage("train") as found:
        assert (found.name, found["name"]) == ("train", "train")
        assert found["path"] == found.path == "epoch/train"
        assert found.metadata == found["metadata"] == {}
        assert outer["metadata"] == {"epoch": 5}
        first = found.elapsed
        assert 0 < first < found["elapsed"]
    assert found.elapsed == found["elapsed"] > first
    assert "train" in repr(found)
    with pytest.raises(KeyError):
        found["nope"]


def test_all_loggers_carry_it(events: list[dict[str, Any]]) -> None:
    """The functions are for every logger: ours, structlog's, bound ones, awaited calls."""
    with asynclog.stage("outer", n=1), stage("inner"):
        structlog.get_logger("other").info("x")
        asynclog.get_logger().bind(a=1).error("x")
        with structlog.get_logger().stage("third"):
            asynclog.get_logger("app").info("x")
    assert paths(events, "x") == ["outer/inner", "outer/inner", "outer/inner/third"]


def test_exceptions(log: asynclog.BoundLogger, events: list[dict[str, Any]]) -> None:
    """An exception goes on; the end is there all the same and names it."""
    with pytest.raises(ZeroDivisionError), log.stage("a"), log.stage("b"):
        1 / 0
    log.info("after")
    ends = [record for record in events if record.get("stage_event") == "end"]
    assert [(end["stage"], end["error"]) for end in ends] == [
        ("a/b", "ZeroDivisionError"),
        ("a", "ZeroDivisionError"),
    ]
    assert ends[0]["event"].endswith("s) by ZeroDivisionError")
    assert paths(events, "after") == [None]


def test_metadata_of_any_name_and_value(
    log: asynclog.BoundLogger, events: list[dict[str, Any]]
) -> None:
    """No name of a metadata value disturbs the record, and no value raises."""

    class Odd:
        def __str__(self) -> str:
            raise RuntimeError

        __repr__ = __str__

    names = "self name event level timestamp kind logger stage stage_event elapsed error quiet rank"
    names += " exc_info stack_info positional_args"
    given: dict[str, Any] = {name: f"<{name}>" for name in names.split()}
    with log.stage("s", **given, odd=Odd(), long="x" * 10_000, nan=float("nan")):
        pass
    start, end = events
    assert (start["kind"], start["level"], start["stage"]) == ("stage", "info", "s")
    assert (start["stage_event"], end["stage_event"]) == ("start", "end")
    assert start["event"].startswith("Stage [s] (self=<self>, name=<name>, event=<event>, ")
    for name in given:
        assert f"<{name}>" in (start.get(name), start.get(f"{name}_"))
    assert start["nan"] == "NaN"
    assert "log_error" not in start


def test_odd_names(log: asynclog.BoundLogger, events: list[dict[str, Any]]) -> None:
    """A name may be anything; a path is bounded however deep stages go."""
    name: Any
    for name in ("", 5, None, "x" * 10_000, "a/b", "\udcff\n"):
        with log.stage(name):
            pass
    assert all(len(event["stage"]) <= 300 for event in events)

    def descend(depth: int) -> None:
        with log.stage("deeper and deeper"):
            if depth:
                descend(depth - 1)
            else:
                log.info("bottom")

    descend(200)
    [bottom] = paths(events, "bottom")
    assert len(bottom) <= 1024
    assert bottom.endswith("deeper/deeper and deeper"[-20:])


def test_levels(log: asynclog.BoundLogger, events: list[dict[str, Any]]) -> None:
    """Its own records are of level info; where that does not pass, others name it all the same."""
    asynclog.set_level(None, "WARNING")
    with log.stage("quiet") as found:
        log.warning("inside")
    assert [record["event"] for record in events] == ["inside"]
    assert paths(events, "inside") == ["quiet"]
    assert found.elapsed > 0


def test_values_given_by_the_call_win(
    log: asynclog.BoundLogger, events: list[dict[str, Any]]
) -> None:
    """A record that says its stage itself keeps it."""
    with log.stage("epoch"):
        log.info("own", stage="mine")
        log.bind(stage="bound").info("own")
    assert paths(events, "own") == ["mine", "bound"]


def test_cleared_context(log: asynclog.BoundLogger, events: list[dict[str, Any]]) -> None:
    """Who clears structlog's context clears the stage; the end puts back what was before."""
    structlog.contextvars.bind_contextvars(stage="handmade")
    with log.stage("epoch"):
        log.info("in")
        structlog.contextvars.clear_contextvars()
        log.info("cleared")
        with log.stage("fresh"):
            log.info("in")
    log.info("after")
    assert paths(events, "in") == ["handmade/epoch", "fresh"]
    assert paths(events, "cleared") == [None]
    assert paths(events, "after") == ["handmade"]


@pytest.mark.anyio
async def test_tasks(log: asynclog.BoundLogger, events: list[dict[str, Any]]) -> None:
    """Tasks inherit the stage they were begun in, and their own stages are nobody else's."""
    turns = [anyio.Event() for _ in range(4)]

    async def work(number: int) -> None:
        async with log.stage(f"task{number}", number=number):
            if number:
                await turns[number].wait()
            async with log.stage("inner"):
                log.info("tick", number=number)
                if number + 1 < len(turns):
                    turns[number + 1].set()
                await anyio.lowlevel.checkpoint()
                log.info("tick", number=number)

    async with log.stage("run"):
        async with anyio.create_task_group() as tasks:
            for number in range(4):
                tasks.start_soon(work, number)
        log.info("joined")
    for record in events:
        if record["event"] == "tick":
            assert record["stage"] == f"run/task{record['number']}/inner"
    assert len(paths(events, "tick")) == 8
    assert paths(events, "joined") == ["run"]


@pytest.mark.anyio
async def test_cancelled(log: asynclog.BoundLogger, events: list[dict[str, Any]]) -> None:
    """A stage that is cancelled ends with a record as well."""
    with anyio.CancelScope() as scope:
        async with log.stage("long"):
            scope.cancel()
            await anyio.sleep_forever()
    log.info("after")
    assert events[1]["stage_event"] == "end"
    assert "Cancelled" in events[1]["error"]
    assert paths(events, "after") == [None]


@pytest.mark.anyio
async def test_worker_threads(log: asynclog.BoundLogger, events: list[dict[str, Any]]) -> None:
    """A thread that takes the context along is in the stage, and its own stage ends with it."""

    def work() -> None:
        with log.stage("thread"):
            log.info("inside")

    async with log.stage("task"):
        await anyio.to_thread.run_sync(work)
        log.info("back")
    assert paths(events, "inside") == ["task/thread"]
    assert paths(events, "back") == ["task"]


def test_threads(log: asynclog.BoundLogger, events: list[dict[str, Any]]) -> None:
    """Threads that interleave their stages at each switch never see each other's."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def work(number: int) -> None:
        for _ in range(50):
            with log.stage("outer", number=number), log.stage(f"t{number}"):
                log.info("tick", number=number)

    try:
        with log.stage("main"):
            threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        sys.setswitchinterval(interval)
    ticks = [record for record in events if record["event"] == "tick"]
    assert len(ticks) == 200
    assert all(tick["stage"] == f"outer/t{tick['number']}" for tick in ticks)


def test_left_in_another_context(log: asynclog.BoundLogger, events: list[dict[str, Any]]) -> None:
    """A generator may be closed elsewhere than where it was begun: nothing raises."""

    def generate() -> Iterator[int]:
        with log.stage("generator"):
            yield 1

    generator = generate()
    contextvars.copy_context().run(next, generator)
    generator.close()
    log.info("after")
    assert events[-2]["stage_event"] == "end"
    assert paths(events, "after") == [None]


@pytest.mark.anyio
async def test_async_generators(log: asynclog.BoundLogger, events: list[dict[str, Any]]) -> None:
    """The same for an async generator that another task closes."""

    async def generate() -> AsyncIterator[int]:
        async with log.stage("generator"):
            yield 1

    generator: Any = generate()

    async def begin() -> None:
        await generator.__anext__()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(begin)
    await generator.aclose()
    log.info("after")
    assert paths(events, "after") == [None]


def test_on_the_console(run_dir: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """A stage's lines say it all by their text; other lines name the stage."""
    running = asynclog.running(run_dir, sinks=[asynclog.Console()])
    with running, asynclog.stage("epoch", epoch=5):
        asynclog.get_logger().info("inside")
    lines = [line[22:] for line in capfd.readouterr().err.splitlines()]
    assert lines[0] == "INFO - Stage [epoch] (epoch=5) - START"
    assert lines[1] == "INFO - inside  stage=epoch"
    assert lines[2].startswith("INFO - Stage [epoch] - END (")
