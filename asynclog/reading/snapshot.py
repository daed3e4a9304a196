"""One moment of a run that may go on meanwhile: up to where its files, and which lines of rings."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from ..sinks.journal import Place
from .files import end_of, pieces
from .find import RunFiles
from .lines import Line
from .rings import Waiting, look


class Snapshot(NamedTuple):
    """One moment of a run: each of its events once.

    Attributes:
        files: The rotated sets, with the rank that each one's name tells.
        ends: Up to where each of them belongs to it; what comes later does not.
        waiting: What is in no file up to there.
    """

    files: dict[Path, int | None]
    ends: dict[Path, Place]
    waiting: list[Waiting]

    def lines(self) -> list[Line]:
        """Return the lines that are in no file, in the order of their times."""
        found = [line for ring in self.waiting for line in ring.lines]
        found.sort(key=lambda line: line[0])
        return found


def take(run: RunFiles) -> Snapshot:
    """Look at a run.

    Rings are looked at between two looks at the files. What has come to a file in between may have
    been in a ring as well, and is taken out there.

    Raises:
        NoRunError: There is no telling which files are the run's.
        SpoolError: The run's spool is not safe to read.
        OSError: A file cannot be read.
    """
    before = {path: end_of(path) for path in run.find()}
    waiting = look(run.spool, before)
    files = run.find()
    ends = {path: end_of(path) for path in files}
    if any(ring.lines for ring in waiting):
        stored: Counter[bytes] = Counter()
        for path, end in ends.items():
            for piece in pieces(path, before.get(path, Place()), end):
                stored.update(piece.split(b"\n"))
        waiting = [subtract(ring, stored) for ring in waiting]
    return Snapshot(files, ends, waiting)


def subtract(ring: Waiting, stored: Counter[bytes]) -> Waiting:
    """Return what is left of a ring without some lines, which are counted down."""
    if not stored:
        return ring
    left: list[Line] = []
    for line in ring.lines:
        if stored[line[2]] > 0:
            stored[line[2]] -= 1
        else:
            left.append(line)
    return ring._replace(lines=left)
