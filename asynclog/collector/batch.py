"""Some whole lines on their way to the sinks, in the views that sinks ask for."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any

from .._json import loads
from ..sinks.span import Span


class Batch:
    r"""Whole lines; every view is made once, when first asked for, and shared by all sinks.

    Args:
        raw: The lines, each ending in ``b"\n"``.
        span: Where in the durable files they lie; None unless they are all the lines of one span.
    """

    def __init__(self, raw: bytes, span: Span | None = None) -> None:
        self.raw = raw
        self.span = span

    @cached_property
    def count(self) -> int:
        """Number of lines."""
        return self.raw.count(b"\n")

    @cached_property
    def lines(self) -> list[bytes]:
        """The lines without their line ends."""
        return self.raw.split(b"\n")[:-1]

    @cached_property
    def events(self) -> list[dict[str, Any]]:
        """The lines parsed; a line that is no JSON object is left out."""
        events: list[dict[str, Any]] = []
        for line in self.lines:
            try:
                event = loads(line)
            except ValueError:
                continue
            if isinstance(event, dict):
                events.append(event)  # pyright: ignore[reportUnknownArgumentType]
        return events

    def __len__(self) -> int:
        """Return the number of lines."""
        return self.count

    @classmethod
    def joined(cls, batches: Iterable[Batch]) -> Batch:
        """Return one batch of all lines, in order."""
        return cls(b"".join(batch.raw for batch in batches))
