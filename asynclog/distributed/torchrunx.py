"""A torchrunx job in this process's run: ``launcher.set_logging_handlers(handlers)``.

torchrunx sends what its agents and workers log and print to a process beside the launcher, which
makes the handlers and gives them the records. That process finds the run as any forked child does.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from .._lifecycle import default_pipeline
from ..exceptions import AsynclogError
from .handlers import workers_of
from .unmodified import has_joined


class NotStartedError(AsynclogError, RuntimeError):
    """There is no run for the records to go into."""

    def __init__(self) -> None:
        super().__init__(
            "there is no run for the records of this torchrunx job: start one before "
            "launcher.run(), e.g. with asynclog.running(...), or use asynclog run"
        )


class TorchrunxHandler(logging.Handler):
    """Logs records of a torchrunx job into the default pipeline, with their ``host`` and rank.

    Records of workers that log into the run themselves are left out: they are there already.

    Args:
        workers: How many ranks each machine has, in torchrunx's order; None for one machine.
    """

    def __init__(self, workers: dict[str, int] | None) -> None:
        super().__init__()
        self._workers = workers
        # of a room beside ours
        self._handler: logging.Handler = import_module("asynclog.stdlib").Handler()

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record."""
        if has_joined(record, default_pipeline().run_dir):
            return
        mine = copy.copy(record)
        host: Any = mine.__dict__.pop("hostname", None)
        local_rank: Any = mine.__dict__.pop("local_rank", None)
        rank = self._rank(host, local_rank)
        fields = {"rank": rank, "local_rank": local_rank, "host": host}
        mine.__dict__.update({key: value for key, value in fields.items() if value is not None})
        self._handler.handle(mine)

    def flush(self) -> None:
        """Wait until everything logged so far is in its files; see ``asynclog.stdlib.Handler``."""
        self._handler.flush()

    def _rank(self, host: Any, local_rank: Any) -> int | None:
        if local_rank is None or self._workers is None:
            return local_rank
        before = 0
        for name, count in self._workers.items():
            if name == host:
                return before + local_rank
            before += count
        return None


def handlers(
    hostnames: Sequence[str] | None = None, workers_per_host: Sequence[int] | None = None
) -> list[logging.Handler]:
    """Return the handlers for a torchrunx job: one that logs into the run of this process.

    The factory that ``torchrunx.Launcher.set_logging_handlers`` asks for. The run is the one that
    the launcher's process has started, or joined under `asynclog run`. For a job on several
    machines: ``functools.partial(handlers, hostnames, workers_per_host)``, as with torchrunx's own.

    Args:
        hostnames: The machines of the launcher, in its order; needed to tell the global ranks of
            more than one.
        workers_per_host: How many workers each has.

    Raises:
        SettingError: These do not fit together.
        NotStartedError: There is no run.
    """
    workers = workers_of(hostnames, workers_per_host)
    if default_pipeline().spool() is None:
        raise NotStartedError
    return [TorchrunxHandler(workers)]
