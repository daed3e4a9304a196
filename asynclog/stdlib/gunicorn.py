"""What gunicorn logs as events: ``gunicorn --logger-class asynclog.stdlib.gunicorn.Logger``.

Imported by gunicorn, which is not imported otherwise.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from gunicorn import glogging

from .._lifecycle import default_pipeline, start_sync
from ..exceptions import AsynclogError
from .handler import Handler
from .server import ServerHandler

if TYPE_CHECKING:

    class _Base:
        """What we use of gunicorn's logger, which has no types."""

        error_log: logging.Logger
        access_log: logging.Logger

        def __init__(self, cfg: Any) -> None: ...

        def setup(self, cfg: Any) -> None: ...

        def close_on_exec(self) -> None: ...

else:
    _Base = glogging.Logger
LogMethod: TypeAlias = Callable[..., None]


def _method(name: str) -> LogMethod:
    def method(self: Logger, msg: Any, *args: Any, **kwargs: Any) -> None:
        # the place of whoever calls gunicorn's logger, not that of the logger's own method
        kwargs.setdefault("stacklevel", 2)
        getattr(self.error_log, name)(msg, *args, **kwargs)

    return method


class Logger(_Base):
    """Gunicorn's logger with its records in the default pipeline.

    The access log is switched on as always, by ``--access-logfile -``; a file or syslog that is
    named in gunicorn's settings gets its copy, as always. Lines on stdout and stderr are the
    pipeline's.

    The master starts the pipeline, unless a preloaded application or ``gunicorn.conf.py`` did: with
    the settings of :func:`asynclog.configure` in ``gunicorn.conf.py``, or of the environment. Its
    records and those of all workers, which it forks, then go there.
    """

    def __init__(self, cfg: Any) -> None:
        self._may_start = True
        super().__init__(cfg)

    def setup(self, cfg: Any) -> None:
        """Set up gunicorn's two loggers; at the start and when gunicorn is told to reload."""
        for logger in (self.error_log, self.access_log):
            _remove(logger, ServerHandler)
        super().setup(cfg)
        has_access_log = self.access_log.hasHandlers()
        _redirect(self.error_log)
        if has_access_log:
            _redirect(self.access_log)

    critical: LogMethod = _method("critical")
    error: LogMethod = _method("error")
    warning: LogMethod = _method("warning")
    info: LogMethod = _method("info")
    debug: LogMethod = _method("debug")
    exception: LogMethod = _method("exception")

    def close_on_exec(self) -> None:
        """Start the pipeline: gunicorn's master calls this before it forks its first worker.

        By then it has preloaded the application and become a daemon, so that whoever wanted to
        start the pipeline has done so, and its thread is not lost to a fork.

        Raises:
            RuntimeError: The pipeline cannot be started; gunicorn shows the reason and ends.
        """
        super().close_on_exec()
        if self._may_start:
            self._may_start = False
            if not default_pipeline().started:
                try:
                    start_sync()
                except (AsynclogError, OSError) as error:
                    raise RuntimeError(str(error)) from error


def _redirect(logger: logging.Logger) -> None:
    """Give a logger one handler of ours in place of those for stdout and stderr."""
    for kind in (logging.StreamHandler, Handler, ServerHandler):
        _remove(logger, kind)
    logger.addHandler(ServerHandler())
    # or a handler of ours on the root logger would take them once more
    logger.propagate = False


def _remove(logger: logging.Logger, kind: Any) -> None:
    for handler in logger.handlers[:]:
        if type(handler) is kind:
            logger.removeHandler(handler)
