"""A page that the ranks of a job and whoever kills them share: it outlives all of them."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Final, Self

KINDS: Final = ("own", "std", "line")
"""What a rank logs with asynclog, logs with logging, and prints; each counted by itself."""
_WORDS: Final = 8
_PID, _DIED = 3, 4


class Board:
    """Counters of some ranks, written by each for itself; one word tells them to go home.

    Args:
        path: The file behind it.
        ranks: How many.
    """

    def __init__(self, path: Path, ranks: int) -> None:
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self._words = memoryview(self._map).cast("Q")
        self.ranks = ranks

    @classmethod
    def make(cls, path: Path, ranks: int) -> Self:
        """Make the file."""
        path.write_bytes(bytes(mmap.PAGESIZE))
        return cls(path, ranks)

    def close(self) -> None:
        """Unmap it."""
        self._words.release()
        self._map.close()

    def acknowledge(self, rank: int, kind: int, count: int) -> None:
        """Note how many calls of a kind have returned."""
        self._words[_WORDS * (rank + 1) + kind] = count

    def acknowledged(self, rank: int, kind: int) -> int:
        """Return how many calls of a kind have returned."""
        return self._words[_WORDS * (rank + 1) + kind]

    def come(self, rank: int, pid: int) -> None:
        """Note that a rank is there."""
        self._words[_WORDS * (rank + 1) + _PID] = pid

    def pid(self, rank: int) -> int:
        """Return the process id of a rank, 0 before it is there."""
        return self._words[_WORDS * (rank + 1) + _PID]

    def dies(self, rank: int, now: int) -> None:
        """Note that a rank is about to die, in nanoseconds since the epoch."""
        self._words[_WORDS * (rank + 1) + _DIED] = now

    def died(self, rank: int) -> int:
        """Return when a rank was last about to die, 0 if it was not."""
        return self._words[_WORDS * (rank + 1) + _DIED]

    @property
    def over(self) -> bool:
        """Whether the ranks may go home."""
        return bool(self._words[0])

    def end(self) -> None:
        """Let the ranks go home."""
        self._words[0] = 1
