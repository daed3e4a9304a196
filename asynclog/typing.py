"""The types that cross module borders: events, batches, sinks and what a sink is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeAlias, runtime_checkable

EventDict: TypeAlias = MutableMapping[str, Any]
"""What passes through a processor chain, as in structlog."""

Processor: TypeAlias = Callable[
    [Any, str, EventDict], Mapping[str, Any] | str | bytes | bytearray | tuple[Any, ...]
]
"""A structlog processor: ``(logger, method_name, event_dict) -> event_dict``."""


@dataclass(frozen=True, slots=True)
class Run:
    """What a sink is told about the run it writes for.

    Attributes:
        directory: Absolute path of the run directory.
        name: Its last component, for titles.
        started: When the run was started, UTC.
        host: Name of the machine the records come from.
        pid: Process the records come from, or the collector's.
        rank: Global rank, None outside a distributed job.
        local_rank: Rank on this machine, None outside a distributed job.
        suffix: Put before the extension of every file when another collector that cannot see
            this one's shared memory already writes into the same directory; else empty.
    """

    directory: Path
    name: str
    started: datetime
    host: str
    pid: int
    rank: int | None = None
    local_rank: int | None = None
    suffix: str = ""


class Batch(Protocol):
    """Some whole lines on their way to a sink; every view is made once and shared by all sinks."""

    @property
    def raw(self) -> bytes:
        r"""The lines as they are, each ending in ``b"\n"``."""
        ...

    @property
    def lines(self) -> list[bytes]:
        """The lines without their line ends."""
        ...

    @property
    def events(self) -> list[dict[str, Any]]:
        """The lines parsed; to be read, not changed."""
        ...

    def __len__(self) -> int:
        """Return the number of lines."""
        ...


@runtime_checkable
class Sink(Protocol):
    """Takes batches on the collector's event loop.

    ``open(run: Run)``, ``flush()`` and ``close()``, all async, are called where they exist.
    """

    async def write(self, batch: Batch) -> None:
        """Store the batch; an exception counts the batch as dropped."""
        ...


@runtime_checkable
class BlockingSink(Protocol):
    """Takes batches in a daemon thread of its own.

    ``open(run: Run)``, ``flush()`` and ``close()``, plain functions that run in the same thread,
    are called where they exist.
    """

    def write_blocking(self, batch: Batch) -> None:
        """Store the batch; an exception counts the batch as dropped."""
        ...


@runtime_checkable
class SinkDeclaration(Protocol):
    """What a user writes in ``sinks=[...]``: data only, checked when it is made."""

    name: ClassVar[str]
    """Short name for reports, e.g. ``"jsonl"``."""

    def make(self) -> Sink | BlockingSink:
        """Make the sink itself; called in the collector."""
        ...
