"""The candidate: a daemon thread that becomes the run's collector when nobody else is.

Every started process has one. It tries the spool's lock; who gets it drains all rings of the run,
in this thread or in a process that inherits the lock. When a collector dies, its lock goes with it
and another candidate follows.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import anyio

from .. import _own_threads
from .._complain import complain
from ..intake.producer import Producer
from ..intake.ring import Origin, Ring
from ..intake.spool import Spool
from .child import CollectorChild
from .plan import Assembly, Plan
from .published import publish_tally, read_tally
from .stats import CollectorPlace
from .tally import Tally
from .term import collecting

ELECTION_INTERVAL: Final = 0.2
"""Seconds between tries to become the collector."""
_GRACE: Final = 0.25
"""Seconds the thread may take to end after its deadline."""


class CollectorHost:
    """Runs the candidate of one pipeline.

    Args:
        spool: The run's spool.
        plan: What to do when elected.
        origin: This process.
        own_process: Collect in a process of its own instead of in the thread.
        producers: Producers of this process, to be woken by.
        private: Rings in private memory, which no other collector could drain.
        tick: Called now and then while the thread lives.
    """

    def __init__(
        self,
        spool: Spool,
        plan: Plan,
        origin: Origin,
        *,
        own_process: bool,
        producers: Sequence[Producer],
        private: Sequence[Ring] = (),
        tick: Callable[[], None],
    ) -> None:
        self._spool = spool
        self._plan = plan
        self._origin = origin
        self._own_process = own_process
        self._producers = producers
        self._private = private
        self._tick = tick
        self._thread = threading.Thread(target=self._run, name="asynclog-collector", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._assembly: Assembly | None = None
        self._child: CollectorChild | None = None
        self._last_tally: Tally | None = None
        self._stopping = False
        self._deadline = 0.0
        self._decided = threading.Event()
        self._released = threading.Event()
        self._released.set()
        self._start_error: BaseException | None = None
        self._wake_up: asyncio.Event | None = None

    def start(self) -> None:
        """Start the thread; return when somebody collects.

        Raises:
            Exception: This process was elected and a sink could not be opened.
        """
        self._thread.start()
        self._decided.wait()
        if self._start_error is not None:
            self._thread.join()
            raise self._start_error

    def wake(self) -> None:
        """Wake the collector; from any thread, signal handler or finaliser."""
        loop = self._loop
        if loop is not None:
            # The loop may be closed already: then there is nobody to wake.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._kick)

    def hosts(self) -> bool:
        """Say whether the collector is here or in a process of ours."""
        return self._assembly is not None or self._child is not None

    def finish(self, deadline: float) -> None:
        """Drain what is there and end the thread.

        Args:
            deadline: When to leave undone what is not done, on the monotonic clock.
        """
        self._deadline = deadline
        self._stopping = True
        self.wake()
        self._thread.join(max(0.0, deadline - time.monotonic()) + _GRACE)

    def end_private(self, ring: Ring) -> None:
        """Note that nothing more comes into a ring in private memory."""
        assembly = self._assembly
        if assembly is not None:
            assembly.rings.end_private(ring)

    def tally(self) -> Tally | None:
        """Return the counts of the run, None when nobody knows them."""
        assembly = self._assembly
        if assembly is not None:
            return assembly.collector.tally()
        child = self._child
        if child is not None:
            return self._newest(child)
        last = self._last_tally
        if last is not None and self._stopping:
            return last
        # Somebody else collects by now; nobody does any more when there is nothing to read.
        return read_tally(self._spool) or last

    def _newest(self, child: CollectorChild) -> Tally | None:
        """Return the last counts of our collector process.

        It publishes them before it says that a flush is done, and tells us on its own time; at its
        end, what is published goes.
        """
        published, told = read_tally(self._spool), child.tally
        if published is None or told is None:
            return published or told
        return told if (told.heartbeat or 0.0) > (published.heartbeat or 0.0) else published

    def place(self) -> CollectorPlace:
        """Say where the collector is."""
        if self._assembly is not None:
            return "thread"
        return "process" if self._child is not None else "elsewhere"

    def _kick(self) -> None:
        if self._wake_up is not None:
            self._wake_up.set()
        if self._child is not None:
            self._child.kick()
        if self._assembly is not None:
            if self._stopping:
                self._assembly.collector.finish(self._deadline)
            else:
                self._assembly.collector.kick()

    def _run(self) -> None:
        _own_threads.mark()
        # Not anyio's start_blocking_portal: its context manager waits for the thread when it is
        # collected, for ever in a forked child, which has no such thread.
        try:
            anyio.run(self._main)
        except BaseException as error:
            if self._decided.is_set():
                complain(f"the collector thread ends: {type(error).__name__}: {error}")
            else:
                self._start_error = error
        finally:
            self._decided.set()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._wake_up = asyncio.Event()
        try:
            while not self._stopping:
                if self._elect():
                    await self._collect()
                if self._start_error is not None:
                    return
                self._decided.set()
                await self._pause(ELECTION_INTERVAL)
                self._tick()
        finally:
            self._loop = None

    def _elect(self) -> bool:
        try:
            return self._spool.elect()
        except OSError as error:
            if not self._decided.is_set():
                raise
            complain(f"nobody can be elected to collect: {error}", kind="election")
            return False

    async def _pause(self, seconds: float) -> None:
        assert self._wake_up is not None
        if not self._stopping:
            with anyio.move_on_after(seconds):
                await self._wake_up.wait()
        self._wake_up.clear()

    async def _collect(self) -> None:
        """Be the collector until told to stop; a failure is that of start() or is complained of."""
        self._released.clear()
        try:
            if self._own_process:
                await self._in_process()
            else:
                await self._in_thread()
        except Exception as error:
            if self._decided.is_set():
                complain(f"collector failed, will be started again: {error}", kind="collector")
                await anyio.sleep(ELECTION_INTERVAL)
            else:
                self._start_error = error

    async def _in_thread(self) -> None:
        term = collecting(
            self._plan,
            self._spool,
            self._origin,
            producers=self._producers,
            private=self._private,
            publish=lambda tally: publish_tally(self._spool, tally),
            released=self._released.set,
        )
        try:
            async with term as assembly:
                self._assembly = assembly
                self._decided.set()
                if self._stopping:
                    assembly.collector.finish(self._deadline)
                await self._tick_for_ever()
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            if self._assembly is not None:
                self._last_tally = self._assembly.collector.tally()
                self._assembly = None
            # A thread that hangs in a write keeps the lock; everything else takes no time.
            with anyio.move_on_after(0.1, shield=True):
                while not self._released.is_set():
                    await anyio.sleep(0.001)

    async def _tick_for_ever(self) -> None:
        while True:
            await anyio.sleep(ELECTION_INTERVAL)
            self._tick()

    async def _in_process(self) -> None:
        child = CollectorChild(self._spool, self._plan)
        try:
            try:
                await child.start()
            finally:
                # From now on the child holds the lock, by its inherited descriptor.
                self._spool.lock.leave_to_others()
            self._child = child
            self._decided.set()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._tick_for_ever)
                await child.watch(lambda: self._deadline if self._stopping else None)
                tasks.cancel_scope.cancel()
        finally:
            self._last_tally = self._newest(child)
            self._child = None
            child.close()
            self._released.set()
