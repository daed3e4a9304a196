"""Limiter: lets records pass or holds them back, by key, and knows exactly how many.

Threads, tasks, signal handlers and finalisers may ask at once, also in the middle of each other: a
lock would deadlock with a signal handler that logs while its thread holds it, and would stay taken
in a child that is forked meanwhile. So there is none. What is known of a key is one tuple that is
never changed, only replaced; a decision computes the next one and commits it on *one source line
without calls* (see :mod:`asynclog._atomic`), unless somebody else was faster: then it is computed
anew. Counters change on the same line, so that they agree with the decisions at any instant.

It knows nothing of records: what a key is, and what becomes of those that do not pass, is the
caller's business.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Final, NamedTuple

from .._atomic import lines_are_atomic
from .policies import Policy

DEFAULT_MAX_KEYS: Final = 4096
"""Keys remembered; with keys of some 50 characters about 1.5 MB."""


class Decision(NamedTuple):
    """What is to become of a record; true if it passes.

    Attributes:
        passes: Whether it passes.
        suppressed: How many of its key were held back since the last one that passed, this one
            included if it does not. Each is told once.
        forgotten: How many of other keys were held back, whose keys had to be forgotten. Each is
            told once, to a record that passes.
    """

    passes: bool
    suppressed: int = 0
    forgotten: int = 0

    def __bool__(self) -> bool:
        return self.passes


class _Tally:
    """The counters of one process."""

    __slots__ = ("forgotten", "passed", "process", "suppressed")

    def __init__(self, process: object) -> None:
        self.process = process
        self.passed = 0
        self.suppressed = 0
        self.forgotten = 0


class _Cell:
    """What is known of one key.

    Attributes:
        state: The tally that the second item counts for, how many were held back since the last
            one that passed, and the policy's memory. None once the key was forgotten: whoever
            still has the cell must look the key up again.
    """

    __slots__ = ("state",)

    def __init__(self, state: tuple[_Tally, int, Any]) -> None:
        self.state: tuple[_Tally, int, Any] | None = state


_PASSED: Final = Decision(True)

# This process; a forked child has another one.
_here = object()


class Limiter:
    """Decides by key, with the same policy for each.

    Of more than `max_keys` keys the one that was asked for least recently is forgotten; when it
    comes again, it is as new. A forked child goes on with what its parent remembered, but its
    counters begin at zero: what the parent held back, the parent reports.

    Args:
        policy: Decides on one record of one key.
        max_keys: How many keys are remembered.
        clock: Monotonic nanoseconds.
    """

    __slots__ = ("_cells", "_clock", "_tally", "max_keys", "policy")

    def __init__(
        self,
        policy: Policy,
        max_keys: int = DEFAULT_MAX_KEYS,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.policy: Policy = policy
        self.max_keys: int = max_keys
        self._clock = clock
        self._cells: OrderedDict[Hashable, _Cell] = OrderedDict()
        self._tally = _Tally(_here)

    def decide(self, key: Hashable) -> Decision:
        """Decide on one record; never waits.

        Args:
            key: A text, a number, or a tuple of such: comparing keys must run no Python code.
        """
        cells = self._cells
        while True:
            tally = self._current_tally()
            cell = cells.get(key)
            if cell is None:
                cell = self._enter(key, tally)
            state = cell.state
            if state is None:
                self._remove(key, cell)
                continue
            counted_for, suppressed, memory = state
            if counted_for is not tally:
                suppressed = 0
            passes, memory = self.policy(memory, self._clock())
            try:
                cells.move_to_end(key)
            except KeyError:  # forgotten at this moment
                continue
            forgotten = tally.forgotten
            if passes:
                following = (tally, 0, memory)
                decision = _PASSED
                if suppressed or forgotten:
                    decision = Decision(True, suppressed, forgotten)
                if self._commit(cell, state, following, tally, forgotten, 0, 1, 0):
                    return decision
            else:
                suppressed += 1
                following = (tally, suppressed, memory)
                decision = Decision(False, suppressed)
                if self._commit(cell, state, following, tally, forgotten, forgotten, 0, 1):
                    return decision

    @property
    def passed(self) -> int:
        """Records of this process that passed."""
        return self._current_tally().passed

    @property
    def suppressed(self) -> int:
        """Records of this process that were held back, reported or not."""
        return self._current_tally().suppressed

    def __len__(self) -> int:
        """Return the number of keys remembered."""
        return len(self._cells)

    def take_unreported(self) -> list[tuple[Hashable, int]]:
        """Return what was held back and not told by a decision yet, and count it as told.

        Returns:
            Keys with their numbers; None stands for all keys that were forgotten.
        """
        taken: list[tuple[Hashable, int]] = []
        for key in list(self._cells):
            cell = self._cells.get(key)
            count = 0 if cell is None else self._take(cell)
            if count:
                taken.append((key, count))
        while True:
            tally = self._current_tally()
            count = tally.forgotten
            if not count:
                return taken
            if self._commit_tally(tally, count, 0):
                taken.append((None, count))
                return taken

    def _take(self, cell: _Cell) -> int:
        """Set the number of a key to zero and return what it was."""
        while True:
            tally, state = self._current_tally(), cell.state
            if state is None or state[0] is not tally or not state[1]:
                return 0
            forgotten = tally.forgotten
            following = (tally, 0, state[2])
            if self._commit(cell, state, following, tally, forgotten, forgotten, 0, 0):
                return state[1]

    def _current_tally(self) -> _Tally:
        """Return the counters of this process, which are new ones after a fork."""
        tally = self._tally
        while tally.process is not _here:
            self._renew(tally, _Tally(_here))
            tally = self._tally
        return tally

    def _enter(self, key: Hashable, tally: _Tally) -> _Cell:
        """Return the cell of a key that is not known, making room for it."""
        cells = self._cells
        cell = cells.setdefault(key, _Cell((tally, 0, None)))
        while len(cells) > self.max_keys:
            try:
                oldest = next(iter(cells))
            except (RuntimeError, StopIteration):  # somebody else has changed it meanwhile
                continue
            unneeded = cells.get(oldest)
            if unneeded is not None:
                self._close(unneeded)
                self._remove(oldest, unneeded)
        return cell

    def _close(self, cell: _Cell) -> None:
        """Give up a cell; what it has counted and not told is told of all forgotten keys."""
        while True:
            tally, state = self._current_tally(), cell.state
            if state is None:
                return
            forgotten = tally.forgotten
            count = forgotten + (state[1] if state[0] is tally else 0)
            if self._commit(cell, state, None, tally, forgotten, count, 0, 0):
                return

    def _remove(self, key: Hashable, cell: _Cell, /) -> None:
        """Take a cell that was given up out of the table, unless somebody else has."""
        cells = self._cells
        try:
            # fmt: off
            if cells[key] is cell: del cells[key]  # noqa: E701
            # fmt: on
        except KeyError:
            pass

    def _commit(
        self,
        cell: _Cell,
        state: tuple[_Tally, int, Any],
        following: tuple[_Tally, int, Any] | None,
        tally: _Tally,
        forgotten: int,
        forgotten_then: int,
        passed: int,
        suppressed: int,
        /,
    ) -> bool:
        """Replace a state and count, unless somebody has changed anything since it was read."""
        # fmt: off
        if cell.state is state and self._tally is tally and tally.process is _here and tally.forgotten is forgotten: cell.state = following; tally.forgotten = forgotten_then; tally.passed += passed; tally.suppressed += suppressed; return True  # noqa: E501, E701, E702
        # fmt: on
        return False

    def _commit_tally(self, tally: _Tally, forgotten: int, forgotten_then: int, /) -> bool:
        """Replace the number of forgotten ones, unless somebody has changed it."""
        # fmt: off
        if self._tally is tally and tally.process is _here and tally.forgotten is forgotten: tally.forgotten = forgotten_then; return True  # noqa: E501, E701, E702
        # fmt: on
        return False

    def _renew(self, tally: _Tally, fresh: _Tally, /) -> None:
        """Replace the parent's counters, unless somebody has."""
        # fmt: off
        if self._tally is tally: self._tally = fresh  # noqa: E701
        # fmt: on


class LockedLimiter(Limiter):
    """The same commits under a lock, where the lock-free ones were not shown to be right.

    The lock is held for lines that call nothing, and is reentrant: a signal handler that comes in
    between does not wait for its own thread.
    """

    __slots__ = ()

    def _commit(self, *args: Any) -> bool:
        with _lock:
            return super()._commit(*args)

    def _commit_tally(self, *args: Any) -> bool:
        with _lock:
            return super()._commit_tally(*args)

    def _renew(self, *args: Any) -> None:
        with _lock:
            super()._renew(*args)

    def _remove(self, *args: Any) -> None:
        with _lock:
            super()._remove(*args)


def make_limiter(
    policy: Policy,
    max_keys: int = DEFAULT_MAX_KEYS,
    clock: Callable[[], int] = time.monotonic_ns,
) -> Limiter:
    """Return the limiter that is right for this interpreter; the arguments are its own."""
    kind = Limiter if lines_are_atomic() else LockedLimiter
    return kind(policy, max_keys, clock)


_lock = threading.RLock()


def _after_fork_in_child() -> None:
    global _here, _lock
    _here = object()
    # a thread that does not exist here may have held it
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_after_fork_in_child)
