"""Plug-in for torchrun: ``torchrun --logs-specs asynclog train.py``, as under `asynclog run`.

The agent hosts the collector. Under `asynclog run` there is nothing left to do for it.
"""

from __future__ import annotations

import atexit
import os
import sys
from typing import TYPE_CHECKING, Any

from .._invitation import Invitation
from .._levels import INFO
from ..sinks import Nats
from .node_loggers import AUTO
from .watch import Watch

if TYPE_CHECKING:

    class _Base:
        """What we use of torch's class."""

        def __init__(self, log_dir: str | None = None, *args: Any, **more: Any) -> None: ...

        def reify(self, envs: dict[int, dict[str, str]]) -> Any: ...

else:
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs as _Base


class LogsSpecs(_Base):
    """Lets the workers of each attempt log and print into one run.

    The run directory is ``ASYNCLOG_RUN_DIR``, else torchrun's ``--log-dir``, else ``logs``. Streams
    that torchrun itself redirects go where torchrun leads them.

    Args:
        log_dir: As for torch's own class, and so are the others.
        *args: More for torch's own class.
        **more: Likewise.
    """

    def __init__(self, log_dir: str | None = None, *args: Any, **more: Any) -> None:
        super().__init__(log_dir, *args, **more)
        self._run_dir = os.environ.get("ASYNCLOG_RUN_DIR") or log_dir
        self._watch: Watch | None = None

    def reify(self, envs: dict[int, dict[str, str]]) -> Any:
        """Return where torchrun leads what workers print; have them find the run."""
        found = super().reify(envs)
        invitation = Invitation.found()
        if invitation is None or not invitation.launcher:
            watch = self._watch = self._watch or _started(self._run_dir)
            for environment in envs.values():
                # a worker gets these in the place of what it would inherit
                environment.setdefault("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
                environment.update(watch.environment(environment))
        return found


def _started(run_dir: str | None) -> Watch:
    environment = os.environ
    watch = Watch(
        sys.orig_argv,
        run_dir,
        None,
        environment.get("ASYNCLOG_CONSOLE_LEVEL") or INFO,
        environment.get("ASYNCLOG_RANKS") or "0",
        environment.get("ASYNCLOG_HANDLERS") or AUTO,
        [Nats(server)] if (server := environment.get("ASYNCLOG_NATS")) else (),
    )
    watch.start((), (os.fstat(number).st_ino for number in (1, 2)))
    atexit.register(_finish, watch, os.getpid())
    return watch


def _finish(watch: Watch, pid: int) -> None:
    if os.getpid() != pid:
        return
    report = watch.finish()
    # torchrun's own status when a worker fails
    watch.report(1 if watch.failed_rank() else 0, report.run_dir)
