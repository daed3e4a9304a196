"""The specialised path: from a log call to the producer where no processor is in between.

About half of the ordinary path's cost: the bound context is encoded once, and what the call was
given goes to the JSON library as it is. Whatever is not plain takes the ordinary path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from .chain import encode_line
from .contextvars import bound_contextvars, variables
from .front import (
    LINE_END,
    MICROS,
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
from .lazy import Lazy, has_lazy

if TYPE_CHECKING:
    from .bound import BoundLogger
    from .records import RecordMethods

F = TypeVar("F", bound=Callable[..., Any])


def logs(level: Level) -> Callable[[F], F]:
    """Return a decorator that makes a method log at a level; only its signature is used.

    All in one function, because each Python call within would cost a twentieth of a log call.
    """
    number = level.number
    known_head, new_head = level.heads.get, level.head

    def decorate(signature: F) -> F:
        def method(self: BoundLogger, event: Any = None, /, *args: Any, **kw: Any) -> None:
            if self._gate.level > number:
                return
            # No processor but the encoder, nothing to format, no name twice. Whatever else does
            # not fit, exceptions included, takes the ordinary path.
            try:
                if self._processors[0] is encode_line and not args and self._taken.isdisjoint(kw):
                    tail = self._tail
                    if tail is None:
                        tail = encode_context(self, kw)
                    head = known_head(event) or new_head(event)
                    fields = with_contextvars(self, kw) if variables else kw
                    rest = plain_dumps(fields, None, PLAIN_OPTIONS).removeprefix(b"{")
                    # 91 and 123 are brackets, and what is in them may be deep; null may be a NaN
                    if 91 in rest or 123 in rest or (108 in rest and rest.find(b"null") >= 0):
                        rest = fields_looked_at(self, fields)
                    start, front = clock.current
                    micros = (time_ns() - start) // 1000
                    if not 0 <= micros < 1000:
                        micros, front = clock.turn()
                    if not fields:
                        tail = tail[:-1]
                    line = b"".join((front, MICROS[micros], head, tail, rest))
                    if len(line) > SHORT and not fits(line, self._logger):
                        line = None
                else:
                    line = None
            except Exception:
                line = None
            if line is None:
                line = self._line(level, event, args, kw)
                if line is None:
                    return
            # a local name: looked up for a method call, an attribute that is no method takes longer
            put = self._logger.put
            put(line, number)

        method.__name__ = signature.__name__
        method.__qualname__ = signature.__qualname__
        method.__module__ = signature.__module__
        method.__doc__ = signature.__doc__
        return cast("F", method)

    return decorate


def any_fields(method: F) -> F:
    """Let a method's fields have any name, also that of a parameter.

    Its parameters become positional only, and whatever has a name is a field; type checkers go on
    seeing the signature that structlog's protocols ask for.
    """
    function: Any = method
    code = function.__code__
    function.__code__ = code.replace(co_posonlyargcount=code.co_argcount)
    return method


def encode_context(logger: RecordMethods, names: Iterable[str]) -> bytes:
    """Return logger name and bound context as they stand in a line; keep them if possible.

    Args:
        logger: The logger.
        names: Of the fields that come behind them.

    Raises:
        ValueError: The record has to take the ordinary path.
    """
    outlet, values = logger._logger, logger._values
    tail = outlet.tail
    if values:
        if type(values) is not dict or (Lazy.in_use and has_lazy(values)):
            raise ValueError("no plain values")
        encoded = outlet.fields(values, RESERVED)
        if encoded is None:
            raise ValueError("no plain values")
        tail += encoded + b","
        logger._taken = RESERVED.union(values)
        if not logger._taken.isdisjoint(names):
            raise ValueError("a name twice")
    if not logger._handed_out and all(type(value) in SCALARS for value in values.values()):
        logger._tail = tail
    return tail


def with_contextvars(logger: BoundLogger, kw: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a call with what is bound to the context before them.

    Raises:
        ValueError: A name is bound to the logger, too.
    """
    bound = bound_contextvars() if logger._logger.system.merges_contextvars else None
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
