"""What the tests of experiments share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

import asynclog
from asynclog._logger import stages
from asynclog.experiment import ExperimentLogger
from asynclog.testing import capture_events


@pytest.fixture(autouse=True)
def timers_as_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what a test says of timers."""
    monkeypatch.setattr(stages, "_timers", None)


@pytest.fixture
def events() -> Iterator[list[dict[str, Any]]]:
    """Return the list of what the default pipeline's loggers log."""
    with capture_events() as found:
        yield found


@pytest.fixture
def log(events: list[dict[str, Any]]) -> asynclog.BoundLogger:
    """Return a logger whose events are in ``events``."""
    del events
    return asynclog.get_logger("app")


@pytest.fixture
def make_logger(run_dir: Path) -> Iterator[Callable[..., ExperimentLogger]]:
    """Return a function that makes a quiet ExperimentLogger, which is closed after the test."""
    made: list[ExperimentLogger] = []

    def make(directory: str | Path = run_dir, **options: Any) -> ExperimentLogger:
        made.append(ExperimentLogger(directory, **{"console_output": False, **options}))
        return made[-1]

    yield make
    for logger in made:
        logger.close()


def records(path: Path) -> list[dict[str, Any]]:
    """Return the records of a JSONL file."""
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


@pytest.fixture
def read() -> Callable[[Path], list[dict[str, Any]]]:
    """Return the function that reads a JSONL file."""
    return records
