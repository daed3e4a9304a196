"""Collects a run from NATS into a run directory, and feeds the same sinks as a local collector."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import anyio
from anyio import TASK_STATUS_IGNORED
from anyio.abc import TaskStatus

from ..._settings import AnySink
from ...collector.batch import Batch
from ...collector.ends import ends
from ...collector.follow import Follower
from ...collector.plan import RUN_LOCK, Plan
from ...collector.replay import InUseError, remember_followers
from ...collector.stats import SinkStats
from ...collector.worker import DaemonWorker
from ...collector.writer import SinkWriter
from ...exceptions import SettingError
from ...intake.locks import FileLock
from ...intake.ring import Origin
from ...intake.spool import Spool
from ...sinks import JsonlFile
from ...sinks.nats import Nats
from ...sinks.nats import link as nats_link
from ...sinks.rotation import make_directories
from .receiver import Receiver
from .store import Store

STOP_TIMEOUT: Final = 15.0
"""Seconds that the sinks have to finish."""


class Collected(NamedTuple):
    """What was collected.

    Attributes:
        records: Records that are new in the files.
        hosts: Machines they come from.
        lost: Messages that the server had given up before they were received.
        foreign: Messages of others, on the run's subjects; they were left out.
        sinks: How the sinks have ended.
        publishing: A machine that still publishes and was not waited for, empty without any.
    """

    records: int
    hosts: int
    lost: int
    foreign: int
    sinks: dict[str, SinkStats]
    publishing: str = ""


class Collection:
    """The collection of one run.

    Args:
        settings: Where the server is, and as whom.
        run: Name of the run.
        run_dir: Where to collect it.
        sinks: What else gets the records; a :class:`JsonlFile` that takes every line among them is
            the file itself.
        once: End when all is stored that there is.
        expected: Whether somebody is about to publish the run: to wait is not worth a word then.

    Raises:
        SettingError: A sink would publish what is received to the same run.
    """

    def __init__(
        self,
        settings: Nats,
        run: str,
        run_dir: str | os.PathLike[str],
        sinks: Sequence[AnySink] = (),
        *,
        once: bool = False,
        expected: bool = False,
    ) -> None:
        directory = Path(os.path.abspath(run_dir))
        for sink in sinks:
            if isinstance(sink, Nats) and (sink.run or directory.name) == run:
                rule = "must not publish what is received to the same run, for ever"
                raise SettingError("a sink nats", rule, run, "Give it another run")
        plan = Plan(directory, None, datetime.now(UTC), tuple(sinks), 0.0, STOP_TIMEOUT)
        self._durable = plan.durable() or JsonlFile()
        if plan.durable() is None:
            plan = Plan(directory, None, plan.started, (self._durable, *sinks), 0.0, STOP_TIMEOUT)
        self._plan = plan
        self._told = plan.run(Origin(os.uname().nodename, os.getpid()))
        self._store = Store(self._durable, self._told)
        self._worker = DaemonWorker("asynclog-store")
        self._writers: list[SinkWriter] = []
        self._followers: list[Follower] = []
        self._receiver = Receiver(
            settings,
            run,
            self._store,
            self._worker,
            self._hand_on,
            once=once,
            expected=expected,
        )

    async def run(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> Collected:
        """Collect until :meth:`finish`, or until all is there.

        Args:
            task_status: Is told when the sinks are open, and nothing but the server may be missing.

        Raises:
            SettingError: The run directory is in use or holds another run; there is no such run; or
                a file that is needed to connect cannot be read.
            MissingExtraError: A package is not installed.
            BackendError: It did not work, and it was to be tried once.
            Exception: A sink cannot be opened.
        """
        nats_link.load()
        async with self._claimed():
            await self._open()
            task_status.started()
            try:
                await self._receive()
            finally:
                for end in self._ends():
                    end.abandon()
        return Collected(
            self._store.records,
            len(self._store.hosts),
            self._store.lost,
            self._store.foreign,
            {end.name: end.stats() for end in self._ends()},
            self._receiver.publishing,
        )

    def complete(self, patience: float) -> None:
        """Let :meth:`run` return once nobody publishes any more, and all is stored that there is.

        To be called on its loop.

        Args:
            patience: Seconds to wait at most for those who publish; 0 takes what there is now.
        """
        self._receiver.complete(patience)

    def finish(self) -> None:
        """Let :meth:`run` return soon; to be called on its loop."""
        self._receiver.finish()

    @asynccontextmanager
    async def _claimed(self) -> AsyncGenerator[None]:
        """Keep everybody else out of the run directory, and close what was opened in it."""
        directory = self._plan.run_dir
        make_directories(directory)
        spool_dir = os.environ.get("ASYNCLOG_SPOOL_DIR")
        spool = Spool(directory, Path(spool_dir) if spool_dir else None)
        spool.prepare()
        if not spool.elect():
            raise InUseError(directory)
        # of collectors on other machines, where the directory is on a shared disk
        lock = FileLock(directory / RUN_LOCK)
        try:
            if not lock.acquire(create=True):
                raise InUseError(directory)
            try:
                yield
            finally:
                with anyio.CancelScope(shield=True):
                    await self._worker.run(self._store.close)
                self._worker.close()
                lock.release(unlink=True)
        finally:
            spool.leave()

    async def _open(self) -> None:
        await self._worker.run(self._store.open)
        # whether the ranks of other machines may still report, nobody says here
        self._writers, self._followers = ends(
            self._plan.sinks, self._told, self._durable, lambda: [self._store], lambda: True
        )
        remember_followers(self._plan)
        opened: list[SinkWriter | Follower] = []
        try:
            for end in self._ends():
                await end.open(self._told)
                opened.append(end)
        except BaseException:
            with anyio.move_on_after(STOP_TIMEOUT, shield=True):
                for end in opened:
                    await end.close()
            for end in self._ends():
                end.abandon()
            raise

    async def _receive(self) -> None:
        problem: Exception | None = None
        async with anyio.create_task_group() as feeding:
            for end in self._ends():
                feeding.start_soon(end.run)
            try:
                await self._receiver.run()
            except Exception as error:
                problem = error
            finally:
                for end in self._ends():
                    end.finish()
                feeding.cancel_scope.deadline = anyio.current_time() + STOP_TIMEOUT
        if problem is not None:
            raise problem

    def _ends(self) -> list[SinkWriter | Follower]:
        return [*self._writers, *self._followers]

    def _hand_on(self, content: bytes) -> None:
        batch = Batch(content)
        for writer in self._writers:
            writer.offer(batch)
        for each in self._followers:
            each.kick()
