"""SIGKILL at random instants: what was acknowledged is on disk after recovery, once and whole."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

Enter = Callable[[str, Counter[str]], None]

TRIALS: Final = Path(__file__).with_name("kill_trials.py")

QUICK = 6
WHOLE = 200

SCENARIOS: dict[str, dict[str, Any]] = {
    "process, one thread": {"threads": 1},
    "process, four threads": {"threads": 4},
    "process, during rotation": {"threads": 4, "target": "rotation", "max_bytes": 20_000},
    "process, then the recovery": {"threads": 2, "target": "recovery", "max_bytes": 30_000},
    "process beside its collector, one thread": {"collector": "process"},
    "process beside its collector, four threads": {"collector": "process", "threads": 4},
    "collector": {"collector": "process", "target": "collector", "threads": 2},
    "both, one thread": {"collector": "process", "target": "both"},
    "both, four threads, during rotation": {
        "collector": "process",
        "target": "both",
        "threads": 4,
        "max_bytes": 20_000,
    },
}


def check(enter: Enter, scenario: str, trials: int, seed: int) -> None:
    """Run trials in a process of their own; nothing may be lost, doubled, torn or made up."""
    options = {"trials": trials, "seed": seed, **SCENARIOS[scenario]}
    done = subprocess.run(
        [sys.executable, str(TRIALS), json.dumps(options)],
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )
    assert not done.returncode, done.stderr
    counts = Counter[str](json.loads(done.stdout))
    assert counts["trials"] == trials
    assert counts["acknowledged"] > 100 * trials
    enter(f"SIGKILL: {scenario}", counts)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_killed_at_random_instants(enter: Enter, scenario: str) -> None:
    """0 lost, 0 doubled, 0 torn: some trials of every kind in every run."""
    check(enter, scenario, QUICK, seed=1)


@pytest.mark.faults
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_killed_at_random_instants_two_hundred_times(enter: Enter, scenario: str) -> None:
    """0 lost, 0 doubled, 0 torn in two hundred trials of every kind."""
    check(enter, scenario, WHOLE, seed=2)
