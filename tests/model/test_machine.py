"""Start, log, fork, kill, rotate, fill the disk, flush, stop, in any order, against a model."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

MACHINE = Path(__file__).with_name("machine.py")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Return a directory, a small file system of its own where mounting is allowed."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32M", "asynclog-test", str(path)]
    mounted = (
        os.geteuid() == 0
        and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    )
    yield path
    if mounted:
        subprocess.run(["umount", "-l", str(path)], check=True)


def run_machine(disk: Path, examples: int, steps: int, *options: str) -> None:
    """Run the machine in a process of its own."""
    done = subprocess.run(
        [sys.executable, str(MACHINE), str(disk), str(examples), str(steps), *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.returncode, done.stderr


def test_anything_in_any_order(disk: Path) -> None:
    """What was accepted is in the files, once and whole; the same examples in every run."""
    run_machine(disk, 8, 20)


@pytest.mark.faults
def test_anything_in_any_order_for_long(disk: Path) -> None:
    """What was accepted is in the files, once and whole; other examples in every run."""
    run_machine(disk, 300, 50, "random")
