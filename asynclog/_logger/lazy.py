"""Lazy values: worked out at the log call, and only when its level passes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, ClassVar, ParamSpec

from .._line.problem import describe

P = ParamSpec("P")


class Lazy:
    """A value that is worked out when it is logged; made by :func:`lazy`."""

    __slots__ = ("args", "function", "kwargs")

    in_use: ClassVar[bool] = False
    """Whether there ever was one: a program without lazy values never looks for any."""

    def __init__(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        Lazy.in_use = True
        self.function: Callable[..., Any] = function
        self.args: tuple[Any, ...] = args
        self.kwargs: dict[str, Any] = kwargs

    def __reduce__(self) -> tuple[Any, ...]:
        # through __init__, which takes note of it
        return Lazy, (self.function, self.args, self.kwargs)

    def __repr__(self) -> str:
        return f"<lazy {getattr(self.function, '__qualname__', 'value')}>"

    def value(self) -> Any:
        """Return the value, or text that names what its function raised."""
        try:
            return self.function(*self.args, **self.kwargs)
        except Exception as error:
            return f"<lazy: {describe(error)}>"


def lazy(function: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> Lazy:
    """Return a value that is worked out only if the log call's level passes.

    Works for fields and in bound context; the function runs at each call that passes, on its
    thread. What it raises is named in the field and goes no further.

    Args:
        function: Returns the value.
        *args: Its arguments.
        **kwargs: Its keyword arguments.

    Example:
        ``log.debug("state", weights=asynclog.lazy(summarize, model))``
    """
    return Lazy(function, args, kwargs)


def has_lazy(mapping: Mapping[str, Any]) -> bool:
    """Tell whether a value of the mapping is lazy."""
    return any(type(value) is Lazy for value in mapping.values())


def resolve(mapping: MutableMapping[str, Any]) -> None:
    """Put values in the place of lazy ones."""
    for key, value in list(mapping.items()):
        if type(value) is Lazy:
            mapping[key] = value.value()
