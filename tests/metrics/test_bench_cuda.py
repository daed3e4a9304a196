"""The benchmark on a GPU runs, and says so where there is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytest.importorskip("torch")


def python(*arguments: str) -> str:
    """Return what Python prints, run beside the checkout's ``bench``."""
    result = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_without_a_gpu_it_says_so() -> None:
    """No figures are made up."""
    code = "import torch; torch.cuda.is_available = lambda: False\n"
    output = python("-c", code + "from bench.cuda import main; raise SystemExit(main([]))")
    assert "no CUDA device" in output


@pytest.mark.slow
@pytest.mark.parametrize("way", ["item", "asynclog"])
def test_its_loop_runs(way: str) -> None:
    """Each way of logging gets every step, here with a tiny model on the CPU."""
    code = f"""
import json
from bench import cuda
cuda.WARM_UP = 2
print(json.dumps(cuda.train({way!r}, 4, 8, "cpu")))
"""
    result = json.loads(python("-c", code))
    assert len(result["steps"]) == len(result["calls"]) == 4
    assert result["wall"] > 0


def test_its_table_compares_with_no_logging() -> None:
    """Ratios of the medians."""
    code = """
from bench.cuda import table
one = {"wall": 2.0, "steps": [2.0] * 99 + [4.0], "calls": [1.0]}
two = {"wall": 3.0, "steps": [3.0] * 99 + [8.0], "calls": [9.0]}
print(table({"none": [one] * 3, "asynclog": [two] * 3}))
"""
    output = python("-c", code)
    assert "| `asynclog.log_metrics` | 1.50 | 1.50 | 2.00 | 2.50 | 9.0 us | 9.0 us |" in output
