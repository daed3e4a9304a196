"""What uvicorn logs as events: a log configuration for ``uvicorn.run`` and the command line.

``uvicorn.run(app, log_config=LOG_CONFIG)``, or ``uvicorn app:app --log-config FILE`` with the
file that ``python -m asynclog.stdlib.uvicorn`` names. Does not import uvicorn.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import Any, Final

from .._complain import complain
from .._lifecycle import default_pipeline, show_early_records
from .._line.problem import describe
from .guest import Guest
from .server import ServerHandler

LOG_CONFIG_FILE: Final = Path(__file__).with_suffix(".json")
"""The file for ``--log-config``."""

LOG_CONFIG: Final[dict[str, Any]] = json.loads(LOG_CONFIG_FILE.read_text(encoding="utf-8"))
"""The same for ``uvicorn.run(log_config=...)``.

``uvicorn``, ``uvicorn.error`` and ``uvicorn.access`` log into the default pipeline, once each, at
level INFO. Other loggers are left alone. It has formatters because ``--use-colors`` asks for them;
they have no effect.
"""

# Where uvicorn's processes that run no application log from.
_SUPERVISORS: Final = "supervisors"


class UvicornHandler(ServerHandler):
    """A :class:`~asynclog.stdlib.server.ServerHandler` that also sees to uvicorn's parent process.

    With ``--workers`` or ``--reload`` a process without an application watches over the workers,
    so that nobody starts a pipeline in it. Its records go into the run of ``ASYNCLOG_RUN_DIR``,
    without collecting for it: workers may have sinks of their own. Where the variable is not set,
    they are shown on stderr.
    """

    def _emit(self, record: logging.LogRecord, problem: Exception | None) -> None:
        super()._emit(record, problem)
        if _directory_of(record) == _SUPERVISORS:
            _see_to_parent()


def _directory_of(record: logging.LogRecord) -> str:
    return os.path.basename(os.path.dirname(str(getattr(record, "pathname", ""))))


def _see_to_parent() -> None:
    """Make a way for what is logged here, now that nobody else is going to."""
    pipeline = default_pipeline()
    ring = pipeline.producer.ring
    if pipeline.started or ring is None or ring.path is not None:
        return
    if os.environ.get("ASYNCLOG_RUN_DIR"):
        try:
            Guest(pipeline).join()
        except Exception as error:
            complain(f"uvicorn's parent process cannot log into the run: {describe(error)}")
        else:
            return
    show_early_records()


if __name__ == "__main__":
    sys.stdout.write(f"{LOG_CONFIG_FILE}\n")
