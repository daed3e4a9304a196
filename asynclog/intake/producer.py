"""The call side of the ring: how a line gets in from any thread, signal handler or finaliser.

There is no lock. A put computes everything first and then commits on *one source line without
calls* (see :mod:`asynclog._atomic`), so nothing gets in between the check that nobody has put
anything meanwhile and the store that says that this line is in. ``tests/intake/test_commit.py``
shows it for every Python version in ``LOCK_FREE``; everywhere else the same put runs under a lock.

Where the next line goes is an index into the mapping, and the *int object* in ``_at`` tells one
state from all others: each commit stores a new one, and whoever has computed a put holds the old
one, so that it cannot come again. Comparing objects is cheaper than comparing positions, and an
index, unlike a position, is an int of one digit, for which the interpreter has short cuts.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable
from mmap import mmap
from typing import Final, TypeAlias

from .._atomic import lines_are_atomic
from .overflow import Overflow, report_late_call
from .ring import (
    DROPPED,
    HEAD,
    HEADER_BYTES,
    LEVEL_SLOTS,
    LINES,
    MAX_RING_SIZE,
    REASONS,
    TAIL,
    Origin,
    Ring,
    dropped_word,
)

INFO: Final = 20
WARNING: Final = 30
ERROR: Final = 40

DETACHED: Final = 1 << 62
"""A ``head`` beyond every limit: sends each put to the slow path."""

Window: TypeAlias = tuple[mmap | bytearray, memoryview, int, int]
"""Where lines go at present: the mapping of a ring, its header as words, the position of the
mapping's index 0 in this lap, and the index up to which a line may go without a closer look. Each
is exchanged as a whole, and together with ``_at`` when it is about another ring or another lap."""
EARLY_RING_SIZE: Final = 256 * 1024
"""Room for what is logged before the pipeline starts."""

# Values of Producer.wake_level: the lowest level whose put wakes the collector.
WAKE_ALWAYS: Final = 0
WAKE_AT_ERRORS: Final = ERROR
WAKE_NEVER: Final = 1 << 30

_RENEW_TIMEOUT = 1.0
"""Seconds a thread of a forked child waits for another one to make the child's ring."""

_CLOSED: Final = 0
"""Edge of a window that needs a closer look at every line."""
# In place of a ring after the end, for threads that still wait for room.
_NOWHERE: Final[Window] = (bytearray(), memoryview(bytes(HEADER_BYTES)).cast("Q"), 0, _CLOSED)

_WORDS, _LAP = 1, 2
"""Their places in a window."""

_live: weakref.WeakSet[Producer] = weakref.WeakSet()


