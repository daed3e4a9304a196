"""Logging from where a program hardly expects to run: no deadlock, nothing lost, nothing raised."""

from __future__ import annotations

import ctypes
import itertools
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from random import Random

import pytest

import asynclog
from asynclog import JsonlFile

from .board import events
from .trial import PATIENCE, Trial

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


def spin(condition: Callable[[], bool]) -> None:
    """Wait for something that comes in microseconds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.00002)


@pytest.fixture
def quick_switches() -> Generator[None, None, None]:
    """Let threads take turns every few microseconds."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.00001)
    yield
    sys.setswitchinterval(before)


class Interrupted(BaseException):
    """What is raised into a thread."""


@pytest.mark.parametrize("exceptions", [300, pytest.param(10_000, marks=pytest.mark.faults)])
def test_asynchronous_exceptions(
    run_dir: Path, enter: Enter, quick_switches: None, exceptions: int
) -> None:
    """A thread gets exceptions at any instruction of its calls: it logs on, nothing is lost."""
    numbers, returned, over = itertools.count(), list[int](), threading.Event()
    landed: list[None] = []

    log = asynclog.get_logger("victim")

    def log_on() -> None:
        while not over.is_set():
            number = next(numbers)
            log.info("working", n=number)
            returned.append(number)

    def work() -> None:
        while not over.is_set():
            # a function of its own: on the way back of a loop, a try around it does not count
            try:
                log_on()
            except Interrupted:
                landed.append(None)

    randomness = Random(exceptions)
    sinks = [JsonlFile(max_bytes=None)]
    with asynclog.running(run_dir, sinks=sinks, overflow_timeout="60 s") as running:
        thread = threading.Thread(target=work)
        thread.start()
        for number in range(exceptions):
            # back in its loop, and at some instruction of it
            before = len(returned) + randomness.randrange(3)
            spin(lambda before=before: len(returned) > before)
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(thread.ident or 0), ctypes.py_object(Interrupted)
            )
            spin(lambda number=number: len(landed) > number)
        over.set()
        thread.join()
    assert running.report is not None
    assert not running.report.dropped
    lines = [event for path in run_dir.glob("events*") for event in events(path)]
    found = [event["n"] for event in lines if event is not None]
    # a call that was interrupted was accepted or not
    assert set(found) <= set(range(next(numbers)))
    counts = Counter(
        trials=exceptions,
        acknowledged=len(returned),
        lost=len({*returned} - {*found}),
        doubled=len(found) - len({*found}),
        torn=lines.count(None),
        disordered=found != sorted(found),
    )
    enter("exceptions raised into a thread that logs", counts)
