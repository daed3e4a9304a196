"""Every N times or every S seconds: when it is time again, by place in the program or by key."""

from __future__ import annotations

import sys
from collections.abc import Hashable
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from .._settings import parse_duration
from ..exceptions import SettingError
from .contextvars import Variable, shared_variable

if TYPE_CHECKING:
    from ..processors.limiter import Limiter
    from .outlet import Outlet

MAX_INTERVALS: Final = 256
"""Different intervals that are kept track of; of more, the first is forgotten."""


class Intervals:
    """Tells when it is time again; threads and tasks may ask at once."""

    __slots__ = ("_limiters",)

    def __init__(self) -> None:
        self._limiters: dict[tuple[Any, Any], Limiter] = {}

    def due(self, every: int | None, seconds: float | str | None, key: Hashable) -> bool:
        """Tell whether it is time; the first time it always is.

        Args:
            every: Every so many calls.
            seconds: Every so many seconds.
            key: Whose calls are counted.

        Raises:
            SettingError: Not one of both was given, or it makes no sense.
        """
        limiter = self._limiters.get((every, seconds))
        if limiter is None:
            limiter = self._limiters.setdefault((every, seconds), _limiter(every, seconds))
            while len(self._limiters) > MAX_INTERVALS:
                try:
                    self._limiters.pop(next(iter(self._limiters)), None)
                except (RuntimeError, StopIteration):  # somebody else has changed it meanwhile
                    continue
        return limiter.decide(key).passes


def _limiter(every: Any, seconds: Any) -> Limiter:
    # here and not above: most programs never ask
    from ..processors.limiter import make_limiter
    from ..processors.policies import EveryN, every_seconds

    if (every is None) == (seconds is None):
        raise SettingError("every", "must be given, or else seconds", (every, seconds))
    if every is None:
        return make_limiter(every_seconds(parse_duration(seconds, "seconds")))
    if not isinstance(every, int) or isinstance(every, bool) or every < 1:
        raise SettingError("every", "must be a positive number", every)
    return make_limiter(EveryN(every))


intervals: Final = Intervals()
"""Those of all loggers."""


def key_of(key: object, frame: FrameType) -> Hashable:
    """Return a key that runs no code of the user's when it is compared.

    Args:
        key: What the user gave, None for a key by the place of the call.
        frame: Of the call.
    """
    if key is None:
        return (frame.f_code.co_filename, frame.f_lineno, frame.f_lasti)
    return cast("Hashable", key) if type(key) in (str, int) else str(key)


class Every:
    """A block whose lines the console shows now and then only; yields whether it does this time.

    For ``with`` and ``async with``; made by :meth:`BoundLogger.log_every`.
    """

    __slots__ = ("_before", "_intervals", "_key", "_token", "_variable", "_which")

    def __init__(
        self,
        which: tuple[int | None, float | str | None],
        key: Hashable,
        intervals: Intervals = intervals,
        variable: Variable | None = None,
    ) -> None:
        self._which = which
        self._key = key
        self._intervals = intervals
        self._variable = variable
        self._before: Any = ...
        self._token: Any = None

    def __enter__(self) -> bool:
        """Return whether it is time; otherwise the console gets no line of this block."""
        due = self._intervals.due(*self._which, self._key)
        if not due:
            variable = self._variable = self._variable or shared_variable("quiet")
            self._before = variable.get()
            self._token = variable.set(True)
        return due

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> Literal[False]:
        """Show lines again."""
        variable, token = self._variable, self._token
        if variable is not None and token is not None:
            try:
                variable.reset(token)
            except (ValueError, RuntimeError):
                # left in another context than it was entered in, as generators may do
                variable.set(self._before)
        return False

    async def __aenter__(self) -> bool:
        """Return whether it is time; waits for nothing."""
        return self.__enter__()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> Literal[False]:
        """Show lines again; waits for nothing."""
        return self.__exit__(exc_type, exc, traceback)


class EveryMethods:
    """The methods for what is due now and then; a part of BoundLogger."""

    __slots__ = ()

    if TYPE_CHECKING:
        _logger: Outlet

    def log_every(
        self,
        every: int | None = None,
        seconds: float | str | None = None,
        key: Hashable | None = None,
    ) -> Every:
        """Keep the lines of a block off the console but for every N-th time, or every S seconds.

        For ``with`` and ``async with``; yields whether it is time, which it is the first time.
        Files get all lines::

            for step in range(10_000):
                with log.log_every(every=100):
                    log.info("step", step=step)

        Args:
            every: Show every so many times.
            seconds: Show every so many seconds; a number, or a text such as ``"5 min"``.
            key: What is counted together; by default each place in the program by itself.

        Raises:
            SettingError: Neither ``every`` nor ``seconds`` was given, or both; on entering.
        """
        site = key_of(key, sys._getframe(1))
        return Every((every, seconds), (id(self._logger.system), site))

    def should_run(
        self,
        every: int | None = None,
        seconds: float | str | None = None,
        key: Hashable | None = None,
    ) -> bool:
        """Tell whether it is the N-th time, or S seconds later; the first time it is.

        Args:
            every: Every so many times.
            seconds: Every so many seconds; a number, or a text such as ``"5 min"``.
            key: What is counted together; by default each place in the program by itself.

        Raises:
            SettingError: Neither ``every`` nor ``seconds`` was given, or both.
        """
        site = key_of(key, sys._getframe(1))
        return intervals.due(every, seconds, (id(self._logger.system), site))
