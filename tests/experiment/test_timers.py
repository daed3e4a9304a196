"""Timers: how long something takes, and that they can be switched off everywhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import asynclog


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the clock of timers, a list of one item to be changed."""
    clock = [100.0]
    monkeypatch.setattr("asynclog._logger.stages.time.perf_counter", lambda: clock[0])
    return clock


def test_a_timer(log: asynclog.BoundLogger, events: list[dict[str, Any]], now: list[float]) -> None:
    """It says in a record and by attribute or key how long the block took."""
    with log.timer("data_loading") as found:
        now[0] += 0.05
        assert found.elapsed == found["elapsed"] == pytest.approx(0.05)
        now[0] += 0.0734
    assert found.elapsed == found["elapsed"] == pytest.approx(0.1234)
    assert found["name"] == found.name == "data_loading"
    [record] = events
    del record["timestamp"]
    assert record == {
        "kind": "timer",
        "level": "info",
        "event": "Timer [data_loading]: 0.1234s",
        "logger": "app",
        "timer": "data_loading",
        "elapsed": found.elapsed,
    }
    with pytest.raises(KeyError):
        found["metadata"]


def test_silent(log: asynclog.BoundLogger, events: list[dict[str, Any]]) -> None:
    """Without a record it still measures."""
    with log.timer("forward", log_result=False) as found:
        pass
    assert found.elapsed > 0
    assert events == []


def test_exceptions(events: list[dict[str, Any]]) -> None:
    """What the block raises goes on, and the time is said."""
    with pytest.raises(ZeroDivisionError), asynclog.timer("t") as found:
        1 / 0
    assert found.elapsed > 0
    assert [record["timer"] for record in events] == ["t"]


def test_within_a_stage(events: list[dict[str, Any]]) -> None:
    """A timer's record names the stage it is in."""
    with asynclog.stage("train"), asynclog.timer("t"):
        pass
    assert [record["stage"] for record in events if record.get("kind") == "timer"] == ["train"]


@pytest.mark.anyio
async def test_async(log: asynclog.BoundLogger, events: list[dict[str, Any]]) -> None:
    """Tasks that take turns each measure their own time."""

    async def work(name: str, turns: int) -> None:
        async with log.timer(name):
            for _ in range(turns):
                await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work, "long", 50)
        tasks.start_soon(work, "short", 1)
    took = {record["timer"]: record["elapsed"] for record in events}
    assert 0 < took["short"] < took["long"]


def test_switched_off_at_run_time(
    log: asynclog.BoundLogger, events: list[dict[str, Any]], now: list[float]
) -> None:
    """Off: elapsed stays 0.0 and nothing is logged, until they are on again."""
    asynclog.set_timers(False)
    with log.timer("a") as found, asynclog.timer("b") as other:
        now[0] += 1
        assert found.elapsed == 0.0
    assert found.elapsed == found["elapsed"] == other.elapsed == 0.0
    assert events == []
    asynclog.set_timers(True)
    with log.timer("c") as found:
        now[0] += 1
    assert found.elapsed == 1.0
    assert [record["timer"] for record in events] == ["c"]


@pytest.mark.parametrize(
    ("value", "off"), [("0", True), ("false", True), ("", False), ("1", False)]
)
def test_switched_off_by_the_environment(
    value: str,
    off: bool,
    log: asynclog.BoundLogger,
    events: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``ASYNCLOG_TIMER=0`` does the same; what the program says goes before it."""
    monkeypatch.setenv("ASYNCLOG_TIMER", value)
    with log.timer("a") as found:
        pass
    assert (found.elapsed == 0.0) is off
    assert (events == []) is off
    asynclog.set_timers(True)
    with log.timer("b") as found:
        pass
    assert found.elapsed > 0


def test_a_program_with_timers_off(tmp_path: Path) -> None:
    """The variable is enough, also for an ExperimentLogger."""
    code = """
from asynclog.experiment import ExperimentLogger
with ExperimentLogger("run", console_output=False) as logger:
    with logger.timer("t") as result:
        pass
assert result["elapsed"] == 0.0
assert "timer" not in open("run/events.jsonl").read()
"""
    subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={"ASYNCLOG_TIMER": "0", "PATH": ""},
        cwd=tmp_path,
        check=True,
        timeout=60,
    )
