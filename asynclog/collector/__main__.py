"""A collector in a process of its own: ``python -m asynclog.collector LOCK_DESCRIPTOR STDOUT``.

Started by :mod:`asynclog.collector.child`, which says on standard input what to do.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from io import FileIO
from typing import Any, Final, cast

import anyio

from .. import _own_threads
from ..intake.ring import Origin
from ..intake.spool import Spool
from .plan import Assembly, Plan
from .published import publish_tally
from .tally import Tally
from .term import collecting
from .worker import DaemonWorker

LOOK_INTERVAL: Final = 0.1
"""Seconds between looks whether anybody is left who may log."""
END_MARGIN: Final = 0.3
"""Seconds of ``stop_timeout`` that are left to count and report what the sinks have not got."""

# Not sys.stdin: a thread that waits in its buffer at the end of the interpreter is a fatal error.
_orders = FileIO(0, closefd=False)
_reports = 1


def main() -> None:
    """Collect until no process of the run is left."""
    _own_threads.mark()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    descriptor, screen = map(int, sys.argv[1:])
    _free_stdout(screen)
    line = _orders.readline()
    if not line:
        # The parent is gone already; the lock ends with us.
        return
    data = json.loads(line)
    plan = Plan.from_data(data)
    spool = Spool(plan.run_dir, plan.spool_dir)
    spool.lock.adopt(descriptor)
    anyio.run(_collect, plan, spool, Origin(os.uname().nodename, os.getpid()))
    # Threads of hung sinks are daemons: they end here.


def _free_stdout(screen: int) -> None:
    """Let standard output be the parent's: what is shown there is no report to it."""
    global _reports
    _reports = os.dup(1)
    os.dup2(screen, 1)
    os.close(screen)


def _say(message: dict[str, Any]) -> None:
    with suppress(OSError):
        os.write(_reports, json.dumps(message).encode() + b"\n")


async def _collect(plan: Plan, spool: Spool, origin: Origin) -> None:
    released = threading.Event()

    def publish(tally: Tally) -> None:
        publish_tally(spool, tally)
        _say({"tally": tally.as_data()})

    try:
        async with (
            collecting(plan, spool, origin, publish=publish, released=released.set) as assembly,
            anyio.create_task_group() as tasks,
        ):
            _say({"ready": True})
            tasks.start_soon(_obey, assembly, plan)
            with anyio.open_signal_receiver(signal.SIGTERM) as signals:
                tasks.start_soon(_leave_when_alone, assembly, plan)
                async for _ in signals:
                    assembly.collector.finish(_deadline(plan))
    except BaseException as error:
        cause = _only_cause(error)
        _say({"error": f"{type(cause).__name__}: {cause}"})
        if not isinstance(cause, Exception):
            raise
    finally:
        # By the thread that writes, which ends with us.
        released.wait(plan.stop_timeout)


def _only_cause(error: BaseException) -> BaseException:
    """Return the one exception inside nested groups, or the group when it holds several."""
    while isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        if len(group.exceptions) != 1:
            return group
        (error,) = group.exceptions
    return error


def _deadline(plan: Plan) -> float:
    """Return when the sinks have to be done: before the parent stops listening to our counts."""
    patience = plan.stop_timeout
    return time.monotonic() + max(patience / 2, patience - END_MARGIN)


async def _obey(assembly: Assembly, plan: Plan) -> None:
    """Wake up when the parent says so; its end means nothing, others may go on logging."""
    reader = DaemonWorker("asynclog-parent")
    while await reader.run(_orders.readline):
        assembly.rings.look_after(now=True)
        assembly.collector.kick()
        if not assembly.collector.alive():
            assembly.collector.finish(_deadline(plan))
    reader.close()


async def _leave_when_alone(assembly: Assembly, plan: Plan) -> None:
    while assembly.collector.alive():
        await anyio.sleep(LOOK_INTERVAL)
    assembly.collector.finish(_deadline(plan))


if __name__ == "__main__":
    main()
