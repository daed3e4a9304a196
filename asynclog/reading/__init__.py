"""Reads a run: its events as one ordered stream, its last ones, and those that come.

What the files of all ranks hold, rotated and compressed ones included, and what processes, living
or dead, have in their rings. Nothing is changed. See :func:`read_run`.
"""

from __future__ import annotations

from .events import Events, read_run
from .expression import ExpressionError
from .find import NoRunError
from .follow import Tail
from .query import Counts, Filters
from .times import When

__all__ = [
    "Counts",
    "Events",
    "ExpressionError",
    "Filters",
    "NoRunError",
    "Tail",
    "When",
    "read_run",
]
