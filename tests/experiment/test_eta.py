"""Eta: how far a loop is and how long it will take."""

from __future__ import annotations

import threading

import pytest

from asynclog.experiment import Eta, Progress
from asynclog.experiment.eta import MAX_KEYS, time_text


@pytest.fixture
def now() -> list[float]:
    """Return the clock, a list of one item to be changed."""
    return [1000.0]


@pytest.fixture
def eta(now: list[float]) -> Eta:
    """Return an Eta with that clock."""
    return Eta(clock=lambda: now[0])


def test_every_twentieth(eta: Eta, now: list[float]) -> None:
    """It speaks when another twentieth is done, and at the end; the pace tells the rest."""
    said: dict[int, Progress] = {}
    for step in range(101):
        progress = eta.update("train", step, 100)
        if progress is not None:
            said[step] = progress
        now[0] += 2
    assert list(said) == list(range(5, 101, 5))
    assert said[25] == Progress(25, 100, elapsed=50.0, remaining=150.0)
    assert said[25].percent == 25.0
    assert said[100].remaining == 0
    assert str(said[25]) == "25/100 (25.0%) | Elapsed: 50s | ETA: 2m 30s"


def test_a_resumed_loop(eta: Eta, now: list[float]) -> None:
    """Only what was done since counts: 500 steps of before do not make it fast."""
    assert eta.update("train", 500, 1000) is None
    now[0] += 100
    progress = eta.update("train", 550, 1000)
    assert progress == Progress(550, 1000, elapsed=100.0, remaining=900.0)


def test_steps_that_are_left_out(eta: Eta, now: list[float]) -> None:
    """A loop that logs each 30th step still speaks."""
    said = []
    for step in range(0, 1000, 30):
        now[0] += 1
        if eta.update("k", step, 1000):
            said.append(step)
    assert len(said) == 19


def test_keys_and_new_beginnings(eta: Eta, now: list[float]) -> None:
    """Loops are apart by key, and one that begins anew is timed anew."""
    for key in ("a", "b"):
        assert eta.update(key, 0, 10) is None
    now[0] += 10
    assert eta.update("a", 5, 10) == Progress(5, 10, 10.0, 10.0)
    assert eta.update("a", 5, 10) is None
    now[0] += 10
    assert eta.update("b", 5, 10) == Progress(5, 10, 20.0, 20.0)
    eta.update("a", 3, 10)
    assert eta.update("a", 0, 10) is None


def test_odd_numbers(eta: Eta, now: list[float]) -> None:
    """Totals that are none, and steps beyond the last, harm nothing."""
    for total in (0, -5):
        assert eta.update("k", 1, total) is None
    eta.update("k", 1, 3)
    now[0] += 1
    progress = eta.update("k", 7, 3)
    assert progress is not None
    assert progress.remaining == 0
    assert eta.update("k", 8, 3) is None


def test_keys_are_bounded(eta: Eta) -> None:
    """Keys without end fill no memory."""
    for number in range(MAX_KEYS + 10):
        eta.update(f"{number}", 0, 10)
    assert len(eta._seen) == MAX_KEYS
    assert eta.update("another", 9, 10) is None


def test_threads() -> None:
    """Of threads that reach a mark at once, one speaks."""
    for _ in range(50):
        eta = Eta()
        eta.update("k", 0, 20)
        begin = threading.Barrier(4)
        said: list[Progress | None] = []

        def work(
            eta: Eta = eta, begin: threading.Barrier = begin, said: list[Progress | None] = said
        ) -> None:
            begin.wait()
            said.append(eta.update("k", 10, 20))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(progress is not None for progress in said) == 1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (-3, "0s"), (0.9, "0s"), (45, "45s"), (8130, "2h 15m 30s"), (97200, "1d 3h")],
)
def test_time_text(seconds: float, text: str) -> None:
    """Times are for people."""
    assert time_text(seconds) == text
