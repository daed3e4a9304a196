"""One library under one scenario, once: ``python -m bench._child JOB`` writes the job's result."""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path
from typing import Any

from bench.adapters import load_adapters
from bench.scenarios import SCENARIOS
from bench.stage import Stage, leave


def run_job(job: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """Run one job; also tell whether the library is stuck in its own end."""
    adapter = load_adapters()[job["library"]]()
    scenario = SCENARIOS[job["scenario"]]
    stage = Stage(adapter, Path(job["directory"]), scenario.sizes(job["scale"]))
    metrics = scenario.run(stage)
    written = stage.finish(scenario.drain_limit)
    return {"metrics": metrics, "written": written}, stage.stuck


def main() -> None:
    job = json.loads(sys.argv[1])
    stuck = False
    try:
        result, stuck = run_job(job)
    except Exception:
        result = {"error": traceback.format_exc()}
    Path(job["result"]).write_text(json.dumps(result), encoding="utf-8")
    if stuck:
        sys.stderr.flush()
        leave(0)


if __name__ == "__main__":
    main()
