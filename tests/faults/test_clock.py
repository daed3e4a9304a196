"""The clock jumps: order is kept, nothing rotates for it, and nobody waits longer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from .board import events
from .trial import HERE, Trial

Enter = Callable[[str, Counter[str]], None]

DAY = 86_400


def days_in(trial: Trial) -> set[int]:
    """Return how many days from now the records of a run are dated, in the order of the file."""
    (path,) = trial.files()
    return {
        round((datetime.fromisoformat(event["timestamp"]) - datetime.now(UTC)) / timedelta(days=1))
        for event in events(path)
        if event is not None
    }


@pytest.mark.parametrize("jumps", [4, pytest.param(100, marks=pytest.mark.faults)])
@pytest.mark.parametrize("collector", ["thread", "process"])
def test_wall_clock_jumps(tmp_path: Path, enter: Enter, collector: str, jumps: int) -> None:
    """Forwards by a month and back by two: one file, in order; flush and stop come to an end."""
    environment = {
        "BOARD": str(tmp_path / "board"),
        "PYTHONPATH": os.pathsep.join([str(HERE / "wrong_clock"), str(HERE)]),
    }
    file = {"max_bytes": "100 MB", "backups": 3}
    with Trial(
        tmp_path, environment=environment, flushes=True, file=file, collector=collector
    ) as trial:
        for number in range(jumps):
            trial.board.set_clock([30, -30, 0, 1][number % 4] * DAY)
            trial.goes_on()
            trial.stored()
        counts = trial.end()
        assert counts["files"] == 1
        assert not counts["dropped"]
        assert days_in(trial) >= {30, -30, 0, 1}
    counts["trials"] = jumps
    enter("wall clock jumps, forwards and back", counts)


@pytest.mark.usefixtures("ten_times")
@pytest.mark.parametrize(
    "ahead", ["the first", pytest.param("the second", marks=pytest.mark.faults)]
)
def test_monotonic_clocks_that_differ(tmp_path: Path, enter: Enter, ahead: str) -> None:
    """Two programs of one run whose monotonic clocks differ, as in two containers, share it."""
    around = ["unshare", "--time", "--monotonic", "1000000", "--boottime", "1000000"]
    show = [*around, sys.executable, "-c", "import time; print(time.monotonic())"]
    if not shutil.which("unshare") or subprocess.run(show, capture_output=True).returncode:  # noqa: PLW1510
        pytest.skip("no time namespaces here: needs root, and a kernel that has them")
    first = Trial(
        tmp_path / "first",
        run_dir=tmp_path / "run",
        around=around if ahead == "the first" else (),
        flushes=True,
    )
    second = Trial(
        tmp_path / "second",
        run_dir=tmp_path / "run",
        around=around if ahead == "the second" else (),
        first=2,
        flushes=True,
    )
    with first, second:
        first.stored()
        second.stored()
        first.kill()
        second.goes_on()
        second.stored()
        assert all(each.board.acknowledged(0, 1) for each in (first, second))
        counts = second.end() + first.ended()
    counts["trials"] = 1
    enter("monotonic clocks of two processes differ", counts)
