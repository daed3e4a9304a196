"""The table of all trials: what was done how often, and what was wrong afterwards."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from .board import faults_in

COLUMNS: Final = ("trials", "acknowledged", "dropped", "lost", "doubled", "torn", "hung")
FILE: Final = "FAULTS_TABLE"
"""Variable of the environment that names a file for the table."""
_ROWS: Final = pytest.StashKey[dict[str, Counter[str]]]()


@pytest.fixture
def enter(request: pytest.FixtureRequest) -> Callable[[str, Counter[str]], None]:
    """Return what enters trials of a fault in the table, and fails if anything was wrong."""

    def enter_counts(fault: str, counts: Counter[str]) -> None:
        rows = request.config.stash.setdefault(_ROWS, {})
        rows[fault] = rows.get(fault, Counter()) + counts
        assert not (wrong := faults_in(counts)), f"{fault}: {wrong}"

    return enter_counts


@pytest.fixture(params=[0, *(pytest.param(n, marks=pytest.mark.faults) for n in range(1, 10))])
def ten_times() -> None:
    """Run a test once with all others, and nine times more among the long trials."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the table, and write it to the file that was asked for."""
    rows = terminalreporter.config.stash.get(_ROWS, None)
    if rows is None:
        return
    lines = [f"| fault | {' | '.join(COLUMNS)} |", f"|{'---|' * (len(COLUMNS) + 1)}"]
    for fault, counts in rows.items():
        lines.append(f"| {fault} | {' | '.join(f'{counts[name]:,}' for name in COLUMNS)} |")
    terminalreporter.section("faults")
    for line in lines:
        terminalreporter.line(line)
    if os.environ.get(FILE):
        Path(os.environ[FILE]).write_text("\n".join(lines) + "\n")
