"""One sink's end of the pipeline: a bounded memory object stream, a writer task, a breaker.

Whatever the sink does, the others do not notice: a full stream loses this sink's batches, counted.
"""

from __future__ import annotations

import inspect
import time
from collections import Counter
from typing import Any, Final

import anyio

from .._complain import complain
from ..typing import BlockingSink, Run, Sink
from .batch import Batch
from .stats import SinkStats
from .worker import DaemonWorker

STREAM_BYTES: Final = 2 << 20
"""Bytes of lines that may wait for one sink."""
STREAM_ITEMS: Final = 4096
MAX_WRITE: Final = 256 * 1024
"""Bytes a sink that lags gets at once: waiting batches are joined up to this size."""
FAILURES_TO_SUSPEND: Final = 5
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 30.0
DISK_PAUSE: Final = 0.5


class Breaker:
    """Leaves a sink alone that fails again and again, and tries it anew after a pause."""

    def __init__(self) -> None:
        self._failures = 0
        self._pause = FIRST_PAUSE
        self._until = 0.0
        self.error: str | None = None

    def closed(self) -> bool:
        """Say whether the sink may be tried."""
        return time.monotonic() >= self._until

    def succeeded(self) -> None:
        """Note a success: the sink is trusted again."""
        self._failures = 0
        self._pause = FIRST_PAUSE
        self.error = None

    def failed(self, error: Exception) -> None:
        """Note a failure; enough of them in a row suspend the sink."""
        self.error = type(error).__name__
        self._failures += 1
        if self._failures >= FAILURES_TO_SUSPEND:
            # A disk that was full is usable the moment there is room, a backend takes its time.
            local = type(error) is OSError or isinstance(
                error, (PermissionError, FileNotFoundError)
            )
            self._until = time.monotonic() + (DISK_PAUSE if local else self._pause)
            self._pause = min(2 * self._pause, LONGEST_PAUSE)


class SinkWriter:
    """Feeds one sink.

    Args:
        name: Name of the sink in reports.
        sink: The sink itself.
    """

    def __init__(self, name: str, sink: Sink | BlockingSink) -> None:
        self.name = name
        self.written: int = 0
        self.dropped: Counter[str] = Counter()
        self._sink = sink
        self._worker = DaemonWorker(f"asynclog-{name}") if _is_blocking(sink) else None
        self._breaker = Breaker()
        self._waiting_bytes = 0
        self._send, self._receive = anyio.create_memory_object_stream[Batch | anyio.Event](
            STREAM_ITEMS
        )
        self._in_hand = 0

    async def open(self, run: Run) -> None:
        """Open the sink.

        Raises:
            Exception: Whatever the sink raises.
        """
        if self._worker is not None:
            self._worker.start()
        await self._call("open", run)

    def offer(self, batch: Batch) -> None:
        """Queue a batch; one that finds no room is lost for this sink and counted."""
        size = len(batch.raw)
        if self._waiting_bytes + size <= STREAM_BYTES:
            try:
                self._send.send_nowait(batch)
            except anyio.WouldBlock:
                pass
            else:
                self._waiting_bytes += size
                return
        self.dropped["lagged"] += len(batch)

    def barrier(self) -> anyio.Event | None:
        """Return an event that is set once everything offered so far is with the sink."""
        event = anyio.Event()
        try:
            self._send.send_nowait(event)
        except anyio.WouldBlock:
            return None
        return event

    async def run(self) -> None:
        """Write what is offered until :meth:`finish`."""
        async for item in self._receive:
            if isinstance(item, anyio.Event):
                await self._flush(item)
                continue
            batches, event = self._gather(item)
            await self._write(batches[0] if len(batches) == 1 else Batch.joined(batches))
            if event is not None:
                await self._flush(event)
        await self.close()

    async def close(self) -> None:
        """Close the sink."""
        await self._guarded("close")

    def finish(self) -> None:
        """Let :meth:`run` end once it has written what waits."""
        self._send.close()

    def abandon(self) -> None:
        """Count what waits as lost and let a hung thread be."""
        lost = self._in_hand
        try:
            while True:
                item = self._receive.receive_nowait()
                if isinstance(item, Batch):
                    lost += len(item)
        except (anyio.WouldBlock, anyio.EndOfStream, anyio.ClosedResourceError):
            pass
        if lost:
            self.dropped["abandoned"] += lost
        self._in_hand = 0
        self._waiting_bytes = 0
        self._send.close()
        self._receive.close()
        if self._worker is not None:
            self._worker.close()

    def stats(self) -> SinkStats:
        """Return the counters; may be called from any thread."""
        return SinkStats(
            written=self.written,
            dropped=dict(self.dropped),
            waiting_bytes=self._waiting_bytes,
            suspended=not self._breaker.closed(),
            error=self._breaker.error,
        )

    def _gather(self, first: Batch) -> tuple[list[Batch], anyio.Event | None]:
        """Take what else waits, up to a size or the next barrier."""
        batches = [first]
        size = len(first.raw)
        while size < MAX_WRITE:
            try:
                item = self._receive.receive_nowait()
            except (anyio.WouldBlock, anyio.EndOfStream):
                break
            if isinstance(item, anyio.Event):
                return batches, item
            batches.append(item)
            size += len(item.raw)
        return batches, None

    async def _write(self, batch: Batch) -> None:
        if not self._breaker.closed():
            self._waiting_bytes -= len(batch.raw)
            self.dropped["suspended"] += len(batch)
            return
        self._in_hand = len(batch)
        try:
            if self._worker is None:
                await self._sink.write(batch)  # type: ignore[union-attr]
            else:
                await self._worker.run(self._sink.write_blocking, batch)  # type: ignore[union-attr]
        except Exception as error:
            self._breaker.failed(error)
            self.dropped["failed"] += len(batch)
            self._complain(error)
        else:
            self._breaker.succeeded()
            self.written += len(batch)
        self._waiting_bytes -= len(batch.raw)
        self._in_hand = 0

    async def _flush(self, event: anyio.Event) -> None:
        await self._guarded("flush")
        event.set()

    async def _guarded(self, method: str) -> None:
        try:
            await self._call(method)
        except Exception as error:
            self._complain(error)

    async def _call(self, method: str, *arguments: Any) -> None:
        function = getattr(self._sink, method, None)
        if function is None:
            return
        if self._worker is not None:
            await self._worker.run(function, *arguments)
            return
        result = function(*arguments)
        if inspect.isawaitable(result):
            await result

    def _complain(self, error: Exception) -> None:
        complain(f"sink {self.name}: {type(error).__name__}: {error}", kind=f"sink {self.name}")


def _is_blocking(sink: Sink | BlockingSink) -> bool:
    return hasattr(sink, "write_blocking")
