"""Handler: a logging.Handler whose records go the way of all events."""

from __future__ import annotations

import atexit
import logging
from typing import TYPE_CHECKING, Any, Final, cast

from .. import _own_threads
from .._complain import complain
from .._levels import WARNING
from .._lifecycle import default_pipeline
from .._line.problem import add_problem, describe
from .._logger.bound import BoundLogger
from .._logger.front import nearest_level
from .._node import is_node_logger
from ..exceptions import SettingError
from ..pipeline import Pipeline
from .chain import chain_for
from .levels import level_number
from .nesting import Nesting
from .record import event_of

if TYPE_CHECKING:
    from types import TracebackType

FLUSH_TIMEOUT: Final = 1.5
"""Seconds that :meth:`Handler.flush` waits at most."""
_SHOWN: Final = 300
"""Characters shown on stderr of a record that cannot go into the pipeline."""

_exiting = False


class Handler(logging.Handler):
    """Sends what is logged through :mod:`logging` into a pipeline.

    A record passes if its level does on both sides: logging's own levels, and those of
    :func:`asynclog.set_level` for the logger's name. It takes the pipeline's processors. Its own
    time is the time stamp; ``extra=`` and the items of a mapping given as message are fields, and
    so are ``file``, ``line``, ``function``, ``thread``, ``pid``, ``process`` (except for the main
    process) and ``task`` (where logging knows it: Python 3.12). A formatter has no effect, for
    there is no text to make; filters work.

    What is logged before the pipeline starts is kept for it. The handler takes no lock and raises
    nothing, whatever formatting, filters and processors do: the event names it in ``log_error``.
    A call costs about as much as with a ``FileHandler`` and a JSON formatter while the disk is
    idle, and as much when it is not.

    What the collector's own threads log, sinks and their vendors' libraries included, goes no
    further: warnings and above are shown on stderr.

    Args:
        level: Lowest level it takes, a name or number.
        pipeline: Where the records go; the default pipeline when not given.

    Raises:
        SettingError: That is no level, or no pipeline.
    """

    def __init__(self, level: int | str = logging.NOTSET, pipeline: Pipeline | None = None) -> None:
        # a user's setting, whatever the annotation says
        given: Any = pipeline
        if given is not None and not isinstance(given, Pipeline):
            raise SettingError("pipeline", "must be a Pipeline, or None for the default one", given)
        super().__init__(level_number(level))
        self._pipeline = pipeline
        _own_threads.watch_garbage_collection()

    @property
    def pipeline(self) -> Pipeline:
        """Where the records go now."""
        return self._pipeline or default_pipeline()

    def createLock(self) -> None:
        """Do without a lock: a fork, a signal handler or a finaliser could find it taken."""
        self.lock: Any = _NoLock()

    def handle(self, record: logging.LogRecord) -> bool:
        """Emit a record if the filters let it pass.

        A filter that raises does not keep the record from being emitted.
        """
        try:
            # from Python 3.12 on it may be another record
            passed = cast("bool | logging.LogRecord", self.filter(record))
        except Exception as error:
            self._emit(record, error)
            return True
        if isinstance(passed, logging.LogRecord):
            record = passed
        if passed:
            self.emit(record)
        return bool(passed)

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record into the pipeline; never raises."""
        self._emit(record, None)

    def _emit(self, record: logging.LogRecord, problem: Exception | None) -> None:
        if is_node_logger(record.name):
            return
        if _own_threads.is_own():
            _show(record)
            return
        if not _nesting.enter():
            self._leave_out(record)
            return
        try:
            system = self.pipeline.loggers
            number = record.levelno
            outlet = system.outlet(record.name)
            if outlet.gate.level > number:
                return
            level = nearest_level(number)
            event, fields = event_of(record, level.name)
            if problem is not None:
                add_problem(fields, "filter", problem)
            logger = BoundLogger(outlet, chain_for(record, system.processors), {})
            logger._log(level, number, event, (), fields)
        except Exception as error:
            self._count_failure(record, error)
        finally:
            _nesting.leave()

    def flush(self) -> None:
        """Wait until everything logged so far is in its files, at most 1.5 seconds."""
        # At exit the pipeline sees to everything itself; its own threads must not wait for it.
        if not _exiting and not _own_threads.is_own():
            self.pipeline.flush_sync(FLUSH_TIMEOUT)

    def _leave_out(self, record: logging.LogRecord) -> None:
        self._count(record)
        complain(
            f"left out a record of logger {record.name!r}: something logs while its own record is "
            "being made, without an end",
            kind="nesting",
        )

    def _count_failure(self, record: logging.LogRecord, error: Exception) -> None:
        self._count(record)
        complain(f"a record of logging was lost: {_harmless(describe(error))}", kind="handler")

    def _count(self, record: logging.LogRecord) -> None:
        try:
            number = record.levelno
            number = number if isinstance(cast("object", number), int) else WARNING
            self.pipeline.producer.count_drop(number, "failed")
        except Exception:
            complain("a record was lost: the pipeline is broken", kind="broken")


class _NoLock:
    """Stands in a handler's place for a lock; those who use it directly find what they expect."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        return True

    def release(self) -> None:
        pass

    def __enter__(self) -> bool:
        return True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass

    def _at_fork_reinit(self) -> None:
        pass


_nesting: Final = Nesting(Handler._emit.__code__)


def _show(record: logging.LogRecord) -> None:
    """Show on stderr what the collector's own threads have to say, if it matters."""
    try:
        if record.levelno >= WARNING:
            text = str(record.getMessage())
            complain(f"{record.name}: {_harmless(text)}", kind=f"own {record.name}")
    except Exception as error:
        complain(f"{record.name}: {_harmless(describe(error))}", kind="own")


def _harmless(text: str) -> str:
    """Return the beginning of a text without secrets and control characters."""
    from .._secrets.texts import redact_text
    from ..sinks.escape import escape

    return escape(redact_text(text[:_SHOWN]))


def _note_exit() -> None:
    global _exiting
    _exiting = True


# Runs before the pipeline's own function, which was registered earlier.
atexit.register(_note_exit)
