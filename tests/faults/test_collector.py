"""The collector process stands still: callers go on, and nobody races it."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from asynclog.collector.published import read_tally
from asynclog.intake.spool import Spool

from .trial import Trial, wait_for

Enter = Callable[[str, Counter[str]], None]


def collector_of(trial: Trial) -> int:
    """Return the process that collects for a victim, once it has published its counts."""
    spool = Spool(trial.run_dir, Path(os.environ["ASYNCLOG_SPOOL_DIR"]))
    found: list[int] = []

    def look() -> bool:
        tally = read_tally(spool)
        found[:] = [tally.pid] if tally is not None and tally.pid is not None else []
        return bool(found) and found[0] != trial.board.pid(0)

    wait_for(look, "nobody collects")
    return found[0]


@pytest.mark.parametrize("trials", [1, pytest.param(30, marks=pytest.mark.faults)])
@pytest.mark.parametrize("then", [signal.SIGCONT, signal.SIGKILL])
def test_stopped(tmp_path: Path, enter: Enter, then: signal.Signals, trials: int) -> None:
    """What is logged meanwhile is stored once it goes on, or by another one once it is killed."""
    for number in range(trials):
        with Trial(tmp_path / str(number), collector="process", ring_size="16 MiB") as trial:
            trial.stored()
            collector = collector_of(trial)
            os.kill(collector, signal.SIGSTOP)
            try:
                trial.goes_on(200)
            finally:
                os.kill(collector, then)
            trial.stored()
            counts = trial.end()
        enter(f"collector stopped (SIGSTOP), then {then.name}", counts)


@pytest.mark.parametrize("trials", [1, pytest.param(30, marks=pytest.mark.faults)])
def test_stopped_at_the_end(tmp_path: Path, enter: Enter, trials: int) -> None:
    """A process ends although the collector does not; what that has not stored comes later."""
    for number in range(trials):
        with Trial(
            tmp_path / str(number), collector="process", ring_size="16 MiB", stop_timeout="200 ms"
        ) as trial:
            trial.stored()
            collector = collector_of(trial)
            os.kill(collector, signal.SIGSTOP)
            try:
                trial.goes_on(200)
                accepted, written, dropped = trial.report()
                trial.wait()
            finally:
                os.kill(collector, signal.SIGCONT)
            assert accepted == sum(trial.acknowledged().values())
            assert dropped == {"unwritten": accepted - written}
            counts = trial.ended()
        enter("collector stopped (SIGSTOP) when the process ends", counts)
