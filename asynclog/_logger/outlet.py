"""Outlet: what structlog calls the wrapped logger; takes finished lines under any wrapper class.

It knows its logger name, level and pipeline, and nothing of bound context or processors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

from .._json import dumps
from .._levels import CRITICAL, DEBUG, ERROR, INFO, WARNING, level_name
from .._line.plain import MAX_KEY, without_surrogates
from .front import LINE_END, LINE_START
from .rendered import from_call

if TYPE_CHECKING:
    from .._levels import Gate
    from .._line.encoder import LineEncoder
    from .system import LogSystem


class LineTarget(Protocol):
    """Where lines go: the pipeline's producer."""

    def put(self, line: bytes, level: int) -> bool:
        """Put a line and say whether it was accepted; never raises."""
        ...

    async def aput(self, line: bytes, level: int) -> bool:
        """Put a line, waiting for room; raises cancellation only."""
        ...

    def count_drop(self, level: int, reason: str) -> None:
        """Count a record that could not be made into a line."""
        ...


class Outlet:
    """The way from a logger of one name into a pipeline.

    It has the methods of a structlog wrapped logger, and so much of ``logging.Logger`` that
    ``structlog.stdlib.BoundLogger`` and its processors work on it. They take what the chain
    returned: a line of ``encode_line``, or what any other last processor
    gives.

    Args:
        system: What the loggers of a pipeline share.
        name: Dotted name of the logger.
    """

    __slots__ = (
        "encoder",
        "fields",
        "gate",
        "name",
        "put",
        "system",
        "tail",
        "target",
        "wrapped",
    )

    # As in logging.Logger.
    disabled = False
    parent = None
    propagate = False
    handlers: tuple[Any, ...] = ()

    def __init__(self, system: LogSystem, name: str | None) -> None:
        self.system: LogSystem = system
        self.name: str | None = name
        self.gate: Gate = system.levels.gate(name)
        self.target: LineTarget = system.target
        self.encoder: LineEncoder = system.encoder
        # what processors get as the wrapped logger
        self.wrapped: Any = self
        # the logger's name as it stands in a line, between event and fields
        self.tail: bytes = b"," if name is None else b',"logger":%b,' % dumps(_plain_text(name))
        # Looked up once, for the hot path.
        self.put: Callable[[bytes, int], bool] = system.target.put
        self.fields: Callable[[dict[str, Any], frozenset[str]], bytes | None]
        self.fields = system.encoder.fields

    def named(self, name: str | None) -> Outlet:
        """Return the outlet of another name in the same pipeline."""
        return self.system.outlet(name)

    def __repr__(self) -> str:
        return f"<Outlet {self.name!r}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return restore_outlet, (self.name,)

    def __copy__(self) -> Outlet:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Outlet:
        return self

    def debug(self, *args: Any, **kwargs: Any) -> None:
        """Take a record of level debug."""
        self._take(DEBUG, args, kwargs)

    def info(self, *args: Any, **kwargs: Any) -> None:
        """Take a record of level info."""
        self._take(INFO, args, kwargs)

    def warning(self, *args: Any, **kwargs: Any) -> None:
        """Take a record of level warning."""
        self._take(WARNING, args, kwargs)

    def error(self, *args: Any, **kwargs: Any) -> None:
        """Take a record of level error."""
        self._take(ERROR, args, kwargs)

    def critical(self, *args: Any, **kwargs: Any) -> None:
        """Take a record of level critical."""
        self._take(CRITICAL, args, kwargs)

    def log(self, level: int, *args: Any, **kwargs: Any) -> None:
        """Take a record of any level."""
        self._take(level, args, kwargs)

    msg = info
    warn = warning
    err = error
    failure = error
    exception = error
    fatal = critical

    @property
    def level(self) -> int:
        """The level that applies now."""
        return self.gate.level

    def getEffectiveLevel(self) -> int:
        """Return the level that applies now."""
        return self.gate.level

    def isEnabledFor(self, level: int) -> bool:
        """Tell whether records of a level pass."""
        return level >= self.gate.level

    def setLevel(self, level: int | str) -> None:
        """Set the level of this name and all below it."""
        self.system.levels.set_level(self.name, level)

    def hasHandlers(self) -> bool:
        """Say yes: records go somewhere."""
        return True

    def _take(self, number: int, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        try:
            if self.gate.level > number:
                return
            if len(args) == 1 and not kwargs and is_line(args[0]):
                line: bytes = args[0]
            else:
                line = self.encoder.encode(
                    from_call(args, kwargs), level=level_name(number), logger=self.name
                )
            self.put(line, number)
        except Exception:
            self.target.count_drop(number, "failed")


class ForeignOutlet(Outlet):
    """Stands before a wrapped logger that is not ours, such as ``structlog.PrintLogger``.

    What the chain returns goes to that logger as structlog would hand it over.
    """

    __slots__ = ()

    def __init__(self, system: LogSystem, wrapped: Any) -> None:
        super().__init__(system, None)
        self.wrapped = wrapped

    def named(self, name: str | None) -> Outlet:
        """Return this one: the name of a foreign logger is its own."""
        return self

    def hand_over(self, method_name: str, result: Any) -> None:
        """Call the logger with what the chain returned."""
        method = getattr(self.wrapped, method_name)
        if isinstance(result, tuple):
            args, kwargs = cast("tuple[Any, Any]", result)
            method(*args, **kwargs)
        elif isinstance(result, Mapping):
            method(**cast("Mapping[str, Any]", result))
        else:
            method(result)


def is_line(value: Any) -> bool:
    """Tell whether a value is a line that the encoder has made."""
    return type(value) is bytes and value.endswith(LINE_END) and value.startswith(LINE_START)


def _plain_text(name: str) -> str:
    return without_surrogates(name[:MAX_KEY])


def restore_outlet(name: str | None) -> Outlet:
    """Unpickle an outlet: that of the default pipeline of this process."""
    from .default import default_system

    return default_system().outlet(name)
