"""Bound: the context of one experiment, kept apart from that of all others in the process."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from .._logger.bound import BoundLogger


class Bound:
    """One name in the bound context of an experiment's current logger, as a context variable.

    Behaves like one for :class:`~asynclog._logger.stages.Stage`, and nothing of it shows in the
    records of another experiment.

    Args:
        current: The logger that is used here.
        name: The name.
    """

    __slots__ = ("_current", "_name")

    def __init__(self, current: ContextVar[BoundLogger], name: str) -> None:
        self._current = current
        self._name = name

    def get(self) -> Any:
        """Return what is bound here, an Ellipsis for nothing."""
        return self._current.get()._values.get(self._name, ...)

    def set(self, value: Any, /) -> Any:
        """Bind a value, an Ellipsis for none; return what :meth:`reset` needs."""
        log = self._current.get()
        name = self._name
        return self._current.set(
            log.try_unbind(name) if value is ... else log.bind(**{name: value})
        )

    def reset(self, token: Any, /) -> None:
        """Bind what was bound before."""
        self._current.reset(token)
