"""What the tests of loggers share: a pipeline's loggers without the pipeline."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from asynclog._levels import LevelTable
from asynclog._line.encoder import LineEncoder
from asynclog._logger.bound import BoundLogger
from asynclog._logger.system import LogSystem


class Lines:
    """Takes lines as a producer does, and keeps them."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.levels: list[int] = []
        self.failed = 0
        self.room: anyio.Event | None = None

    def put(self, line: bytes, level: int) -> bool:
        """Take a line."""
        self.lines.append(line)
        self.levels.append(level)
        return True

    async def aput(self, line: bytes, level: int) -> bool:
        """Take a line when there is room."""
        if self.room is not None:
            await self.room.wait()
        return self.put(line, level)

    def count_drop(self, level: int, reason: str) -> None:
        """Count a record that became no line."""
        assert reason == "failed"
        self.failed += 1

    @property
    def events(self) -> list[dict[str, Any]]:
        """All lines parsed."""
        return [json.loads(line) for line in self.lines]

    @property
    def last(self) -> dict[str, Any]:
        """The last line parsed."""
        return json.loads(self.lines[-1])


def new_system(processors: Any = None, level: int = 10, **options: Any) -> LogSystem:
    """Return a pipeline's loggers that log into lines of their own."""
    return LogSystem(Lines(), LineEncoder(**options), LevelTable(level), processors)


@pytest.fixture(scope="session")
def make_system() -> Callable[..., LogSystem]:
    """Return the function that makes loggers of processors, level and the encoder's options."""
    return new_system


@pytest.fixture
def system() -> LogSystem:
    """Return a pipeline's loggers with the default chain, all levels."""
    return new_system()


@pytest.fixture
def lines(system: LogSystem) -> Any:
    """Return what was logged into ``system``."""
    return system.target


@pytest.fixture
def log(system: LogSystem) -> BoundLogger:
    """Return a logger named app."""
    return system.get_logger("app")
