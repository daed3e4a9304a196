"""Event loops that are blocked, closed, nested, and calls that are cancelled at any instant."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import count, product
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import anyio
import anyio.lowlevel
import outcome
import pytest
import trio

import asynclog
from asynclog import JsonlFile, Report
from asynclog.intake import overflow
from asynclog.sinks.rotation import RotatingFile

from .board import compare

Enter = Callable[[str, Counter[str]], None]

CHECKPOINTS: Final = [*product(range(6), range(6))]
"""At which checkpoint of a wait it is cancelled, and at which there is room."""


def balanced(report: Report) -> bool:
    """Say whether everything that was accepted is accounted for."""
    return report.accepted == report.written + sum(report.dropped.values())


def compared(run_dir: Path, calls: int) -> Counter[str]:
    """Compare the file with the calls that were accepted, numbered from 0."""

    def identify(event: dict[str, Any]) -> tuple[int, int] | None:
        return (0, event["n"]) if "n" in event else None

    counts = compare(run_dir.glob("events*"), {0: calls}, identify)
    assert counts["files"] == 1
    return counts


async def ended_within(rounds: int, work: Callable[[], Awaitable[object]]) -> bool:
    """Cancel something after some rounds of the loop; say whether it has ended before."""
    ended = False

    async def run() -> None:
        nonlocal ended
        await work()
        ended = True

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        for _ in range(rounds):
            await anyio.lowlevel.checkpoint()
            if ended:
                break
        tasks.cancel_scope.cancel()
    return ended


@pytest.mark.usefixtures("ten_times")
@pytest.mark.anyio
async def test_cancelled_after_any_round(run_dir: Path, enter: Enter) -> None:
    """Start, flush and stop, cancelled at any instant, have happened or can be done again."""
    calls = 0
    for step in count():
        rounds = step if step < 8 else 2 ** (step - 5)
        ended = [
            await ended_within(
                rounds, lambda: asynclog.start(run_dir, sinks=[JsonlFile()], stop_timeout="60 s")
            )
        ]
        asynclog.start_sync(run_dir, sinks=[JsonlFile()], stop_timeout="60 s")
        asynclog.get_logger().info("x", n=calls)
        calls += 1
        ended.append(await ended_within(rounds, asynclog.flush))
        ended.append(await ended_within(rounds, asynclog.stop))
        assert balanced(asynclog.stop_sync())
        if all(ended):
            break
    counts = compared(run_dir, calls)
    counts["trials"] = 3 * calls
    enter("start, flush, stop cancelled at any instant", counts)


class Gate:
    """Lets a file be written only while it is open."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._open = threading.Event()
        self._open.set()
        self._held = threading.Event()
        append = RotatingFile.append

        def append_when_open(file: RotatingFile, pieces: Sequence[Any]) -> None:
            self._held.set()
            assert self._open.wait(60)
            append(file, pieces)

        monkeypatch.setattr(RotatingFile, "append", append_when_open)

    def close(self) -> None:
        """Hold the next write."""
        self._open.clear()
        self._held.clear()

    def hold(self) -> None:
        """Wait until a write is held."""
        assert self._held.wait(60)

    def open(self) -> None:
        """Let writes go on."""
        self._open.set()


@pytest.mark.usefixtures("ten_times")
@pytest.mark.anyio
async def test_waiting_call_cancelled_at_every_checkpoint(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, enter: Enter
) -> None:
    """A call that waits for room either raises the cancellation or was accepted, never both."""
    gate = Gate(monkeypatch)
    asynclog.start_sync(run_dir, sinks=[JsonlFile()], ring_size="64 KiB", stop_timeout="60 s")
    log = asynclog.get_logger()
    calls = 0
    for cancel_at, room_at in CHECKPOINTS:
        gate.close()
        log.info("held")
        gate.hold()
        fill_ring()
        scope = anyio.CancelScope()
        checkpoint = 0

        async def sleep(
            _: float,
            scope: anyio.CancelScope = scope,
            cancel_at: int = cancel_at,
            room_at: int = room_at,
        ) -> None:
            nonlocal checkpoint
            if checkpoint == cancel_at:
                scope.cancel()
            if checkpoint == room_at:
                gate.open()
                assert asynclog.flush_sync(60)
            checkpoint += 1
            await anyio.lowlevel.checkpoint()

        monkeypatch.setattr(overflow, "anyio", SimpleNamespace(sleep=sleep))
        with scope:
            await log.ainfo("x", n=calls)
            calls += 1
        assert scope.cancelled_caught == (cancel_at <= room_at)
        gate.open()
    assert balanced(asynclog.stop_sync())
    counts = compared(run_dir, calls)
    counts["trials"] = len(CHECKPOINTS)
    enter("waiting call cancelled at every checkpoint", counts)


def fill_ring() -> None:
    """Log until nothing is accepted any more, however short."""
    for text in ("x" * 500, ""):
        before = asynclog.stats("process").dropped
        while asynclog.stats("process").dropped == before:
            asynclog.get_logger().info(text)


@pytest.mark.usefixtures("ten_times")
@pytest.mark.anyio
async def test_blocked(run_dir: Path, enter: Enter) -> None:
    """While a loop stands still, what it has logged is stored, and what other threads log."""
    asynclog.start_sync(run_dir, sinks=[JsonlFile()])
    await asynclog.get_logger().ainfo("x", n=0)
    stored: list[bool] = []

    def work() -> None:
        for number in range(1, 100):
            asynclog.get_logger().info("x", n=number)
        stored.append(asynclog.flush_sync(60))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()  # in the loop's own thread
    assert stored == [True]
    counts = compared(run_dir, 100)
    await asynclog.stop()
    enter("loop blocked", counts + Counter(trials=1))


@pytest.mark.usefixtures("ten_times")
def test_closed(run_dir: Path, anyio_backend: tuple[str, dict[str, Any]], enter: Enter) -> None:
    """A pipeline outlives the loop on which it was started, and takes from the next ones."""
    backend, options = anyio_backend
    calls = count()

    async def log(number: int) -> None:
        for _ in range(number):
            await asynclog.get_logger().ainfo("x", n=next(calls))

    def run(work: Callable[..., Any], *arguments: Any) -> None:
        anyio.run(work, *arguments, backend=backend, backend_options=options)

    run(partial(asynclog.start, run_dir, sinks=[JsonlFile()]))
    for _ in range(20):
        asynclog.get_logger().info("x", n=next(calls))
        run(log, 10)
    run(asynclog.flush)
    run(log, 10)
    run(asynclog.stop)
    enter("loop closed", compared(run_dir, next(calls)) + Counter(trials=1))


@pytest.mark.usefixtures("ten_times")
def test_guest(run_dir: Path, enter: Enter) -> None:
    """Two loops in one thread, trio as a guest of asyncio: both start, log and flush."""
    calls = count()

    async def log() -> None:
        for _ in range(100):
            await asynclog.get_logger().ainfo("x", n=next(calls))
            await anyio.lowlevel.checkpoint()
        assert await asynclog.flush(60)

    async def guest() -> None:
        await asynclog.start(run_dir, sinks=[JsonlFile()])
        await log()

    async def host() -> None:
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[outcome.Outcome[None]] = loop.create_future()
        await asynclog.start(run_dir, sinks=[JsonlFile()])
        trio.lowlevel.start_guest_run(
            guest,
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            done_callback=ended.set_result,
            host_uses_signal_set_wakeup_fd=True,
        )
        await log()
        (await ended).unwrap()
        assert balanced(await asynclog.stop())

    asyncio.run(host())
    enter("two loops in one thread", compared(run_dir, next(calls)) + Counter(trials=1))
