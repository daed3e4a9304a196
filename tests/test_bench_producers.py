"""The benchmark of many producers runs, and misses nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.slow
def test_two_producers(tmp_path: Path) -> None:
    """Both ways, both loads: every event of every process is in the files."""
    options = ["--processes", "2", "--rounds", "1", "--events", "50", "--seconds", "0.2"]
    figures = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, "-m", "bench.producers", *options, "--json", str(figures)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "| asynclog, one run |" in done.stdout
    results = json.loads(figures.read_text())["results"]
    for load in ("burst", "steady"):
        for way in ("structlog", "asynclog"):
            [one] = results[load][way]
            assert one["missing"] == 0
            assert one["stored"] > 0
