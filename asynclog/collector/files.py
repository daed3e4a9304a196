"""Keeps the durable file going: one thread that writes, and patience when the disk does not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

import anyio

from .._complain import complain
from ..sinks.rotation import RotatingFile
from .durable import DurableFile
from .rings import RingSet
from .source import Source
from .worker import DaemonWorker

RETRY_STEPS: Final = (0.02, 0.05, 0.1, 0.25, 0.5)
"""Seconds before a write that failed is tried again; the last one until it works."""


class FileWriter:
    """Stores in the durable file what the pump has seen.

    Args:
        durable: Does the writing, in a thread of its own.
        rings: What to write.
    """

    def __init__(self, durable: DurableFile, rings: RingSet) -> None:
        self._durable = durable
        self._rings = rings
        self._worker = DaemonWorker("asynclog-file")
        self._kick = asyncio.Event()
        self._progress = asyncio.Event()
        self.busy: bool = False
        self.last_write: float | None = None
        self._listeners: list[Callable[[], None]] = []

    def listen(self, listener: Callable[[], None]) -> None:
        """Have a function called, on the event loop, whenever more has been stored."""
        self._listeners.append(listener)

    def written(self) -> list[RotatingFile]:
        """Return the files that are written so far; may be called from any thread."""
        return self._durable.files()

    async def open(self) -> None:
        """Finish what a dead collector left half-done, and see that the file can be written.

        Raises:
            OSError: It cannot.
        """
        await self._worker.run(self._redo_and_probe, list(self._rings))

    def kick(self) -> None:
        """Tell the writer that there is something to do."""
        self._kick.set()

    def idle(self) -> bool:
        """Say whether everything the pump has seen is stored."""
        return not self.busy and all(source.ring.tail >= source.cursor for source in self._rings)

    async def wait_progress(self) -> None:
        """Wait until something more has been stored."""
        await self._progress.wait()

    async def run(self) -> None:
        """Write until cancelled."""
        failures = 0
        while True:
            goals = [(s, s.cursor) for s in self._rings if s.ring.tail < s.cursor]
            if not goals:
                await self._kick.wait()
                self._kick.clear()
                continue
            self.busy = True
            try:
                await self._worker.run(self._write, goals)
            except OSError as error:
                pause = RETRY_STEPS[min(failures, len(RETRY_STEPS) - 1)]
                failures += 1
                self.busy = False
                complain(f"cannot write the log file, will try again: {error}", kind="file")
                await anyio.sleep(pause)
            else:
                failures = 0
                self.busy = False
                self.last_write = time.time()
                for listener in self._listeners:
                    listener()
            # who waits now goes on, who comes later waits for more
            self._progress.set()
            self._progress.clear()

    def close(self, then: Callable[[], None]) -> None:
        """Let the thread end after the write it is in; ``then`` is called at its end."""

        def close() -> None:
            self._durable.close()
            then()

        self._worker.close(close)

    def _redo_and_probe(self, sources: list[Source]) -> None:
        for source in sources:
            self._durable.redo(source)
            source.cursor = max(source.cursor, source.ring.tail)
        self._durable.probe()

    def _write(self, goals: list[tuple[Source, int]]) -> None:
        for source, _ in goals:
            self._durable.redo(source)
        for source, goal in goals:
            self._durable.write(source, goal)
