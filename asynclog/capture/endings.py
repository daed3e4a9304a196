"""Ways to leave a process, or its program, without anybody being told: what was printed before.

Where nobody reads the pipe any more, its content is lost, and a program that takes our place by
``exec`` would die of its first word.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

_NAMES: Final = ("_exit", "abort", "execv", "execve")


class Endings:
    """Puts something to do before these functions of :mod:`os`.

    Args:
        before: Is called first; must return soon.
        failed: Is called when the process was not left after all.
    """

    def __init__(self, before: Callable[[], None], failed: Callable[[], None]) -> None:
        self._before = before
        self._failed = failed
        self._places: list[tuple[str, Any, Any]] = []

    def install(self) -> None:
        """Begin."""
        for name in _NAMES:
            function: Any = getattr(os, name)
            ours = self._wrapped(function)
            self._places.append((name, function, ours))
            setattr(os, name, ours)

    def remove(self) -> None:
        """End; where somebody else has wrapped our function, it only passes on."""
        for name, function, ours in self._places:
            if getattr(os, name) is ours:
                setattr(os, name, function)
        self._places.clear()

    def _wrapped(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def leave(*args: Any, **kwargs: Any) -> Any:
            try:
                self._before()
            except Exception:
                pass
            try:
                return function(*args, **kwargs)
            except BaseException:
                self._failed()
                raise

        leave.__name__ = leave.__qualname__ = function.__name__
        leave.__doc__ = function.__doc__
        return leave
