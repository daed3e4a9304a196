"""A collector in a process of its own: ``python -m asynclog.collector LOCK_DESCRIPTOR``.

Started by :mod:`asynclog.collector.child`, which says on standard input what to do.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import suppress
from io import FileIO
from typing import Any, Final, cast

import anyio
from anyio.abc import TaskStatus

from ..intake.ring import Origin
from ..intake.spool import Spool
from .host import publish_tally
from .plan import Assembly, Claim, Plan, assemble
from .stats import Tally
from .worker import DaemonWorker

LOOK_INTERVAL: Final = 0.1
"""Seconds between looks whether anybody is left who may log."""

# Not sys.stdin: a thread that waits in its buffer at the end of the interpreter is a fatal error.
_orders = FileIO(0, closefd=False)


def main() -> None:
    """Collect until no process of the run is left."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    descriptor = int(sys.argv[1])
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


def _say(message: dict[str, Any]) -> None:
    with suppress(OSError):
        os.write(1, json.dumps(message).encode() + b"\n")


async def _collect(plan: Plan, spool: Spool, origin: Origin) -> None:
    claim: Claim | None = None
    assembly: Assembly | None = None

    def publish(tally: Tally) -> None:
        publish_tally(spool, tally)
        _say({"tally": tally.as_data()})

    try:
        claim = Claim(plan.run_dir, origin)
        run = plan.run(origin, claim.suffix)
        assembly = assemble(plan, spool, run, origin, publish=publish)
        collector = assembly.collector

        async def collect(*, task_status: TaskStatus[None]) -> None:
            await collector.run(run, task_status=task_status)
            tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            await tasks.start(collect)
            _say({"ready": True})
            tasks.start_soon(_obey, assembly, plan)
            with anyio.open_signal_receiver(signal.SIGTERM) as signals:
                tasks.start_soon(_leave_when_alone, assembly, plan)
                async for _ in signals:
                    collector.finish(time.monotonic() + plan.stop_timeout)
    except BaseException as error:
        cause = _only_cause(error)
        _say({"error": f"{type(cause).__name__}: {cause}"})
        if not isinstance(cause, Exception):
            raise
    finally:

        def release() -> None:
            if claim is not None:
                claim.release()
            spool.leave()

        if assembly is None:
            release()
        else:
            assembly.close(release)
            if assembly.files is not None:
                assembly.files.join(plan.stop_timeout)


def _only_cause(error: BaseException) -> BaseException:
    """Return the one exception inside nested groups, or the group when it holds several."""
    while isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        if len(group.exceptions) != 1:
            return group
        (error,) = group.exceptions
    return error


async def _obey(assembly: Assembly, plan: Plan) -> None:
    """Wake up when the parent says so; its end means nothing, others may go on logging."""
    reader = DaemonWorker("asynclog-parent")
    while await reader.run(_orders.readline):
        assembly.rings.look_after(now=True)
        assembly.collector.kick()
        if not assembly.collector.alive():
            assembly.collector.finish(time.monotonic() + plan.stop_timeout)
    reader.close()


async def _leave_when_alone(assembly: Assembly, plan: Plan) -> None:
    while assembly.collector.alive():
        await anyio.sleep(LOOK_INTERVAL)
    assembly.collector.finish(time.monotonic() + plan.stop_timeout)


if __name__ == "__main__":
    main()
