"""A daemon thread that does blocking work for the event loop.

anyio's worker threads are no daemons: a vendor's call that hangs would keep the interpreter from
exiting.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

from .. import _own_threads

T = TypeVar("T")


class _Job:
    __slots__ = ("arguments", "error", "finished", "function", "loop", "result")

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.function = function
        self.arguments = arguments
        self.loop = asyncio.get_running_loop()
        self.finished = asyncio.Event()
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.result = self.function(*self.arguments)
        except BaseException as error:
            self.error = error
        try:
            self.loop.call_soon_threadsafe(self.finished.set)
        except RuntimeError:
            # The loop ended without waiting for us.
            pass


class DaemonWorker:
    """Runs one blocking call at a time in a daemon thread of its own."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread; from Python 3.12 on this is too late once the process is ending."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run a call in the thread; when cancelled, the call goes on and its result is lost."""
        self.start()
        job = _Job(function, arguments)
        self._jobs.put(job.run)
        await job.finished.wait()
        if job.error is not None:
            raise job.error
        return job.result

    def _work(self) -> None:
        _own_threads.mark()
        while (job := self._jobs.get()) is not None:
            job()
            del job

    def close(self, then: Callable[[], None] | None = None) -> None:
        """End the thread once it has done what it was given.

        Args:
            then: Called at its end, in the thread; at once when it never ran.
        """
        if self._thread is None:
            if then is not None:
                then()
            return
        if then is not None:
            self._jobs.put(then)
        self._jobs.put(None)
