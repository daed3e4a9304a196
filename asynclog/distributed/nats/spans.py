"""Which parts of a file have come: spans of bytes, kept few by joining those that touch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

Spans: TypeAlias = tuple[tuple[int, int], ...]
"""First byte and the one behind the last, in order; none touches the next."""


def missing(spans: Spans, start: int, end: int) -> Spans:
    """Return what of ``start`` to ``end`` no span holds."""
    found: list[tuple[int, int]] = []
    for first, last in spans:
        if last <= start:
            continue
        if first >= end:
            break
        if start < first:
            found.append((start, first))
        start = max(start, last)
    if start < end:
        found.append((start, end))
    return tuple(found)


def joined(spans: Spans, start: int, end: int) -> Spans:
    """Return the spans with ``start`` to ``end`` added."""
    found: list[tuple[int, int]] = []
    for first, last in sorted([*spans, (start, end)]):
        if found and first <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return tuple(found)


def read(data: Sequence[Sequence[int]]) -> Spans:
    """Return spans that were written as JSON."""
    return tuple((int(first), int(last)) for first, last in data)
