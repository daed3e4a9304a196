"""Ends other than SIGKILL, and the loss of the shared memory: what was promised is on disk."""

from __future__ import annotations

import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Final

import pytest

from .trial import Trial, wait_for

Enter = Callable[[str, Counter[str]], None]
Ending = Callable[[Trial], None]

LONGEST: Final = 0.1
"""Seconds after which the end comes at most."""


def by_signal(number: signal.Signals) -> Ending:
    """Return what sends a signal."""
    return lambda trial: trial.signal(number)


def by_itself(trial: Trial) -> None:
    """Let it come to its end, its other threads logging on."""
    trial.board.end()


@pytest.mark.parametrize("trials", [1, pytest.param(30, marks=pytest.mark.faults)])
@pytest.mark.parametrize(
    ("name", "ending", "leaves"),
    [
        ("SIGTERM", by_signal(signal.SIGTERM), "by a stop"),
        ("SIGINT", by_signal(signal.SIGINT), "by a stop"),
        pytest.param("SIGHUP", by_signal(signal.SIGHUP), "by a stop", marks=pytest.mark.faults),
        ("uncaught exception, threads log on", by_itself, "by an exception"),
        ("end without a stop, threads log on", by_itself, "without a stop"),
    ],
)
def test_end(
    tmp_path: Path, enter: Enter, name: str, ending: Ending, leaves: str, trials: int
) -> None:
    """All calls that returned are on disk, those of threads that went on to the last as well."""
    randomness = Random(trials)
    for number in range(trials):
        with Trial(tmp_path / str(number), threads=4, leaves=leaves, pace=0) as trial:
            time.sleep(randomness.uniform(0, LONGEST))
            ending(trial)
            counts = trial.ended()
        enter(name, counts)


@pytest.mark.parametrize("trials", [1, pytest.param(50, marks=pytest.mark.faults)])
@pytest.mark.parametrize("collector", ["thread", "process"])
def test_shared_memory_is_lost(
    tmp_path: Path, spool_dir: Path, enter: Enter, collector: str, trials: int
) -> None:
    """As in a power cut that the disk survives: all that a flush had promised is on it."""
    randomness = Random(trials)
    for number in range(trials):
        with Trial(tmp_path / str(number), flushes=True, collector=collector) as trial:
            wait_for(lambda trial=trial: trial.flushed()[0], "nothing is flushed")
            time.sleep(randomness.uniform(0, LONGEST))
            shutil.rmtree(spool_dir, ignore_errors=True)
            trial.kill()
            spool_dir.mkdir(mode=0o700, exist_ok=True)
            trial.recover()
            counts = trial.compare(trial.flushed())
        # the last write may have been cut
        counts["torn"] = max(0, counts["torn"] - 1)
        # more may be there than was flushed
        del counts["invented"]
        enter("shared memory lost with all processes", counts + Counter(trials=1))
