"""log_every and should_run: when it is time again, and what the console shows meanwhile."""

from __future__ import annotations

import threading
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import asynclog
from asynclog._logger import every
from asynclog._logger.every import MAX_INTERVALS, Intervals
from asynclog.exceptions import SettingError


@pytest.fixture(autouse=True)
def new_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin with counters at zero."""
    monkeypatch.setattr(every.intervals, "_limiters", {})


def test_every_n(log: asynclog.BoundLogger) -> None:
    """The first time and then each n-th one."""
    assert [log.should_run(every=3) for _ in range(7)] == [True, False, False] * 2 + [True]
    assert [asynclog.should_run(every=2) for _ in range(4)] == [True, False] * 2
    assert [log.should_run(every=1) for _ in range(3)] == [True] * 3


def test_every_s(monkeypatch: pytest.MonkeyPatch, log: asynclog.BoundLogger) -> None:
    """The first time and then when so much time has passed since the last time it was."""
    now = [5_000_000_000]
    from asynclog.processors import limiter

    original = limiter.make_limiter
    monkeypatch.setattr(
        limiter, "make_limiter", lambda policy: original(policy, clock=lambda: now[0])
    )

    def due() -> bool:
        return log.should_run(seconds=2.5)

    found = []
    for _ in range(12):
        found.append(due())
        now[0] += 500_000_000
    assert found == ([True] + [False] * 4) * 2 + [True, False]
    assert log.should_run(seconds="5 min")


def test_keys_by_place(log: asynclog.BoundLogger) -> None:
    """Calls at different places are counted apart, on one line, too; a key counts together."""
    for _ in range(2):
        found = [log.should_run(every=2), log.should_run(every=2)]
        found.append(asynclog.should_run(every=2))
        with log.log_every(every=2) as first, asynclog.log_every(every=2) as second:
            found += [first, second]
        assert len(set(found)) == 1
    assert [log.should_run(every=2, key="k"), log.should_run(every=2, key="k")] == [True, False]
    with log.log_every(every=2, key="k") as due:
        assert due
    assert not asynclog.should_run(every=2, key="k")
    assert log.should_run(every=3, key="k")


def test_keys_of_any_kind(log: asynclog.BoundLogger) -> None:
    """A key may be anything that has a text."""
    for key in ("a", 1, ("a", 1), 2.5, frozenset({1}), Ellipsis):
        assert [log.should_run(every=2, key=key) for _ in range(2)] == [True, False]


def test_pipelines_do_not_share(tmp_path: Any) -> None:
    """The same place in a function that serves two pipelines counts for each."""
    first, second = (asynclog.Pipeline(tmp_path / name).get_logger() for name in "ab")

    def step(log: asynclog.BoundLogger) -> bool:
        return log.should_run(every=2)

    assert [step(first), step(second), step(first), step(second)] == [True, True, False, False]


@pytest.mark.parametrize(
    "wrong",
    [{}, {"every": 1, "seconds": 1}, {"every": 0}, {"every": 1.5}, {"every": True}]
    + [{"seconds": -1}, {"seconds": "soon"}, {"every": "3"}],
)
def test_what_makes_no_sense(wrong: dict[str, Any], log: asynclog.BoundLogger) -> None:
    """An interval that is none, or two of them, is a mistake in the program, and is said."""
    for call in (log.should_run, asynclog.should_run):
        with pytest.raises(SettingError, match=r"^(every|seconds) must"):
            call(**wrong)
    for block in (log.log_every(**wrong), asynclog.log_every(**wrong)):
        with pytest.raises(ValueError, match="must"), block:
            pass


def test_intervals_are_bounded() -> None:
    """Who asks with ever new intervals fills no memory."""
    intervals = Intervals()
    for number in range(1, MAX_INTERVALS + 50):
        intervals.due(number, None, "k")
    assert len(intervals._limiters) == MAX_INTERVALS


def test_quiet_lines(log: asynclog.BoundLogger, events: list[dict[str, Any]]) -> None:
    """In between, lines are marked; blocks within each other are quiet if any of them is."""
    for number in range(4):
        with log.log_every(every=2) as due:
            log.info("one", number=number)
            asynclog.get_logger("other").error("one", number=number)
            assert due is (number % 2 == 0)
            with log.log_every(every=1):
                log.info("two", number=number)
        log.info("after")
    for record in events:
        odd = record["event"] != "after" and record["number"] % 2 == 1
        assert record.get("quiet") is (True if odd else None)
    assert len(events) == 16


def test_an_exception_ends_the_quiet(
    log: asynclog.BoundLogger, events: list[dict[str, Any]]
) -> None:
    """After a block that raised, lines are shown again."""
    assert log.should_run(every=5, key="k")
    with pytest.raises(ZeroDivisionError), log.log_every(every=5, key="k"):
        1 / 0
    log.info("after")
    assert "quiet" not in events[-1]


@pytest.mark.anyio
async def test_tasks(log: asynclog.BoundLogger, events: list[dict[str, Any]]) -> None:
    """Of tasks that take turns, each is quiet in its own block only; together they count."""

    async def work(number: int) -> None:
        for _ in range(10):
            async with log.log_every(every=4, key="k") as due:
                await anyio.lowlevel.checkpoint()
                log.info("in", due=due, number=number)
            log.info("out")
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        for number in range(4):
            tasks.start_soon(work, number)
    inside = [record for record in events if record["event"] == "in"]
    assert sum(record["due"] for record in inside) == 10
    assert all(record["due"] is not record.get("quiet", False) for record in inside)
    assert not any("quiet" in record for record in events if record["event"] == "out")


def test_threads(log: asynclog.BoundLogger) -> None:
    """Threads that ask at once get exactly as many turns as there are."""
    turns = [0] * 4

    def work(number: int) -> None:
        for _ in range(500):
            turns[number] += log.should_run(every=10, key="k")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(turns) == 200


def test_console_and_file(run_dir: Any, capfd: pytest.CaptureFixture[str], read: Any) -> None:
    """The console shows each tenth step, the file has all."""
    log = asynclog.get_logger()
    sinks = [asynclog.JsonlFile(), asynclog.Console()]
    with asynclog.running(run_dir, sinks=sinks):
        for step in range(30):
            with log.log_every(every=10):
                log.info("step", step=step)
    shown = [line.rpartition("step=")[2] for line in capfd.readouterr().err.splitlines()]
    assert shown == ["0", "10", "20"]
    assert [record["step"] for record in read(run_dir / "events.jsonl")] == list(range(30))
