"""Records that are no plain log event, as the methods that make them send them off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._line.arrival import Arrival
from .._line.encoder import Kind
from .._line.problem import PROBLEM_KEY, describe
from .._this_rank import this_rank
from .front import INFO, Level
from .numbers import Problems, bounded, integer_of, problem

if TYPE_CHECKING:
    from .._levels import Gate
    from ..typing import Processor
    from .outlet import Outlet


class RecordMethods:
    """What the methods for metrics, media and the like have in common; a part of BoundLogger."""

    __slots__ = ()

    if TYPE_CHECKING:
        _gate: Gate
        _handed_out: bool
        _logger: Outlet
        _processors: list[Processor]
        _tail: bytes | None
        _taken: frozenset[str]
        _values: dict[str, Any]

        def _line(
            self,
            level: Level,
            event: Any,
            args: tuple[Any, ...],
            kw: dict[str, Any],
            arrival: Arrival | None = None,
        ) -> bytes | None: ...

        def _count_failure(self, number: int) -> None: ...

    def _arrival(self) -> Arrival | None:
        """Return what takes numbers on a device; None where a logger that is not ours gets them."""
        outlet = self._logger
        return Arrival(metrics=True) if outlet.wrapped is outlet else None

    def _send(
        self,
        kind: Kind,
        fields: dict[str, Any],
        problems: Problems,
        arrival: Arrival | None = None,
        *,
        show: bool,
    ) -> bool:
        """Log a record of a kind; never raises.

        Args:
            kind: The kind, also its event.
            fields: Its fields, in order.
            problems: What could not be kept.
            arrival: Numbers that are on their way to it.
            show: Whether the console shows it.

        Returns:
            Whether it was accepted, or waits for its numbers.
        """
        try:
            outlet = self._logger
            rank = outlet.system.rank
            if rank is None:
                rank = this_rank()
            if rank is not None and "rank" not in self._values:
                fields["rank"] = rank
            if not show:
                fields["quiet"] = True
            text = problems.take()
            if text is not None:
                fields[PROBLEM_KEY] = text
            line = self._line(INFO, str(kind), (), {"kind": kind, **fields}, arrival)
            if line is None:
                return False
            deferred = outlet.system.deferred
            if arrival or deferred.waiting:
                # in the order of the calls: a line overtakes none that waits for its numbers
                deferred.put(line, INFO.number, arrival)
                return True
            return outlet.put(line, INFO.number)
        except Exception:
            self._count_failure(INFO.number)
            return False


def placed(
    fields: dict[str, Any],
    step: Any,
    split: Any,
    problems: Problems,
    arrival: Arrival | None = None,
) -> dict[str, Any]:
    """Add step and split to fields, as far as they are given and make sense; return the fields."""
    if step is not None:
        try:
            fields["step"] = integer_of(step, arrival)
        except Exception as error:
            problems.add(f"step must be an integer: {problem(error)}")
    if split is not None:
        fields["split"] = text_of(split, problems)
    return fields


def text_of(value: Any, problems: Problems) -> str:
    """Return a name as text of limited length; an empty one where its own code raises."""
    try:
        return bounded(value)
    except Exception as error:
        problems.add(describe(error))
        return ""
