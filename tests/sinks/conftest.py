"""What the tests of sinks share: runs, batches and lines."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson
import pytest

from asynclog.sinks import render
from asynclog.typing import Run


class LineBatch:
    """The lines a test hands to a sink, in the views that the protocol asks for."""

    def __init__(self, *lines: bytes) -> None:
        self.lines = list(lines)

    @property
    def raw(self) -> bytes:
        """The lines with their ends."""
        return b"".join(line + b"\n" for line in self.lines)

    @cached_property
    def events(self) -> list[dict[str, Any]]:
        """The lines parsed."""
        return [orjson.loads(line) for line in self.lines]

    def __len__(self) -> int:
        return len(self.lines)


def line(
    event: str = "hello", level: str = "info", kind: str | None = None, **fields: Any
) -> bytes:
    """Return a line as the encoder writes it, without its end."""
    front: dict[str, Any] = {"timestamp": "2025-01-23T14:30:22.123456Z"}
    if kind is not None:
        front["kind"] = kind
    return orjson.dumps({**front, "level": level, "event": event, **fields})


@pytest.fixture
def make_line() -> Callable[..., bytes]:
    """Return the function that makes a line of event, level, kind and fields."""
    return line


@pytest.fixture
def make_batch() -> Callable[..., LineBatch]:
    """Return the function that makes a batch of lines."""
    return LineBatch


@pytest.fixture
def run(run_dir: Path) -> Run:
    """Return a run in a directory that does not exist yet."""
    return Run(
        directory=run_dir,
        name=run_dir.name,
        started=datetime(2025, 1, 23, 14, 30, 22, tzinfo=UTC),
        host=socket.gethostname(),
        pid=4711,
    )


@pytest.fixture(autouse=True)
def utc() -> Iterator[None]:
    """Show times in UTC, wherever the tests run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        render._local_minute.cache_clear()
        yield
    time.tzset()
    render._local_minute.cache_clear()
