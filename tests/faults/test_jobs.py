"""A rank of a job dies, or all of it: nothing is lost, and the report says who and of what."""

from __future__ import annotations

import importlib.util
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from .job_trials import CAUSES, everything_dies, launcher_dies, one_rank_dies

Enter = Callable[[str, Counter[str]], None]

WHOLE = 34
"""Rounds of each way to die: 204 in all."""
TORCHRUN = 10


@pytest.mark.slow
@pytest.mark.parametrize("way", ["kill", "segfault", "memory error", "oom"])
def test_a_rank_dies(tmp_path: Path, enter: Enter, way: str) -> None:
    """0 lost, doubled, torn, spliced, out of order; the report names rank and cause."""
    counts, _ = one_rank_dies(tmp_path, way, random.Random(way))
    assert counts["acknowledged"] > 0
    enter(f"a rank dies: {way}", counts)


@pytest.mark.faults
@pytest.mark.parametrize("way", CAUSES)
def test_a_rank_dies_at_many_instants(tmp_path: Path, enter: Enter, way: str) -> None:
    """The same two hundred times over all ways to die."""
    randomness, total = random.Random(), Counter[str]()
    for number in range(WHOLE):
        (tmp_path / str(number)).mkdir()
        total += one_rank_dies(tmp_path / str(number), way, randomness)[0]
    assert total["trials"] == WHOLE
    enter(f"a rank dies: {way}", total)


@pytest.mark.faults
def test_a_rank_of_torchrun_dies(tmp_path: Path, enter: Enter) -> None:
    """The same with torchrun, which ends the others at once."""
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed here")
    randomness, total = random.Random(), Counter[str]()
    for number in range(TORCHRUN):
        way = [*CAUSES][number % len(CAUSES)]
        (tmp_path / str(number)).mkdir()
        total += one_rank_dies(tmp_path / str(number), way, randomness, torchrun=True)[0]
    assert total["trials"] == TORCHRUN
    enter("a rank of torchrun dies", total)


@pytest.mark.parametrize("rounds", [1, pytest.param(200, marks=pytest.mark.faults)])
def test_everything_is_killed(tmp_path: Path, enter: Enter, rounds: int) -> None:
    """What ranks had logged when launcher and ranks were killed, `asynclog recover` brings back."""
    randomness, total = random.Random(rounds), Counter[str]()
    for number in range(rounds):
        (tmp_path / str(number)).mkdir()
        total += everything_dies(tmp_path / str(number), randomness)
    assert total["acknowledged"] > 0
    enter("launcher and ranks are killed", total)


@pytest.mark.parametrize("rounds", [1, pytest.param(100, marks=pytest.mark.faults)])
def test_the_launcher_is_killed(tmp_path: Path, enter: Enter, rounds: int) -> None:
    """Programs go on, print and log into the same run; a report is made all the same."""
    randomness, total = random.Random(rounds), Counter[str]()
    for number in range(rounds):
        (tmp_path / str(number)).mkdir()
        # a rank, too, in every other round
        then = number % 2 == 0
        total += launcher_dies(tmp_path / str(number), randomness, then_a_rank=then)
    assert total["acknowledged"] > 0
    enter("the launcher is killed", total)
