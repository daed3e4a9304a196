"""One term as the collector of a run: from the won election until the spool's lock is given up."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

import anyio
from anyio.abc import TaskStatus

from ..intake.producer import Producer
from ..intake.ring import Origin, Ring
from ..intake.spool import Spool
from .plan import Assembly, Claim, Plan, assemble
from .tally import Tally


@asynccontextmanager
async def collecting(
    plan: Plan,
    spool: Spool,
    origin: Origin,
    *,
    producers: Sequence[Producer] = (),
    private: Sequence[Ring] = (),
    publish: Callable[[Tally], None],
    released: Callable[[], None] = lambda: None,
) -> AsyncGenerator[Assembly, None]:
    """Collect while the block runs; the block is cancelled when the collector is done.

    Args:
        plan: What to do.
        spool: The run's spool, its lock held. It is given up in any case, at the end or when the
            last write that hangs comes back.
        origin: This process.
        producers: As for :func:`assemble`.
        private: As for :func:`assemble`.
        publish: As for :func:`assemble`.
        released: Called, from any thread, when the lock is given up.

    Yields:
        The collector, its sinks open.

    Raises:
        Exception: A sink could not be made or opened.
    """
    claim: Claim | None = None
    assembly: Assembly | None = None

    def release() -> None:
        if claim is not None:
            claim.release()
        spool.leave()
        released()

    try:
        claim = Claim(plan.run_dir, origin)
        run = plan.run(origin, claim.suffix)
        assembly = assemble(
            plan, spool, run, origin, producers=producers, private=private, publish=publish
        )
        collector = assembly.collector

        async def collect(*, task_status: TaskStatus[None]) -> None:
            await collector.run(run, task_status=task_status)
            tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            await tasks.start(collect)
            yield assembly
    finally:
        if assembly is None:
            release()
        else:
            assembly.close(release)
