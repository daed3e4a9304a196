"""One ring as the collector sees it: how far it was read, and whether its process is alive."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Final

from ..intake.locks import LockProbe
from ..intake.ring import FLUSH_DONE, FLUSH_WANTED, Ring

STRONGLY_ORDERED: Final = platform.machine() in ("x86_64", "AMD64", "i386", "i686")
"""Stores are seen in the order they were made: a ring may be read up to its head at once."""


class Source:
    """Reads one ring.

    Args:
        ring: The ring, mapped for this source alone unless it is private memory.
        owner: Tells whether the process that fills it lives, None where that is this one.
        notes: Whether the collector itself fills it with its own notes.

    Attributes:
        cursor: Position up to which the lines were handed to the sinks.
        quarantined: Lines that were no JSON.
        ended: Whether the process that fills the ring is known to be gone.
        told: Whether its end was told to whom it concerns, or concerns nobody.
        flushing: Whether somebody sees to the flush its owner waits for.
        closed: Whether the ring is unmapped.
    """

    __slots__ = (
        "_owner",
        "_seen",
        "closed",
        "cursor",
        "ended",
        "flushing",
        "notes",
        "quarantined",
        "ring",
        "told",
    )

    def __init__(self, ring: Ring, owner: LockProbe | None = None, *, notes: bool = False) -> None:
        self.ring: Ring = ring
        self._owner = owner
        self.notes: bool = notes
        self.cursor: int = ring.tail
        self.quarantined: int = 0
        self.ended: bool = False
        self.told: bool = notes
        self.flushing: bool = False
        self.closed: bool = False
        self._seen = ring.head

    @classmethod
    def open(cls, path: Path) -> Source:
        """Open the ring of another process.

        Raises:
            OSError: It cannot be opened.
            RingFormatError: It is no ring of this format.
        """
        owner = LockProbe(path)
        try:
            return cls(Ring.open(path), owner)
        except BaseException:
            owner.close()
            raise

    @property
    def path(self) -> Path | None:
        """The ring file, None for private memory."""
        return self.ring.path

    def visible(self) -> int:
        """Return the position up to which the ring may be read now."""
        head = self.ring.head
        if STRONGLY_ORDERED or self.path is None or self.ended:
            return head
        # On weakly ordered CPUs the line may arrive after its head: wait one round.
        seen, self._seen = self._seen, head
        return seen

    def owner_is_gone(self) -> bool:
        """Find out, and remember, whether the process that fills the ring has ended."""
        if not self.ended and self._owner is not None:
            self.ended = self._owner.is_free()
        return self.ended

    def drained(self) -> bool:
        """Say whether everything in the ring is stored."""
        return self.ring.tail == self.ring.head

    def close(self) -> None:
        """Unmap the ring; the file stays."""
        self.closed = True
        self.ring.close()
        if self._owner is not None:
            self._owner.close()
            self._owner = None

    def wants_flush(self) -> int | None:
        """Return the position the owner waits for, None when it does not."""
        words = self.ring.words
        return words[FLUSH_WANTED] if words[FLUSH_WANTED] > words[FLUSH_DONE] else None

    def flushed(self, position: int) -> None:
        """Tell the owner that everything up to ``position`` is with the sinks."""
        self.ring.words[FLUSH_DONE] = position

    def waiting(self, end: int | None = None) -> int:
        """Return the number of lines up to ``end``, by default all, that are not stored yet."""
        ring = self.ring
        return ring.read(ring.tail, ring.head if end is None else end).count(b"\n")
