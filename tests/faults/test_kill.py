"""SIGKILL at random instants: what was acknowledged is on disk after recovery, once and whole."""

from __future__ import annotations

from typing import Any

import pytest

from .kill_trials import run_trials

QUICK = 12
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


def check(scenario: str, trials: int, seed: int) -> None:
    """Run trials and check that nothing is lost, doubled, torn or made up."""
    counts = run_trials(trials=trials, seed=seed, **SCENARIOS[scenario])
    assert counts["trials"] == trials
    assert counts["acknowledged"] > 100 * trials
    faults = {name: counts.get(name, 0) for name in ("lost", "doubled", "torn", "invented")}
    assert not any(faults.values()), faults


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_killed_at_random_instants(scenario: str) -> None:
    """0 lost, 0 doubled, 0 torn: some trials of every kind in every run."""
    check(scenario, QUICK, seed=1)


@pytest.mark.faults
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_killed_at_random_instants_two_hundred_times(scenario: str) -> None:
    """0 lost, 0 doubled, 0 torn in two hundred trials of every kind."""
    check(scenario, WHOLE, seed=2)
