"""Runs the rounds: A B C, A B C, ... each in a process and a directory of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench._scenario import Scenario
from bench.adapters import Adapter

ROOT = Path(__file__).resolve().parent.parent
TIME_LIMIT = 180.0


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
        return scenario.rounds if self.scale == "full" else min(3, scenario.rounds)

    def libraries_of(self, scenario: Scenario) -> list[type[Adapter]]:
        """Return the libraries that take part in a scenario."""
        return [
            library
            for library in self.libraries
            if (library.scenarios is None or scenario.name in library.scenarios)
            and (scenario.name != "import" or library.imports)
        ]


def run_plan(plan: Plan, tell: Callable[[str], None]) -> list[dict[str, Any]]:
    """Run everything and return one record per run, in the order of running."""
    records: list[dict[str, Any]] = []
    for scenario in plan.scenarios:
        rounds = plan.rounds_of(scenario)
        for number in range(rounds):
            for library in plan.libraries_of(scenario):
                tell(f"{scenario.name} {number + 1}/{rounds} {library.name}")
                record = run_once(plan, scenario, library)
                records.append(
                    {
                        "scenario": scenario.name,
                        "library": library.name,
                        "round": number,
                        "load": round(os.getloadavg()[0], 2),
                        **record,
                    }
                )
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
    process = subprocess.Popen(
        [sys.executable, "-m", "bench._child", json.dumps(job)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=TIME_LIMIT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return {"error": f"hung for {TIME_LIMIT:.0f} s"}
    finally:
        shutil.rmtree(place, ignore_errors=True)
    if not result.exists():
        return {"error": f"exit status {process.returncode}: {output.strip()[-2000:]}"}
    record: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    if process.returncode != 0 and "error" not in record:
        record["error"] = f"exit status {process.returncode}: {output.strip()[-2000:]}"
    if output.strip():
        record["output"] = output.strip()[-2000:]
    return record
