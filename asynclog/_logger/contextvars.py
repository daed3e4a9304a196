"""What ``structlog.contextvars.bind_contextvars`` has bound where the call is made, read cheaply.

structlog itself walks through all context variables of the program for each record; we ask only
those that it has made.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final, Protocol

import structlog.contextvars as theirs

from ..typing import EventDict

_PREFIX_LENGTH: Final = len(theirs.STRUCTLOG_KEY_PREFIX)

variables: dict[str, ContextVar[Any]] = theirs._CONTEXT_VARS
"""structlog's variables by prefixed name; empty as long as nobody has bound anything."""

_getters: list[tuple[str, Callable[[], Any]]] = []


class Variable(Protocol):
    """What is bound under one name: a ContextVar, or something that behaves like one."""

    def get(self) -> Any:
        """Return what is bound here, an Ellipsis for nothing."""
        ...

    def set(self, value: Any, /) -> Any:
        """Bind a value, an Ellipsis for none; return what :meth:`reset` needs."""
        ...

    def reset(self, token: Any, /) -> None:
        """Bind what was bound before; ValueError in another context than that of the token."""
        ...


def bound_contextvars() -> dict[str, Any]:
    """Return what is bound here, by name."""
    global _getters
    getters = _getters
    if len(getters) != len(variables):
        # a copy first: another thread may bind a new name meanwhile
        getters = _getters = [
            (name[_PREFIX_LENGTH:], var.get) for name, var in [*variables.items()]
        ]
    # structlog marks a name that was unbound with an Ellipsis
    return {name: value for name, get in getters if (value := get()) is not Ellipsis}


def shared_variable(name: str) -> ContextVar[Any]:
    """Return structlog's variable of a name, which is made if there is none; unbound is ``...``."""
    key = theirs.STRUCTLOG_KEY_PREFIX + name
    # one step: another thread may be at it, too
    return variables.get(key) or variables.setdefault(key, ContextVar(key, default=...))


def merge_contextvars(_logger: Any, _method_name: str, event_dict: EventDict) -> EventDict:
    """Add what is bound to the event dict; what it has already wins."""
    if variables:
        for name, value in bound_contextvars().items():
            event_dict.setdefault(name, value)
    return event_dict
