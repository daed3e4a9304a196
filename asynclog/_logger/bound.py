"""BoundLogger, the logger that users hold: from a call to one line, on the calling thread.

Where the line goes is the producer's business.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any, Self

from anyio.lowlevel import checkpoint_if_cancelled
from structlog.exceptions import DropEvent

from .._complain import complain
from .._levels import parse_level
from .._line.arrival import Arrival
from .._line.problem import PROBLEM_KEY, add_problem, describe, name_of_callable
from .._line.untrusted import name_of
from ..exceptions import SettingError
from ..typing import Processor
from .chain import encode_line
from .contextvars import merge_contextvars, variables
from .default import default_system
from .every import EveryMethods
from .fastpath import any_fields, logs
from .front import (
    CRITICAL,
    DEBUG,
    ERROR,
    INFO,
    RESERVED,
    WARNING,
    Level,
    nearest_level,
    quick_line,
)
from .lazy import Lazy, resolve
from .media import MediaMethods
from .outlet import ForeignOutlet, Outlet, is_line
from .rendered import as_event, interpolate
from .stages import StageMethods


class BoundLogger(MediaMethods, StageMethods, EveryMethods):  # noqa: PLW1641 - as structlog's
    """A logger with bound context, for ``structlog.configure(wrapper_class=...)`` or on its own.

    Its methods never wait while there is room and never raise; their twins that begin with ``a``
    wait for room, on asyncio and trio, and raise only the cancellation that ended the wait: then
    the record was not accepted.

    Args:
        logger: What the logger factory made.
        processors: The chain; the list itself is kept, so that edits in place take effect.
        context: What is bound to every record; ``logger_name`` names the logger.
    """

    __slots__ = (
        "__weakref__",
        "_gate",
        "_handed_out",
        "_logger",
        "_processors",
        "_tail",
        "_taken",
        "_values",
    )

    def __init__(
        self, logger: Any, processors: Iterable[Processor], context: dict[str, Any]
    ) -> None:
        outlet = logger if isinstance(logger, Outlet) else ForeignOutlet(default_system(), logger)
        if "logger_name" in context:
            context = context.copy()
            outlet = outlet.named(context.pop("logger_name"))
        self._logger: Outlet = outlet
        self._processors: list[Processor] = (
            processors if isinstance(processors, list) else list(processors)
        )
        self._values = context
        self._gate = outlet.gate
        self._tail: bytes | None = None
        self._taken = RESERVED
        self._handed_out = False

    @property
    def _context(self) -> dict[str, Any]:
        # Whoever gets the context itself may change it later, so it is encoded anew from now on.
        self._handed_out = True
        self._tail = None
        return self._values

    # Context

    def bind(self, /, **new_values: Any) -> Self:
        """Return a logger with these values in its context as well."""
        values = self._values
        # as structlog does it, for context classes of the user's
        context = values.__class__(values, **new_values)
        return self.__class__(self._logger, self._processors, context)

    def unbind(self, /, *keys: str) -> Self:
        """Return a logger without these keys in its context.

        Raises:
            KeyError: A key is not bound.
        """
        context = self._values.copy()
        for key in keys:
            del context[key]
        return self.__class__(self._logger, self._processors, context)

    def try_unbind(self, /, *keys: str) -> Self:
        """Return a logger without these keys in its context, bound or not."""
        context = self._values.copy()
        for key in keys:
            context.pop(key, None)
        return self.__class__(self._logger, self._processors, context)

    def new(self, /, **new_values: Any) -> Self:
        """Return a logger with these values only in its context."""
        context = self._values.__class__(**new_values)
        return self.__class__(self._logger, self._processors, context)

    # Levels

    @property
    def name(self) -> str | None:
        """The dotted name, by which levels are set."""
        return self._logger.name

    def is_enabled_for(self, level: int | str) -> bool:
        """Tell whether records of a level pass now."""
        return self._gate.level <= (level if isinstance(level, int) else parse_level(level))

    def get_effective_level(self) -> int:
        """Return the level that applies now, as a number."""
        return self._gate.level

    isEnabledFor = is_enabled_for
    getEffectiveLevel = get_effective_level

    # Logging

    @logs(DEBUG)
    def debug(self, event: Any = None, *args: Any, **kw: Any) -> None:
        """Log ``event % args`` with the fields `kw` at level debug."""

    @logs(INFO)
    def info(self, event: Any = None, *args: Any, **kw: Any) -> None:
        """Log ``event % args`` with the fields `kw` at level info."""

    @logs(WARNING)
    def warning(self, event: Any = None, *args: Any, **kw: Any) -> None:
        """Log ``event % args`` with the fields `kw` at level warning."""

    @logs(ERROR)
    def error(self, event: Any = None, *args: Any, **kw: Any) -> None:
        """Log ``event % args`` with the fields `kw` at level error."""

    @logs(CRITICAL)
    def critical(self, event: Any = None, *args: Any, **kw: Any) -> None:
        """Log ``event % args`` with the fields `kw` at level critical."""

    @any_fields
    def exception(self, event: Any = None, *args: Any, **kw: Any) -> None:
        """Log at level error with the exception that is being handled."""
        if self._gate.level <= 40:
            kw.setdefault("exc_info", True)
            self._log(ERROR, 40, event, args, kw)

    @any_fields
    def log(self, level: int | str, event: Any = None, *args: Any, **kw: Any) -> None:
        """Log ``event % args`` with the fields `kw` at any level, a name or a number."""
        number = level if type(level) is int else _number(level, kw)
        if self._gate.level <= number:
            self._log(nearest_level(number), number, event, args, kw)

    @any_fields
    async def adebug(self, event: Any = None, *args: Any, **kw: Any) -> None:
        """Log at level debug, waiting for room."""
        if self._gate.level <= 10:
            await self._alog(DEBUG, 10, event, args, kw)

    @any_fields
    async def ainfo(self, event: Any = None, *args: Any, **kw: Any) -> None:
        """Log at level info, waiting for room."""
        if self._gate.level <= 20:
            await self._alog(INFO, 20, event, args, kw)

    @any_fields
    async def awarning(self, event: Any = None, *args: Any, **kw: Any) -> None:
        """Log at level warning, waiting for room."""
        if self._gate.level <= 30:
            await self._alog(WARNING, 30, event, args, kw)

    @any_fields
    async def aerror(self, event: Any = None, *args: Any, **kw: Any) -> None:
        """Log at level error, waiting for room."""
        if self._gate.level <= 40:
            await self._alog(ERROR, 40, event, args, kw)

    @any_fields
    async def acritical(self, event: Any = None, *args: Any, **kw: Any) -> None:
        """Log at level critical, waiting for room."""
        if self._gate.level <= 50:
            await self._alog(CRITICAL, 50, event, args, kw)

    @any_fields
    async def aexception(self, event: Any = None, *args: Any, **kw: Any) -> None:
        """Log at level error with the exception that is being handled, waiting for room."""
        if self._gate.level <= 40:
            kw.setdefault("exc_info", True)
            await self._alog(ERROR, 40, event, args, kw)

    @any_fields
    async def alog(self, level: int | str, event: Any = None, *args: Any, **kw: Any) -> None:
        """Log at any level, waiting for room."""
        number = level if type(level) is int else _number(level, kw)
        if self._gate.level <= number:
            await self._alog(nearest_level(number), number, event, args, kw)

    # structlog's further names for the same
    warn = warning
    fatal = critical
    msg = info
    err = error
    awarn = awarning
    afatal = acritical
    amsg = ainfo
    aerr = aerror

    # From a call to a line

    def _log(
        self, level: Level, number: int, event: Any, args: tuple[Any, ...], kw: dict[str, Any]
    ) -> None:
        """Log what has passed its level, by the ordinary path."""
        line = self._line(level, event, args, kw)
        if line is not None:
            self._logger.put(line, number)

    async def _alog(
        self, level: Level, number: int, event: Any, args: tuple[Any, ...], kw: dict[str, Any]
    ) -> None:
        """Log what has passed its level, waiting for room.

        Acceptance is the last thing that happens: a cancelled call was not accepted, and one that
        was accepted raises nothing any more.
        """
        try:
            await checkpoint_if_cancelled()
            line = self._line(level, event, args, kw)
            if line is not None:
                await self._logger.target.aput(line, number)
        except Exception:
            self._count_failure(number)

    def _line(
        self,
        level: Level,
        event: Any,
        args: tuple[Any, ...],
        kw: dict[str, Any],
        arrival: Arrival | None = None,
    ) -> bytes | None:
        """Return the line of a call whose level has passed; None when there is none to put now.

        What a processor raises is named in the record, and the rest of the chain goes on. A line
        with numbers that are on a device is put by others, unless the caller gave an `arrival`
        and sees to it.
        """
        outlet, name = self._logger, level.name
        try:
            values = self._values
            record = values | kw if type(values) is dict else _joined(values, kw)
            if args or event is None or "event" in record or Lazy.in_use:
                _complete(record, event, args)
            else:
                record["event"] = event
            processors = self._processors
            if variables and outlet.system.merges_contextvars and _ends_in_line(processors):
                # before the processors, which may have to redact them
                merge_contextvars(outlet, name, record)
            wrapped = outlet.wrapped
            result: Any = record
            for processor in processors:
                if processor is encode_line:
                    # for half the encoder's time where that is possible
                    line = quick_line(record, level, outlet) if result is record else None
                    result = line or self._encoded(level, result, arrival)
                    if wrapped is outlet:
                        return result
                    break
                try:
                    following: Any = processor(wrapped, name, result)
                except DropEvent:
                    return None
                except Exception as error:
                    result = _with_problem(result, processor, error)
                else:
                    if following is None:
                        following = _with_problem(result, processor, TypeError("returned None"))
                    result = following
            if isinstance(outlet, ForeignOutlet):
                outlet.hand_over(name, result)
                return None
            return result if is_line(result) else self._encoded(level, result, arrival)
        except Exception as error:
            return self._reduced_line(level, event, error)

    def _encoded(self, level: Level, result: Any, arrival: Arrival | None) -> bytes | None:
        """Return the line of whatever a processor returned; None when it has to wait."""
        outlet = self._logger
        ours = outlet.wrapped is outlet
        numbers = Arrival() if arrival is None and ours else arrival
        line = outlet.encoder.encode(
            as_event(result), level=level.name, logger=outlet.name, arrival=numbers
        )
        if numbers and arrival is None:
            outlet.system.deferred.put(line, level.number, numbers)
            return None
        return line

    def _reduced_line(self, level: Level, event: Any, error: Exception) -> bytes | None:
        """Return a line that names what went wrong, or count the record as failed.

        Processors that have not run may be there to take a secret out of the text.
        """
        outlet = self._logger
        try:
            if self._processors[0] is encode_line:
                record = {"event": event, PROBLEM_KEY: describe(error)}
            else:
                record = {"event": "", PROBLEM_KEY: name_of(type(error))}
            return outlet.encoder.encode(record, level=level.name, logger=outlet.name)
        except Exception:
            self._count_failure(level.number)
            return None

    def _count_failure(self, number: int) -> None:
        try:
            self._logger.target.count_drop(number, "failed")
        except Exception:
            complain("a record was lost: the pipeline is broken", "broken")

    # Identity

    def __eq__(self, other: object) -> bool:
        if isinstance(other, BoundLogger):
            return bool(self._values == other._values)
        return bool(self._values == getattr(other, "_context", NotImplemented))

    def __repr__(self) -> str:
        # keys only: values may be secret
        keys = ", ".join(map(str, self._values))
        return f"<{type(self).__name__} {self.name or ''!r} bound: {keys or 'nothing'}>"

    def __copy__(self) -> Self:
        return self.bind()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.__class__(self._logger, self._processors, copy.deepcopy(self._values, memo))

    def __reduce__(self) -> tuple[Any, ...]:
        if isinstance(self._logger, ForeignOutlet):
            return self.__class__, (self._logger.wrapped, self._processors, self._values)
        return restore_logger, (self.__class__, self.name, self._values)


def _ends_in_line(processors: list[Processor]) -> bool:
    """Tell whether a chain makes a line, itself or inside of its last processor."""
    last = processors[-1] if processors else None
    return last is encode_line or getattr(last, "encode", None) is encode_line


def _joined(values: dict[str, Any], kw: dict[str, Any]) -> dict[str, Any]:
    record = values.copy()
    record.update(kw)
    return record


def _complete(record: dict[str, Any], event: Any, args: tuple[Any, ...]) -> None:
    """Put the event into a record: of what was given by position or name, and formatted."""
    if event is None:
        event = record.get("event")
    elif "event" in record:
        record["event_"] = record["event"]
    if args:
        try:
            event = interpolate(event, args)
        except Exception as error:
            record["positional_args"] = args
            add_problem(record, "formatting", error)
    if event is not None:
        record["event"] = event
    if Lazy.in_use:
        resolve(record)


def _with_problem(result: Any, processor: Processor, error: Exception) -> Any:
    """Return what a processor got, naming how it failed: the rest of the chain goes on with it."""
    record = as_event(result)
    add_problem(record, name_of_callable(processor), error)
    return record


def _number(level: Any, kw: dict[str, Any]) -> int:
    """Return the number of a level given by name; one that does not exist counts as info."""
    try:
        return parse_level(level)
    except SettingError as error:
        add_problem(kw, "log", error)
        return INFO.number


def restore_logger(
    kind: type[BoundLogger], name: str | None, context: dict[str, Any]
) -> BoundLogger:
    """Unpickle a logger: it belongs to the default pipeline of the process it arrives in."""
    system = default_system()
    return kind(system.outlet(name), system.processors, context)
