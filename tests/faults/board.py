"""A page that victims and whoever harms them share, and what is on disk compared with it.

It outlives all of them.
"""

from __future__ import annotations

import json
import mmap
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Self, TypeVar

CALLS: Final = 0
FLUSHED: Final = 1
"""What a victim counts: calls that have returned, and those that a flush has seen to disk."""
KINDS: Final = ("own", "std", "line")
"""What a rank logs with asynclog, logs with logging, and prints; each counted by itself."""
_WORDS: Final = 8
_PID, _DIED = 3, 4
_OVER, _SHIFT = 0, 1
_EPOCH = 1 << 40
"""What a shift is stored as a difference to: words have no sign, and zero is none."""

FAULTS: Final = (
    "lost",
    "doubled",
    "torn",
    "spliced",
    "disordered",
    "invented",
    "misreported",
    "hung",
)
"""What must not be."""

Source = TypeVar("Source", bound=Hashable)


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
        return bool(self._words[_OVER])

    def end(self) -> None:
        """Let the ranks go home."""
        self._words[_OVER] = 1

    @property
    def shift(self) -> int:
        """By how many seconds the wall clock of the ranks is wrong."""
        return self._words[_SHIFT] - _EPOCH if self._words[_SHIFT] else 0

    def set_clock(self, shift: int) -> None:
        """Let the wall clock of the ranks be wrong by some seconds, from now on."""
        self._words[_SHIFT] = shift + _EPOCH


def events(path: Path) -> Iterator[dict[str, Any] | None]:
    """Yield every line of a file, None for one that is no JSON or has no end."""
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            yield json.loads(line) if line.endswith(b"\n") else None
        except ValueError:
            yield None


def compare(
    paths: Iterable[Path],
    acknowledged: Mapping[Source, int],
    identify: Callable[[dict[str, Any]], tuple[Source, int] | None],
    dropped: int = 0,
) -> Counter[str]:
    """Compare what is in some files with what was acknowledged.

    Args:
        paths: The files.
        acknowledged: How many calls of each source have returned.
        identify: Says of an event whose it is and its number, None if it is none of theirs.
        dropped: How many of all these calls were dropped and counted.
    """
    counts = Counter(acknowledged=sum(acknowledged.values()), dropped=dropped, files=0)
    seen: defaultdict[Source, Counter[int]] = defaultdict(Counter)
    for path in paths:
        counts["files"] += 1
        last: dict[Source, int] = {}
        for event in events(path):
            if event is None:
                counts["torn"] += 1
                continue
            identity = identify(event)
            if identity is not None:
                source, number = identity
                seen[source][number] += 1
                counts["disordered"] += number < last.get(source, 0)
                last[source] = number
    missing = 0
    for source, said in acknowledged.items():
        missing += sum(not seen[source][number] for number in range(said))
        # the call that was under way may be there
        counts["invented"] += sum(number > said for number in seen[source])
    counts["doubled"] = sum(each.total() - len(each) for each in seen.values())
    counts["lost"] = max(0, missing - dropped)
    counts["misreported"] += missing < dropped
    return counts


def faults_in(counts: Counter[str]) -> dict[str, int]:
    """Return what must not be, if there is any."""
    return {name: counts[name] for name in FAULTS if counts[name]}
