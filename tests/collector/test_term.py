"""A term as the collector begins and ends as a whole, also when it fails."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

import asynclog
from asynclog import JsonlFile


@dataclass(frozen=True)
class CannotBeMade:
    """A declaration whose sink cannot be made."""

    name: ClassVar[str] = "broken"

    def make(self) -> Any:
        """Raise."""
        raise RuntimeError("no such sink")


def test_a_start_that_fails_gives_up_its_claim(
    run_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The next start writes the run's own file, not one beside a collector that is not there."""
    with pytest.raises(RuntimeError, match="no such sink") as raised:
        asynclog.start_sync(run_dir, sinks=[JsonlFile(), CannotBeMade()])
    with asynclog.running(run_dir, sinks=[JsonlFile()]):
        asynclog.get_logger().info("x")
    assert [path.name for path in run_dir.glob("*.jsonl")] == ["events.jsonl"]
    assert capfd.readouterr().err == ""
    # The error is kept until here: nothing was given up only because it was collected.
    assert raised.value.__traceback__ is not None
