"""ServerHandler: the handler for what HTTP servers log, before, while and after the app runs."""

from __future__ import annotations

import logging
from collections.abc import Callable

from .. import _own_threads
from .._complain import complain
from .._line.problem import describe
from ..pipeline import Pipeline
from .access import request_record
from .guest import Guest
from .handler import Handler


class ServerHandler(Handler):
    """A :class:`Handler` that knows servers.

    Records of access logs become events ``request`` with fields. And a server logs on when the
    application has stopped the pipeline at the end of its lifespan ("Finished server process"):
    these records still get into the files.

    Args:
        level: Lowest level it takes, a name or number.
        pipeline: Where the records go; the default pipeline when not given.

    Raises:
        SettingError: That is no level, or no pipeline.
    """

    def _emit(self, record: logging.LogRecord, problem: Exception | None) -> None:
        record = request_record(record)
        log = super()._emit
        pipeline = self.pipeline
        if pipeline._report is None or _own_threads.is_own():
            log(record, problem)
        else:
            _log_late(pipeline, record, lambda: log(record, problem))


def _log_late(pipeline: Pipeline, record: logging.LogRecord, log: Callable[[], None]) -> None:
    """Log a record, also when the pipeline has been stopped here."""
    logged = False

    def log_first() -> None:
        nonlocal logged
        logged = True
        log()

    # Somebody who is at it, or starts it again, is not waited for.
    if pipeline._changing.acquire(blocking=False):
        try:
            stopped = pipeline._run is not None and pipeline.producer.ring is None
            passes = pipeline.loggers.outlet(record.name).gate.level <= record.levelno
            if stopped and passes and not pipeline.started and pipeline.producer.late is None:
                Guest(pipeline).log_once(log_first)
        except Exception as error:
            complain(f"cannot log into a run that was stopped: {describe(error)}", kind="guest")
        finally:
            pipeline._changing.release()
    if not logged:
        log()