class Producer:
    """Puts lines into the ring of this process; the ring under it may change.

    It starts on a small private ring, which takes what is logged before the pipeline starts.

    Attributes:
        accepted: Lines that are in the ring or were collected from it.
        wake: Called without arguments, from any thread, to wake the collector.
        wake_level: Lowest level whose put calls ``wake``.
        renew: Makes the ring of a forked child at its first call.
        late: Takes a line after the last flush at exit; says whether it was stored.
    """

    __slots__ = (
        "__weakref__",
        "_at",
        "_child",
        "_in_renew",
        "_last_head",
        "_renewing",
        "_started",
        "_stopped_drops",
        "_window",
        "accepted",
        "late",
        "overflow",
        "renew",
        "ring",
        "wake",
        "wake_level",
    )

    def __init__(self, overflow: Overflow | None = None) -> None:
        self.overflow: Overflow = overflow or Overflow()
        self.accepted: int = 0
        self.wake: Callable[[], None] | None = None
        self.wake_level: int = WAKE_NEVER
        self.renew: Callable[[int], Ring] | None = None
        self.late: Callable[[bytes, int], bool] | None = None
        self._child = False
        self._renewing: int | None = None
        self._in_renew = False
        self._started = False
        self._stopped_drops = 0
        self._last_head = 0
        ring = Ring.private(EARLY_RING_SIZE, Origin("", os.getpid()))
        self.ring: Ring | None = ring
        self._at: int
        self._window: Window
        self._at, self._window = _entrance(ring, ring.size - ring.size // 8)
        _live.add(self)

    @property
    def head(self) -> int:
        """Position behind the last line; :data:`DETACHED` or more when there is no ring."""
        return self._window[_LAP] + self._at

    def put(self, line: bytes, level: int) -> bool:
        r"""Put one line into the ring.

        Args:
            line: A whole line, ``b"\n"`` at its end and nowhere else.
            level: Its level as a number.

        Returns:
            Whether the line was accepted; a line that was not is counted by reason.
        """
        at = self._at
        mapping, words, lap, edge = self._window
        end = at + len(line)
        if end <= edge:
            span = slice(at, end)
            head = lap + end
            accepted = self.accepted + 1
            # fmt: off
            if self._at is at: mapping[span] = line; self._at = end; words[HEAD] = head; words[LINES] = self.accepted = accepted; return level < self.wake_level or self._wake()  # noqa: E501, E701, E702
            # fmt: on
        return self._put_slowly(line, level)

    def put_nowait(self, line: bytes, level: int) -> bool | None:
        """Put one line without waiting and without counting it when there is no room.

        Returns:
            True when it was accepted, None when there is no room now, False when there will never
            be (the pipeline has stopped; the line is counted).
        """
        ready = self._ready_to_put(line, level)
        if ready is not None:
            return ready
        return True if self._commit(line, self._top(level)) else None

    async def aput(self, line: bytes, level: int) -> bool:
        """Put one line, waiting for room as long as it takes.

        Cancellation is raised only when the line was not accepted.

        Returns:
            Whether the line was accepted: always, unless the pipeline has stopped.
        """
        accepted = self.put_nowait(line, level)
        if accepted is None:
            accepted = await self.overflow.wait_async(lambda: self.put_nowait(line, level))
        if accepted and level >= self.wake_level:
            self._wake()
        return accepted

    def _put_slowly(self, line: bytes, level: int) -> bool:
        """Put across the wrap-around, into the headroom, into a new ring, or not at all."""
        ready = self._ready_to_put(line, level)
        if ready is not None:
            return ready
        if self._commit(line, self._top(level)):
            self.overflow.has_room()
        else:
            # Waiting makes sense only where a collector can make room.
            if self._started:
                self._wake()
            reason = self.overflow.wait(
                lambda: self._commit(line, self._top(level)), may_wait=self._started
            )
            if reason is not None:
                self.count_drop(level, reason)
                return False
        if level >= self.wake_level:
            self._wake()
        return True

    def _ready_to_put(self, line: bytes, level: int) -> bool | None:
        """Return None when there is a ring to put into, else what became of the line."""
        if self._at < DETACHED:
            return None
        if self._child and self.renew is not None and self._renew_in_child(self.renew):
            return None
        if self.late is not None and self.late(line, level):
            self.accepted += 1
            return True
        self._stopped_drops += 1
        report_late_call()
        return False

    def _renew_in_child(self, renew: Callable[[int], Ring]) -> bool:
        """Make the ring of a forked child; say whether there is one now."""
        thread = threading.get_ident()
        # fmt: off
        if self._renewing is None: self._renewing = thread  # noqa: E701
        # fmt: on
        if self._renewing == thread:
            # A signal handler that logs while its own thread is at it gets here, too.
            if self._in_renew:
                return False
            self._in_renew = True
            try:
                self.attach(renew(self.next_base))
            finally:
                self._in_renew = False
                self._renewing = None
            return True
        deadline = time.monotonic() + _RENEW_TIMEOUT
        while self._at >= DETACHED and time.monotonic() < deadline:
            time.sleep(0.001)
        return self._at < DETACHED

    def _top(self, level: int) -> int:
        """Return the position that ``head`` must not pass for a line of this level.

        Once the ring is half full, the collector is not to linger any more.
        """
        at = self._at
        mapping, words, lap, _ = self._window
        tail, size, head = words[TAIL], len(mapping) - HEADER_BYTES, lap + at
        edge, limit, top = tail + size // 2, tail + size - size // 8, tail + size
        if head >= edge:
            edge = limit
            if self._started and self.wake_level != WAKE_NEVER:
                self._wake()
        window = (mapping, words, lap, min(edge - lap, len(mapping)))
        # fmt: off
        if self._at is at: self._window = window  # noqa: E701
        # fmt: on
        return top if level >= WARNING else limit

    def _commit(self, line: bytes, top: int) -> bool:
        """Put the line if it fits below ``top``."""
        length = len(line)
        while True:
            at = self._at
            mapping, words, lap, _ = self._window
            head = lap + at + length
            if head > top:
                return False
            end, stop = at + length, len(mapping)
            accepted = self.accepted + 1
            done = False
            # fmt: off
            if end <= stop:
                span = slice(at, end)
                if self._at is at: mapping[span] = line; self._at = end; words[HEAD] = head; words[LINES] = self.accepted = accepted; done = True  # noqa: E501, E701, E702
            else:
                # its rest begins the next lap, in a window that nobody has looked through yet
                room, end = stop - at, HEADER_BYTES + end - stop
                last, first = slice(at, stop), slice(HEADER_BYTES, end)
                before, after = line[:room], line[room:]
                window = (mapping, words, head - end, _CLOSED)
                if self._at is at: mapping[last] = before; mapping[first] = after; self._at = end; self._window = window; words[HEAD] = head; words[LINES] = self.accepted = accepted; done = True  # noqa: E501, E701, E702
            # fmt: on
            if done:
                return True

    def _wake(self) -> bool:
        self.wake_level = WAKE_NEVER
        wake = self.wake
        if wake is not None:
            wake()
        return True

    def count_drop(self, level: int, reason: str) -> None:
        """Count a call that was not accepted."""
        word = dropped_word(level, reason)
        words = self._window[_WORDS]
        if words is not _NOWHERE[_WORDS]:
            words[word] += 1
        else:
            self._stopped_drops += 1

    @property
    def stopped_drops(self) -> int:
        """Calls that came after the pipeline had stopped."""
        return self._stopped_drops

    @property
    def next_base(self) -> int:
        """A position no ring of this process has reached, for :meth:`Ring.create`.

        A put that was computed for one ring can then never commit into another.
        """
        head = self.head if self.head < DETACHED else self._last_head
        return ((head // MAX_RING_SIZE) + 2) * MAX_RING_SIZE

    def attach(self, ring: Ring) -> Ring | None:
        """Go on in another ring, and move there what only this process can see.

        Args:
            ring: A fresh ring whose first position is at least :attr:`next_base`.

        Returns:
            The ring used until now, None if there was none.
        """
        old = self.ring
        early = None if old is None or self._started else _Early(old)
        limit = ring.tail + ring.size // 2
        switched = False
        while not switched:
            at = self._at
            if early is not None:
                # What was logged since the last look; nothing is between the check and the switch.
                early.move_to(ring)
            accepted = ring.accepted
            start, window = _entrance(ring, limit)
            # fmt: off
            if self._at is at: self._window = window; self._at = start; self.ring = ring; self.accepted = accepted; switched = True  # noqa: E501, E701, E702
            # fmt: on
        self._started = ring.path is not None or self.wake is not None
        self._child = False
        return old

    def expect(self, renew: Callable[[int], Ring]) -> None:
        """Make the ring at the first call: what was logged before goes with the early ring.

        Args:
            renew: Makes it, given the position it is to begin at.
        """
        self.renew = renew
        self.detach()
        self._child = True

    def detach(self) -> Ring | None:
        """Accept nothing any more; return the ring, which holds every accepted line."""
        ring = self.ring
        if ring is None:
            # a forked child that has not logged makes no ring any more
            self._child = False
            return None
        # fmt: off
        self._last_head = self._window[_LAP] + self._at; self._at = DETACHED; self._window = _NOWHERE; self.ring = None  # noqa: E501, E702
        # fmt: on
        self._started = False
        self.wake_level = WAKE_NEVER
        return ring

    def _after_fork(self) -> None:
        if self.ring is None:
            return
        # The ring belongs to the parent; the child makes its own at its first call.
        self._child = self.renew is not None
        self.accepted = 0
        self.wake = None
        self.wake_level = WAKE_NEVER
        self.overflow.after_fork()
        self._renewing = None
        self._in_renew = False
        if self._child:
            self.detach()
        else:
            # Not started: the parent sees to what it has logged.
            self.ring.tail = self.ring.head
            self._window[_WORDS][LINES] = 0


def _entrance(ring: Ring, limit: int) -> tuple[int, Window]:
    """Return where in a ring the next line goes, and the window up to a position."""
    # by arithmetic, which makes a new int: it must not be one that was there before
    at = HEADER_BYTES + (ring.head & (ring.size - 1))
    lap = ring.head - at
    return at, (ring.mapping, ring.words, lap, min(limit - lap, HEADER_BYTES + ring.size))


class _Early:
    """Moves what was logged before the start from the private ring into the run's ring."""

    def __init__(self, old: Ring) -> None:
        self._old = old
        self._at = old.tail
        self._lost = 0

    def move_to(self, new: Ring) -> None:
        """Move what came since the last time, as far as it fits; what does not is counted."""
        old, end = self._old, self._old.head
        room = new.size - new.size // 8 - (new.head - new.tail)
        fitting = old.line_end(self._at, min(end, self._at + room))
        lines = old.read(self._at, fitting)
        at = new.head & (new.size - 1)
        new.data[at : at + len(lines)] = lines
        new.words[HEAD] = new.head + len(lines)
        new.words[LINES] += lines.count(b"\n")
        self._lost += old.read(fitting, end).count(b"\n")
        self._at = end
        for word in range(DROPPED, DROPPED + len(LEVEL_SLOTS) * len(REASONS)):
            new.words[word] = old.words[word]
        new.words[dropped_word(INFO, "full")] += self._lost


class LockedProducer(Producer):
    """The same puts under a lock, for interpreters where the lock-free one was not shown right."""

    __slots__ = ("_lock",)

    def __init__(self, overflow: Overflow | None = None) -> None:
        self._lock = threading.RLock()
        super().__init__(overflow)

    def put(self, line: bytes, level: int) -> bool:
        """Put one line into the ring; see :meth:`Producer.put`."""
        with self._lock:
            return super().put(line, level)

    def put_nowait(self, line: bytes, level: int) -> bool | None:
        """Put one line without waiting; see :meth:`Producer.put_nowait`."""
        with self._lock:
            return super().put_nowait(line, level)

    def _after_fork(self) -> None:
        self._lock = threading.RLock()
        super()._after_fork()


def make_producer(overflow: Overflow | None = None) -> Producer:
    """Return the producer that is right for this interpreter."""
    return Producer(overflow) if lines_are_atomic() else LockedProducer(overflow)


def _after_fork_in_child() -> None:
    for producer in list(_live):
        producer._after_fork()  # pyright: ignore[reportPrivateUsage]


os.register_at_fork(after_in_child=_after_fork_in_child)
