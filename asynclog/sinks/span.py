"""Span: where in a run's durable files some lines lie, for sinks that have to name them."""

from __future__ import annotations

from typing import NamedTuple


class Span(NamedTuple):
    """Where some whole lines lie, one behind the other, in a rotated set of files.

    Attributes:
        path: The set, by its current file, relative to the run directory.
        mark: Tells the file, as in :class:`~asynclog.sinks.journal.Place`.
        start: Bytes of that file before the first line, as it is uncompressed.
    """

    path: str
    mark: str
    start: int
