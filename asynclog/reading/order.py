"""Puts the lines of many files in the order of their times, with bounded memory."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heapreplace
from operator import itemgetter
from typing import Final

from .lines import LAST, Line
from .query import Counts

WINDOW: Final = 16 << 20
"""Bytes of lines that are held: more than the rings of four busy processes, which come to a file
one after the other."""

_TIME: Final = itemgetter(0)


def in_order(
    sources: Iterable[Iterator[list[Line]]], counts: Counts, window: int = WINDOW
) -> Iterator[Line]:
    """Yield the lines of some sources in the order of their times.

    The lines of one source are nearly in order: of several processes that write to one file, each
    writes some of its lines at a time. So there is always half a window of lines read ahead. A
    line that comes later than that is yielded then, and counted.

    Args:
        sources: Each yields its lines, some at a time.
        counts: Where late lines are counted.
        window: Bytes of lines to hold; to which comes what each source yields at a time.
    """
    held: list[Line] = []
    size = 0
    last = b""
    # the latest time that each source has come to
    heap: list[tuple[bytes, int, Iterator[list[Line]]]] = [
        (b"", number, source) for number, source in enumerate(sources)
    ]
    heapify(heap)
    while heap:
        reached, number, source = heap[0]
        more = next(source, None)
        if more is None:
            heappop(heap)
        elif more:
            held += more
            size += sum(len(line[2]) for line in more)
            latest = max(line[0] for line in more)
            heapreplace(heap, (max(reached, latest), number, source))
        if size > window or not heap:
            held.sort(key=_TIME)
            complete = bisect_right(held, heap[0][0] if heap else LAST, key=_TIME)
            ready = 0
            while ready < complete and (size > window // 2 or not heap):
                size -= len(held[ready][2])
                ready += 1
            for line in held[:ready]:
                if line[0] < last:
                    counts.late += 1
                else:
                    last = line[0]
                yield line
            del held[:ready]
