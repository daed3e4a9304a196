"""The soak, for some seconds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_some_faults_over_a_live_job() -> None:
    """Eight ranks, and what comes first of all that can happen: nothing is lost, nothing grows."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent), "--minutes", "0.1", "--seed", "1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.returncode, done.stdout + done.stderr
    assert "passed" in done.stdout
