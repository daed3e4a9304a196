"""What is in the files of a run: read again and again, and removed once it is accounted for."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import orjson


class Seen:
    """Numbers of one source: all below ``full``, and some above."""

    __slots__ = ("above", "full")

    def __init__(self, full: int = 0, above: frozenset[int] = frozenset()) -> None:
        self.full = full
        self.above = set(above)

    def copy(self) -> Seen:
        """Return another one that holds the same."""
        return Seen(self.full, frozenset(self.above))

    def add(self, number: int) -> bool:
        """Add a number; say whether it was new."""
        if number < self.full or number in self.above:
            return False
        self.above.add(number)
        while self.full in self.above:
            self.above.remove(self.full)
            self.full += 1
        return True

    def missing(self, count: int) -> int:
        """Return how many of the first numbers are not there."""
        if count <= self.full:
            return 0
        return count - self.full - sum(number < count for number in self.above)

    def beyond(self, count: int) -> int:
        """Return how many are there from a number on."""
        return max(0, self.full - count) + sum(number >= count for number in self.above)


class Files:
    """The files of a run, and those that were taken out of it.

    Args:
        run_dir: The run directory.
        kept: Where files are that were removed from it, by a hard link.
    """

    def __init__(self, run_dir: Path, kept: Path) -> None:
        self._run_dir = run_dir
        self._kept = kept
        self._settled: dict[int, Seen] = {}
        self.faults: Counter[str] = Counter()

    def look(self, *, final: bool = False) -> dict[int, Seen]:
        """Read all files; return the numbers by source.

        A line without an end may be one that is just being written, except in the end.
        """
        seen = {source: numbers.copy() for source, numbers in self._settled.items()}
        faults: Counter[str] = Counter()
        for path in [*sorted(self._run_dir.glob("events.jsonl*")), *sorted(self._kept.iterdir())]:
            self._read(path, seen, faults, final=final)
        if final:
            self.faults += faults
        return seen

    def settle(self) -> None:
        """Account for all files but the one that is written to, and remove them.

        To be called when everything is written: then no intent leads to one of them.
        """
        for path in [*self._run_dir.glob("events.jsonl?*"), *self._kept.iterdir()]:
            self._read(path, self._settled, self.faults, final=True)
            path.unlink()

    @staticmethod
    def _read(path: Path, seen: dict[int, Seen], faults: Counter[str], *, final: bool) -> None:
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return
        lines = content.split(b"\n")
        if lines.pop():
            faults["torn"] += final
        for line in lines:
            try:
                event = orjson.loads(line)
            except ValueError:
                faults["torn"] += 1
                continue
            if event.get("logger") == "rank":
                new = seen.setdefault(event["source"], Seen()).add(event["n"])
                faults["doubled"] += not new

    def remove(self) -> None:
        """Remove the file that is written to; what is in it is kept to be counted."""
        file = self._run_dir / "events.jsonl"
        try:
            os.link(file, self._kept / str(len(os.listdir(self._kept))))
            file.unlink()
        except FileNotFoundError:
            pass

    def move(self) -> None:
        """Move the file away within the directory, as logrotate does."""
        names = [path.name for path in self._run_dir.glob("events.jsonl-*")]
        try:
            (self._run_dir / "events.jsonl").rename(self._run_dir / f"events.jsonl-{len(names)}")
        except FileNotFoundError:
            pass
