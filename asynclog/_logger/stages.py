"""Stages and timers: where a program is and how long it takes, as records and as context.

What a logger is and where its records go is not its business.
"""

from __future__ import annotations

import os
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from .._line.encoder import Kind
from .._line.snapshot import Snapshot
from .._line.untrusted import name_of
from .._this_rank import this_rank
from .contextvars import Variable, shared_variable
from .front import INFO, RESERVED, Level
from .numbers import bounded

if TYPE_CHECKING:
    from collections.abc import Callable

    from .outlet import Outlet

STAGE: Final = Kind("stage")
TIMER: Final = Kind("timer")
MAX_PATH: Final = 1024
"""Characters of a stage's path: of stages that nest without end the innermost are shown."""
_MAX_VALUE: Final = 200
_TAKEN: Final = RESERVED | {"elapsed", "error", "quiet", "rank", "stage", "stage_event"}
"""What a stage's records say themselves; metadata of such a name gets ``_`` behind it."""
_OFF: Final = frozenset(("0", "false", "no", "off"))

_timers: bool | None = None


def set_timers(enabled: bool) -> None:
    """Switch timers on or off everywhere, from now on; goes before ``ASYNCLOG_TIMER=0``.

    A timer that is off measures nothing and logs nothing: its ``elapsed`` stays 0.0.
    """
    global _timers
    _timers = bool(enabled)


def timers_enabled() -> bool:
    """Tell whether timers are on."""
    if _timers is None:
        return os.environ.get("ASYNCLOG_TIMER", "").lower() not in _OFF
    return _timers


class StageMethods:
    """The methods for stages and timers; a part of BoundLogger."""

    __slots__ = ()

    if TYPE_CHECKING:
        _logger: Outlet
        _values: dict[str, Any]
        is_enabled_for: Callable[[int], bool]

        def _log(
            self, level: Level, number: int, event: Any, args: tuple[Any, ...], kw: dict[str, Any]
        ) -> None: ...

    def stage(self, name: str, /, **metadata: Any) -> Stage:
        """Name a stage of the program, for ``with`` and ``async with``.

        Its start and its end, with how long it took, are records of level info. All records in
        between, of all loggers and of tasks and threads that take the context along, carry its
        path in the field ``stage``. Stages may nest::

            with log.stage("epoch", epoch=5):
                with log.stage("train"):
                    log.info("begins")  # stage=epoch/train

        Args:
            name: Its name.
            **metadata: What there is to say of it; fields of its two records.
        """
        return Stage(self, name, metadata)

    def timer(self, name: str, log_result: bool = True) -> Timer:
        """Measure how long a block takes, for ``with`` and ``async with``.

        ``asynclog.set_timers(False)`` and ``ASYNCLOG_TIMER=0`` switch all timers off.

        Args:
            name: What it measures.
            log_result: Whether a record of level info says it; the object's ``elapsed`` always
                does.
        """
        return Timer(self, name, log_result)


