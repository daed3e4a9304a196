"""The numbered backups of a rotated file: their names, their order, and room for one more.

A process can be killed between any two of the steps here. What holds all the same: every byte is
under exactly one name that counts, because a file is only ever renamed to a name that is free, and
because of a plain file and its compressed twin only the plain one counts.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple

COMPRESSED_SUFFIX = ".gz"
UNFINISHED_SUFFIX = ".gz.tmp"
_LOOKS: Final = 1000
_PAUSE: Final = 0.001


@dataclass(frozen=True, slots=True)
class Backups:
    """What lies beside ``path`` under its numbered names.

    Attributes:
        path: The file that is written to.
        plain: Numbers of ``events.jsonl.1``, ``.2``, ...
        compressed: Numbers of ``events.jsonl.1.gz``, ``.2.gz``, ...
        unfinished: Numbers of compressions that were interrupted.
    """

    path: Path
    plain: frozenset[int]
    compressed: frozenset[int]
    unfinished: frozenset[int]

    @classmethod
    def look(cls, path: Path) -> Backups:
        """Look at the directory; a missing one holds nothing."""
        pattern = re.compile(re.escape(path.name) + r"\.([1-9][0-9]{0,8})(\.gz|\.gz\.tmp|)")
        found: dict[str, set[int]] = {"": set(), COMPRESSED_SUFFIX: set(), UNFINISHED_SUFFIX: set()}
        try:
            names = os.listdir(path.parent)
        except (FileNotFoundError, NotADirectoryError):
            names = []
        for name in names:
            if match := pattern.fullmatch(name):
                found[match[2]].add(int(match[1]))
        return cls(path, *(frozenset(numbers) for numbers in found.values()))

    def name(self, number: int, suffix: str = "") -> Path:
        """Return the path of a backup."""
        return self.path.with_name(f"{self.path.name}.{number}{suffix}")

    def paths(self) -> list[Path]:
        """Return the backups that count, oldest first."""
        return [
            self.name(number, "" if number in self.plain else COMPRESSED_SUFFIX)
            for number in sorted(self.plain | self.compressed, reverse=True)
        ]

    def settle(self) -> Backups:
        """Remove what interrupted compressions left behind; return what is there now."""
        for number in self.unfinished:
            # one that cannot be removed is in nobody's way: it never counts
            with contextlib.suppress(OSError):
                self.name(number, UNFINISHED_SUFFIX).unlink()
        twins = self.plain & self.compressed
        for number in twins:
            self.name(number, COMPRESSED_SUFFIX).unlink(missing_ok=True)
        return replace(self, compressed=self.compressed - twins, unfinished=frozenset())

    def make_room(self, keep: int) -> Path:
        """Free number 1 for the next backup and return its path.

        Only what lies below the first free number moves up; with none free up to ``keep``, the
        oldest is removed first. Numbers above ``keep`` (it was lowered) are left alone: they may
        be somebody else's, and they do not grow.

        Args:
            keep: Highest number to use, at least 1.
        """
        settled = self.settle()
        taken = dict.fromkeys(settled.compressed, COMPRESSED_SUFFIX)
        taken |= dict.fromkeys(settled.plain, "")
        free = next((number for number in range(1, keep + 1) if number not in taken), None)
        if free is None:
            self.name(keep, taken[keep]).unlink()
            free = keep
        for number in range(free - 1, 0, -1):
            suffix = taken[number]
            os.rename(self.name(number, suffix), self.name(number + 1, suffix))
        return self.name(1)


def rotated_set(path: Path) -> list[Path]:
    """Return the files that hold everything written to ``path``, oldest first, the current last.

    The directory is looked at once; a rotation meanwhile is the reader's to notice, who takes
    :func:`identified_set` instead.
    """
    paths = Backups.look(path).paths()
    return [*paths, path] if os.path.lexists(path) else paths


class Named(NamedTuple):
    """A file of a rotated set.

    Attributes:
        path: What it is called now.
        inode: Device and inode, which renaming does not change.
    """

    path: Path
    inode: tuple[int, int]


def identified_set(path: Path) -> list[Named]:
    """Return the files that hold everything written to ``path``, as they are called at one moment.

    A name may mean another file right after: whoever opens one compares the inode.

    Raises:
        OSError: For a second there were no two looks between which nothing was renamed.
    """
    before: list[Named] | None = None
    for attempt in range(_LOOKS):
        now = _look(path)
        # two looks that agree: a rotation in between would have changed an inode
        if now is not None and now == before:
            return now
        before = now
        if attempt:
            time.sleep(_PAUSE)
    raise OSError(errno.EBUSY, "is being rotated all the time", str(path))


def _look(path: Path) -> list[Named] | None:
    """Return the set, None when a file lost its name meanwhile."""
    try:
        status = [(each, os.stat(each, follow_symlinks=False)) for each in rotated_set(path)]
    except FileNotFoundError:
        return None
    return [Named(each, (found.st_dev, found.st_ino)) for each, found in status]
