"""Reduction: the values of all ranks for a step, a split and a name become one.

Pure bookkeeping, without files or clocks: it is told what came and what time it is, and says what
is to be written.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any, Final, TypeAlias

from ..sinks.ranked import rank_of
from .reported import Record, Values, note, numbers, place, records

MAX_OPEN: Final = 10_000
"""Values that wait for ranks; beyond, the oldest waits no longer. Each takes some 400 bytes, and a
bit for each rank."""
MAX_RANKS: Final = 1 << 16
"""Ranks that are reduced; a record that names a higher one is no rank's of a job we know."""
MAX_NAMES: Final = 10_000
"""Names that some ranks do not report, of which that is remembered."""


@dataclass(slots=True)
class _Absent:
    """Who does not report a name.

    Attributes:
        ranks: Those that are not waited for, one bit each.
        skipped: Those that have left out a step.
        step: The furthest step that went out without one of them.
    """

    ranks: int
    skipped: int
    step: int | None


_Key: TypeAlias = tuple[int | None, str | None, str]
_Name: TypeAlias = tuple[str | None, str]


class Reduction:
    """Combines what ranks report.

    Each rank reports a name step by step. So what is done comes out in order, and a rank that has
    gone on to a later step is not waited for. One that was waited for in vain is not waited for
    again before it has caught up with what went out; what it reports until then is counted as late.

    Args:
        timeout: Seconds to wait for ranks.
        statistics: What to have beside the mean.
        world_size: Number of ranks, None for what the records say.
    """

    def __init__(
        self, timeout: float, statistics: Sequence[str], world_size: int | None = None
    ) -> None:
        self._timeout = timeout
        self._statistics = statistics
        self._fixed = world_size is not None
        self._world = world_size or 0
        self._number = 0
        # in the order in which they were opened, so that the first is the next to time out
        self._waiting: OrderedDict[int, Values] = OrderedDict()
        self._open: dict[_Key, list[int]] = {}
        self._queues: dict[_Name, deque[int]] = {}
        # who has reported a later step instead of the oldest one of a name that is waited for
        self._passed: dict[_Name, int] = {}
        self._absent: OrderedDict[_Name, _Absent] = OrderedDict()
        self._died = 0
        self._missing = 0
        self._late: dict[int, int] = {}
        self._seen: dict[int, float] = {}

    def add(self, event: Mapping[str, Any], now: float) -> list[Record]:
        """Take in a record of metrics; return what is to be written.

        Args:
            event: The record.
            now: Seconds on the caller's clock.
        """
        rank = rank_of(event)
        if rank >= MAX_RANKS:
            return []
        self._look_at_size(event)
        self._seen[rank] = now
        self._died &= ~(1 << rank)
        time = str(event.get("timestamp", ""))
        step, split = event.get("step"), event.get("split")
        step = step if type(step) is int else None
        split = split if type(split) is str and split else None
        best, mode = event.get("best") is not False, event.get("mode")
        mode = mode if mode in ("min", "max") else None
        notes: list[Record] = []
        done: list[Values] = []
        for name, value in numbers(event):
            number = self._next(step, split, name, rank)
            if number is None:
                if self._is_late(step, split, name, rank):
                    notes += self._note_late(rank, step, split)
                    if step == self._absent[split, name].step:
                        notes += self._note_back(rank, split, name)
                    continue
                number = self._new(Values(step, split, name, best, mode, opened=now))
            if self._absent or self._late or self._missing:
                notes += self._note_back(rank, split, name)
            values = self._waiting[number]
            values.add(rank, value, time)
            if len(self._queues[split, name]) > 1:
                first = self._first(split, name)
                if (split, name) in self._passed and _is_before(first, values):
                    self._passed[split, name] |= 1 << rank
            elif self._awaited(values):
                # the usual case: nothing else of this name waits, and others have yet to report
                continue
            done += self._completed(split, name)
        while len(self._waiting) > MAX_OPEN:
            expired, said = self._give_up(now)
            done += expired
            notes += said
        return [*records(done, self._statistics, self._world), *notes]

    def end(self, rank: int) -> list[Record]:
        """Note that a rank has ended, and will not report; return what is to be written."""
        if rank >= MAX_RANKS:
            return []
        self._died |= 1 << rank
        done = [values for key in [*self._queues] for values in self._completed(*key)]
        return [*records(done, self._statistics, self._world)]

    def expire(self, now: float) -> list[Record]:
        """Return what is to be written of those whose time is over."""
        done: list[Values] = []
        notes: list[Record] = []
        while self._waiting and next(iter(self._waiting.values())).opened + self._timeout <= now:
            expired, said = self._give_up(now)
            done += expired
            notes += said
        return [*records(done, self._statistics, self._world), *notes]

    def finish(self) -> list[Record]:
        """Return what is to be written when nobody reports any more."""
        done: list[Values] = []
        while self._waiting:
            values = next(iter(self._waiting.values()))
            done += [self._close(values), *self._completed(values.split, values.name)]
        # whoever is started again reports again
        self._absent.clear()
        self._late.clear()
        self._died = self._missing = 0
        return [*records(done, self._statistics, self._world)]

    def due(self, now: float) -> float | None:
        """Return in how many seconds there is something to expire, None when nothing waits."""
        for values in self._waiting.values():
            return max(0.0, values.opened + self._timeout - now)
        return None

    def state(self) -> dict[str, Any]:
        """Return as data for JSON what :meth:`restore` needs."""
        return {
            "world": self._world,
            "died": hex(self._died),
            "missing": hex(self._missing),
            "late": [*self._late.items()],
            "absent": [
                [split, name, hex(absent.ranks), hex(absent.skipped), absent.step]
                for (split, name), absent in self._absent.items()
            ],
            "waiting": [
                [hex(item) if place == _RANKS else item for place, item in enumerate(found)]
                for found in map(astuple, self._waiting.values())
            ],
        }

    def restore(self, state: Mapping[str, Any], now: float) -> None:
        """Go on where a state was taken; what waits, waits anew.

        Raises:
            AttributeError, KeyError, TypeError, ValueError: It is no state; this is of no use then.
        """
        if not self._fixed:
            self._world = int(state["world"])
        self._died, self._missing = int(state["died"], 16), int(state["missing"], 16)
        self._late = {int(rank): int(count) for rank, count in state["late"]}
        for split, name, ranks, skipped, step in state["absent"]:
            self._absent[split, name] = _Absent(int(ranks, 16), int(skipped, 16), step)
        for found in state["waiting"]:
            values = Values(*found)
            values.ranks, values.opened = int(found[_RANKS], 16), now
            self._new(values)

    def _look_at_size(self, event: Mapping[str, Any]) -> None:
        if self._fixed:
            return
        size = event.get("world_size")
        if type(size) is int and 0 < size <= MAX_RANKS:
            # the last word counts: a job may be started again with fewer
            self._world = size
        elif not self._world and "rank" not in event:
            self._world = 1

    def _all(self) -> int:
        return (1 << self._world) - 1

    def _next(self, step: int | None, split: str | None, name: str, rank: int) -> int | None:
        """Return the oldest values that the rank has not reported yet, None without any."""
        for number in self._open.get((step, split, name), ()):
            if not self._waiting[number].ranks >> rank & 1:
                return number
        return None

    def _new(self, values: Values) -> int:
        self._number += 1
        self._waiting[self._number] = values
        self._open.setdefault((values.step, values.split, values.name), []).append(self._number)
        self._queues.setdefault((values.split, values.name), deque()).append(self._number)
        return self._number

    def _first(self, split: str | None, name: str) -> Values:
        """Return the oldest values of a name."""
        return self._waiting[self._queues[split, name][0]]

    def _completed(self, split: str | None, name: str) -> Iterator[Values]:
        """Close the oldest values of a name as long as nobody is waited for; yield them."""
        while (split, name) in self._queues:
            values = self._first(split, name)
            awaited = self._awaited(values)
            if awaited and awaited & ~self._who_passed(values):
                return
            yield self._close(values)

    def _awaited(self, values: Values) -> int:
        """Return who has yet to report, one bit each; -1 while nobody knows how many there are."""
        if not self._world:
            return -1
        reported = values.ranks | self._died
        if self._absent and (absent := self._absent.get((values.split, values.name))):
            reported |= absent.ranks
        return self._all() & ~reported

    def _who_passed(self, first: Values) -> int:
        """Return who has reported a later step than the oldest one of a name, one bit each."""
        name = first.split, first.name
        passed = self._passed.get(name)
        if passed is None:
            passed = 0
            for later in map(self._waiting.__getitem__, self._queues[name]):
                if _is_before(first, later):
                    passed |= later.ranks
            self._passed[name] = passed
        return passed

    def _close(self, values: Values) -> Values:
        """Wait no longer for the oldest values of a name; remember who is missing."""
        name = values.split, values.name
        queue = self._queues[name]
        number = queue.popleft()
        key = values.step, *name
        del self._waiting[number]
        self._open[key].remove(number)
        if not self._open[key]:
            del self._open[key]
        if not queue:
            del self._queues[name]
        # nobody says how many there are: as many as have been seen
        self._world = self._world or max((1 + rank for rank in self._seen), default=1)
        self._remember(values, self._passed.pop(name, 0))
        return values

    def _remember(self, values: Values, passed: int) -> None:
        name = values.split, values.name
        missing = self._all() & ~values.ranks
        known = self._absent.pop(name, None)
        absent = missing & ~passed
        skipped = missing & passed | (known.skipped if known else 0)
        if absent or skipped:
            steps = [step for step in (values.step, known and known.step) if step is not None]
            self._absent[name] = _Absent(absent, skipped, max(steps, default=None))
            if len(self._absent) > MAX_NAMES:
                self._absent.popitem(last=False)

    def _give_up(self, now: float) -> tuple[list[Values], list[Record]]:
        """Wait no longer for the oldest values of all; say who has kept us waiting."""
        values = next(iter(self._waiting.values()))
        done = [self._close(values), *self._completed(values.split, values.name)]
        missing = self._all() & ~values.ranks & ~self._died & ~self._missing
        # who has reported anything else since does not report this: nothing is wrong with that
        silent = [r for r in _ranks(missing) if self._seen.get(r, -math.inf) <= values.opened]
        if not silent:
            return done, []
        for rank in silent:
            self._missing |= 1 << rank
        waited = round(now - values.opened, 3)
        fields = {"ranks": silent, "waited": waited, **place(values.step, values.split)}
        return done, [note("asynclog.ranks_missing", "warning", fields)]

    def _is_late(self, step: int | None, split: str | None, name: str, rank: int) -> bool:
        absent = self._absent.get((split, name))
        if absent is None or step is None or absent.step is None:
            return False
        return step <= absent.step and bool((absent.ranks | absent.skipped) >> rank & 1)

    def _note_late(self, rank: int, step: int | None, split: str | None) -> Iterator[Record]:
        self._late[rank] = self._late.get(rank, 0) + 1
        if self._late[rank] == 1:
            fields = {"rank": rank, **place(step, split)}
            yield note("asynclog.rank_late", "warning", fields)

    def _note_back(self, rank: int, split: str | None, name: str) -> Iterator[Record]:
        absent = self._absent.get((split, name))
        if absent is not None:
            absent.ranks &= ~(1 << rank)
            absent.skipped &= ~(1 << rank)
        late = self._late.pop(rank, 0)
        if late or self._missing >> rank & 1:
            self._missing &= ~(1 << rank)
            yield note("asynclog.rank_back", "info", {"rank": rank, "late": late})


_RANKS: Final = list(Values.__dataclass_fields__).index("ranks")


def _is_before(values: Values, others: Values) -> bool:
    return values.step is not None and others.step is not None and values.step < others.step


def _ranks(mask: int) -> list[int]:
    return [rank for rank in range(mask.bit_length()) if mask >> rank & 1]