class _Span:
    """Something that takes time, for ``with`` and ``async with``; one object for one block."""

    __slots__ = ("_elapsed", "_logger", "_started", "name")

    _shown: tuple[str, ...] = ("name", "elapsed")

    def __init__(self, logger: StageMethods, name: str) -> None:
        self._logger = logger
        self._started: float | None = None
        self._elapsed = 0.0
        self.name: str = bounded(name)

    @property
    def elapsed(self) -> float:
        """Seconds so far, or that it took once it has ended."""
        started = self._started
        return self._elapsed if started is None else time.perf_counter() - started

    def __getitem__(self, key: str) -> Any:
        """Return an attribute by its name."""
        if key in self._shown:
            return getattr(self, key)
        raise KeyError(key)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} {self.elapsed:.4f}s>"

    def __enter__(self) -> Self:
        """Begin."""
        raise NotImplementedError

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> Literal[False]:
        """End."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        """Begin; waits for nothing."""
        return self.__enter__()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> Literal[False]:
        """End; waits for nothing."""
        return self.__exit__(exc_type, exc, traceback)

    def _stop(self) -> None:
        self._elapsed = self.elapsed
        self._started = None


class Stage(_Span):
    """A stage of a program: its start and its end are records, and those in between name it.

    Made by :meth:`BoundLogger.stage`, and by :func:`asynclog.stage`.

    Attributes:
        name: Its name.
        path: The names of the stages it is in and its own, with ``/`` between them.
        metadata: What was said of it.
        elapsed: Seconds so far, or that it took once it has ended.
    """

    __slots__ = ("_before", "_token", "_variable", "metadata", "path")

    _shown = ("name", "path", "metadata", "elapsed")

    def __init__(
        self,
        logger: StageMethods,
        name: str,
        metadata: dict[str, Any],
        variable: Variable | None = None,
    ) -> None:
        super().__init__(logger, name)
        self.metadata: dict[str, Any] = metadata
        self.path: str = self.name
        self._variable = variable
        self._before: Any = ...
        self._token: Any = None

    def __enter__(self) -> Self:
        """Begin the stage."""
        variable = self._variable = self._variable or shared_variable("stage")
        before = self._before = variable.get()
        path = f"{before}/{self.name}" if type(before) is str and before else self.name
        self.path = path if len(path) <= MAX_PATH else f"...{path[3 - MAX_PATH :]}"
        self._token = variable.set(self.path)
        said = ", ".join(f"{name}={_text(value)}" for name, value in self.metadata.items())
        self._log("start", f"{f' ({said})' if said else ''} - START", {})
        self._elapsed = 0.0
        self._started = time.perf_counter()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> Literal[False]:
        """End the stage; an exception goes on, and the record names it."""
        self._stop()
        fields: dict[str, Any] = {"elapsed": self._elapsed}
        text = f" - END ({_seconds(self._elapsed)})"
        if exc_type is not None:
            fields["error"] = name_of(exc_type)
            text += f" by {fields['error']}"
        self._log("end", text, fields)
        variable, token = self._variable, self._token
        if variable is not None and token is not None:
            try:
                variable.reset(token)
            except (ValueError, RuntimeError):
                # left in another context than it was entered in, as generators may do
                variable.set(self._before)
        return False

    def _log(self, event: str, text: str, fields: dict[str, Any]) -> None:
        metadata = {
            f"{name}_" if name in _TAKEN else name: value for name, value in self.metadata.items()
        }
        _send(
            self._logger,
            f"Stage [{self.path}]{text}",
            {"kind": STAGE, "stage": self.path, "stage_event": event, **metadata, **fields},
        )


class Timer(_Span):
    """Measures how long a block takes; made by :meth:`BoundLogger.timer`.

    Attributes:
        name: What it measures.
        elapsed: Seconds so far, or that it took once it has ended; 0.0 while timers are off.
    """

    __slots__ = ("_log_result",)

    def __init__(self, logger: StageMethods, name: str, log_result: bool) -> None:
        super().__init__(logger, name)
        self._log_result = log_result

    def __enter__(self) -> Self:
        """Begin to measure."""
        self._elapsed = 0.0
        self._started = time.perf_counter() if timers_enabled() else None
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> Literal[False]:
        """Stop, and say how long it took."""
        if self._started is not None:
            self._stop()
            if self._log_result:
                _send(
                    self._logger,
                    f"Timer [{self.name}]: {self._elapsed:.4f}s",
                    {"kind": TIMER, "timer": self.name, "elapsed": self._elapsed},
                )
        return False


def _send(logger: StageMethods, event: str, fields: dict[str, Any]) -> None:
    if logger.is_enabled_for(INFO.number):
        told = logger._logger.system.rank
        rank = this_rank() if told is None else told
        if rank is not None and "rank" not in logger._values:
            fields["rank"] = rank
        logger._log(INFO, INFO.number, event, (), fields)


def _text(value: object) -> str:
    """Return a value for a message, short; nothing is fetched from a device for it."""
    return Snapshot(_MAX_VALUE).text(value)


def _seconds(elapsed: float) -> str:
    return f"{elapsed:.1f}s" if elapsed >= 1 else f"{elapsed:.4f}s"
