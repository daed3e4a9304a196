"""Runs the rounds: A B C, A B C, ... each in a process and a directory of its own."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench._scenario import Scenario
from bench.adapters import Adapter
from bench.bounded import run_bounded

ROOT = Path(__file__).resolve().parent.parent
HANGS = 2
"""After so many rounds that had to be stopped a library is left out of the scenario's others."""
QUICK_ROUNDS = 3
QUICK_PEER_ROUNDS = 2


@dataclass(frozen=True)
class Plan:
    """What to run: scenarios, libraries, the scale of the numbers, rounds (None: each its own)."""

    scenarios: Sequence[Scenario]
    libraries: Sequence[type[Adapter]]
    scale: str
    rounds: int | None
    directory: Path

    def rounds_of(self, scenario: Scenario) -> int:
        """Return how many rounds a scenario gets."""
        if self.rounds is not None:
            return self.rounds
        return scenario.rounds if self.scale == "full" else min(QUICK_ROUNDS, scenario.rounds)

    def takes_part(self, library: type[Adapter], scenario: Scenario, number: int) -> bool:
        """Tell whether a library runs in this round: a peer does in some, evenly spread."""
        if self.rounds is not None or not library.peer:
            return True
        rounds = self.rounds_of(scenario)
        wanted = scenario.peer_rounds if self.scale == "full" else QUICK_PEER_ROUNDS
        return number in {i * rounds // wanted for i in range(wanted)}

    def libraries_of(self, scenario: Scenario) -> list[type[Adapter]]:
        """Return the libraries that take part in a scenario."""
        return [
            library
            for library in self.libraries
            if (library.scenarios is None or scenario.name in library.scenarios)
            and scenario.name not in library.skips
            and (scenario.name != "import" or library.imports)
        ]


def run_plan(plan: Plan, tell: Callable[[str], None]) -> list[dict[str, Any]]:
    """Run everything and return one record per run, in the order of running."""
    records: list[dict[str, Any]] = []
    for scenario in plan.scenarios:
        rounds = plan.rounds_of(scenario)
        hangs: dict[str, int] = {}
        for number in range(rounds):
            for library in plan.libraries_of(scenario):
                if not plan.takes_part(library, scenario, number):
                    continue
                if hangs.get(library.name, 0) >= HANGS:
                    continue
                tell(f"{scenario.name} {number + 1}/{rounds} {library.name}")
                start = time.monotonic()
                record = run_once(plan, scenario, library)
                records.append(
                    {
                        "scenario": scenario.name,
                        "library": library.name,
                        "round": number,
                        "load": round(os.getloadavg()[0], 2),
                        "seconds": round(time.monotonic() - start, 2),
                        **record,
                    }
                )
                if record.get("hung"):
                    hangs[library.name] = hangs.get(library.name, 0) + 1
                if "error" in record:
                    tell(f"  failed: {record['error'].strip().splitlines()[-1]}")
    return records


def run_once(plan: Plan, scenario: Scenario, library: type[Adapter]) -> dict[str, Any]:
    """Run one library under one scenario in a new process."""
    place = plan.directory / "run"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    result = plan.directory / "result.json"
    result.unlink(missing_ok=True)
    job = {
        "scenario": scenario.name,
        "library": library.name,
        "scale": plan.scale,
        "directory": str(place),
        "result": str(result),
    }
    environment = {key: value for key, value in os.environ.items() if "ASYNCLOG" not in key}
    command = [sys.executable, "-m", "bench._child", json.dumps(job)]
    ended = run_bounded(command, ROOT, environment, scenario.limit)
    shutil.rmtree(place, ignore_errors=True)
    record: dict[str, Any] = (
        json.loads(result.read_text(encoding="utf-8")) if result.exists() else {}
    )
    if ended.status is None:
        where = " at its exit" if record else ""
        record |= {"error": f"stopped{where} after {scenario.limit:.0f} s", "hung": True}
    elif "error" not in record and (ended.status != 0 or not record):
        record |= {"error": f"{ended.words()}: {ended.output}", "crashed": ended.words()}
    if ended.output:
        record["output"] = ended.output
    return record
