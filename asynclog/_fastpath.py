"""The specialised path: from a call to the ring where nothing but the default chain is in between.

About 40 % of the ordinary path's cost: the bound context is encoded once, the beginning of the line
is kept by event text, the fields go to the JSON library as they are, and one join makes the line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ._chain import default_chain
from ._contextvars import bound_contextvars, variables
from ._front import (
    LINE_END,
    MICROS,
    MILLIS,
    PLAIN_OPTIONS,
    RESERVED,
    SCALARS,
    SHORT,
    Level,
    clock,
    fits,
    plain_dumps,
    time_ns,
)
from ._lazy import Lazy, has_lazy

if TYPE_CHECKING:
    from ._bound import BoundLogger

F = TypeVar("F", bound=Callable[..., None])


def logs(level: Level) -> Callable[[F], F]:
    """Return a decorator that makes a method log at a level; only the signature is used.

    All in one function, because a Python call within would cost a twentieth of it.
    """
    number = level.number
    known_head, new_head = level.heads.get, level.head

    def decorate(signature: F) -> F:
        def method(self: BoundLogger, event: Any = None, /, *args: Any, **kw: Any) -> None:
            if self._gate.level > number:
                return
            line: bytes | None = None
            try:
                # No processor, nothing to format, no name twice. Whatever else does not fit,
                # exceptions included, takes the ordinary path.
                if self._processors[0] is default_chain and not args and self._taken.isdisjoint(kw):
                    tail = self._tail
                    if tail is None:
                        tail = encode_context(self, kw)
                    head = known_head(event) or new_head(event)
                    fields = with_contextvars(self, kw) if variables else kw
                    rest = plain_dumps(fields, None, PLAIN_OPTIONS)[1:]
                    # 91 and 123 are brackets, and what is in them may be deep; null may be a NaN
                    if 91 in rest or 123 in rest or (108 in rest and rest.find(b"null") >= 0):
                        rest = fields_looked_at(self, fields)
                    start, second = clock.current
                    micros = (time_ns() - start) // 1000
                    if not 0 <= micros < 1_000_000:
                        micros, second = clock.turn()
                    millis, stamp = MILLIS[micros // 1000], MICROS[micros % 1000]
                    comma = b"," if fields else b""
                    line = b"".join((second, millis, stamp, head, tail, comma, rest))
                    if len(line) > SHORT and not fits(line, self._logger):
                        line = None
            except Exception:
                line = None
            if line is None:
                line = self._line(level, event, args, kw)
                if line is None:
                    return
            self._logger.put(line, number)

        method.__name__ = signature.__name__
        method.__qualname__ = signature.__qualname__
        method.__module__ = signature.__module__
        method.__doc__ = signature.__doc__
        return cast("F", method)

    return decorate


def encode_context(logger: BoundLogger, kw: dict[str, Any]) -> bytes:
    """Return logger name and bound context as they stand in a line; keep them if possible.

    Raises:
        ValueError: The record has to take the ordinary path.
    """
    outlet, values = logger._logger, logger._values
    tail = outlet.tail
    if values:
        if Lazy.in_use and has_lazy(values):
            raise ValueError("lazy values")
        encoded = outlet.fields(values, RESERVED)
        if encoded is None:
            raise ValueError("no plain values")
        tail += b"," + encoded
        logger._taken = RESERVED.union(values)
        if not logger._taken.isdisjoint(kw):
            raise ValueError("a name twice")
    if not logger._handed_out and all(type(value) in SCALARS for value in values.values()):
        logger._tail = tail
    return tail


def with_contextvars(logger: BoundLogger, kw: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a call with what is bound to the context before them.

    Raises:
        ValueError: A name is bound to the logger, too.
    """
    bound = bound_contextvars()
    if not bound:
        return kw
    if not logger._taken.isdisjoint(bound):
        raise ValueError("a name twice")
    bound.update(kw)
    return bound


def fields_looked_at(logger: BoundLogger, fields: dict[str, Any]) -> bytes:
    r"""Return fields as ``b'"a":1}\n'``, made by the line encoder.

    Raises:
        ValueError: The record has to take the ordinary path.
    """
    if Lazy.in_use and has_lazy(fields):
        raise ValueError("lazy values")
    encoded = logger._logger.fields(fields, logger._taken)
    if encoded is None:
        raise ValueError("no plain values")
    return encoded + LINE_END
