"""Numbers along a line, gathered in bins that get coarser as it gets longer; knows no records."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, Protocol, Self, TypeVar


class Mergeable(Protocol):
    """What a bin holds."""

    def merge(self, other: Self, /) -> None:
        """Take in what the bin beside this one holds."""
        ...


T = TypeVar("T", bound=Mergeable)


class Bins(Generic[T]):
    """Bins of one width, a power of two; when there are too many, two each become one.

    So one pass over any number of values takes bounded memory, and nothing has to be known before
    about how many come, or from where to where.

    Args:
        width: Of the bins at first.
    """

    __slots__ = ("_held", "width")

    def __init__(self, width: float) -> None:
        self.width: float = width
        self._held: dict[int, T] = {}

    def at(self, position: float) -> T | None:
        """Return what the bin of a position holds, None while there is none."""
        return self._held.get(int(position // self.width))

    def put(self, position: float, value: T) -> None:
        """Give a position a bin that holds this."""
        self._held[int(position // self.width)] = value

    def coarsen(self) -> None:
        """Make the bins twice as wide."""
        held, self._held = self._held, {}
        self.width *= 2
        for index in sorted(held):
            left = self._held.get(index // 2)
            if left is None:
                self._held[index // 2] = held[index]
            else:
                left.merge(held[index])

    def shrink(self, limit: int) -> None:
        """Make the bins wider until there are no more than so many."""
        while len(self._held) > limit:
            self.coarsen()

    def span(self) -> int:
        """Return how many bins there would be if none were missing in between."""
        return max(self._held) - min(self._held) + 1 if self._held else 0

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[tuple[float, T]]:
        """Yield where each bin begins, and what it holds, in order."""
        for index in sorted(self._held):
            yield index * self.width, self._held[index]
