"""Logging from where a program hardly expects to run: no deadlock, nothing lost, nothing raised."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from .trial import Trial

Enter = Callable[[str, Counter[str]], None]

ODD_PLACES = ("signal handler", "finaliser", "weakref callback", "audit hook")


@pytest.mark.parametrize("calls", [200, pytest.param(20_000, marks=pytest.mark.faults)])
@pytest.mark.parametrize("collector", ["thread", "process"])
@pytest.mark.parametrize(
    "habits",
    [
        pytest.param(["weakref callback"], marks=pytest.mark.faults),
        pytest.param(["audit hook"], marks=pytest.mark.faults),
        [*ODD_PLACES],
    ],
    ids=["weakref callback", "audit hook", "all at once"],
)
def test_odd_places(
    tmp_path: Path, enter: Enter, habits: Sequence[str], collector: str, calls: int
) -> None:
    """While two threads log, into files that rotate all the time."""
    with Trial(
        tmp_path,
        habits=habits,
        collector=collector,
        file={"max_bytes": 50_000, "backups": 9999},
        ring_size="16 MiB",
        pace=0,
    ) as trial:
        trial.goes_on(calls)
        counts = trial.end()
        said = trial.said()
    assert not counts["dropped"]
    assert not said
    # a call that interrupts another one of its own kind is the earlier one
    del counts["disordered"]
    name = habits[0] if len(habits) == 1 else "signal handler at 1 kHz and all of these"
    enter(f"logging from: {name}", counts)


@pytest.mark.parametrize("trials", [1, pytest.param(30, marks=pytest.mark.faults)])
@pytest.mark.parametrize(
    "leaves", ["without a stop", pytest.param("by an exception", marks=pytest.mark.faults)]
)
@pytest.mark.parametrize("collector", ["thread", "process"])
def test_interpreter_shutdown(
    tmp_path: Path, enter: Enter, leaves: str, collector: str, trials: int
) -> None:
    """What ``__del__`` logs when the modules go, behind all functions at exit, is written."""
    for number in range(trials):
        # one thread: the modules of those that go on are never taken apart
        with Trial(
            tmp_path / str(number),
            threads=1,
            habits=["shutdown"],
            leaves=leaves,
            collector=collector,
        ) as trial:
            counts = trial.end()
            assert trial.acknowledged()[1] == 1
        enter("logging from: interpreter shutdown", counts)
