"""Follower: feeds one blocking sink from the durable files, at the sink's own pace.

Nothing waits in memory for it, and nothing is lost to it: what it could not write stays in the
files, and its cursor says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import anyio

from .._complain import complain
from ..typing import BlockingSink, Run
from .stats import SinkStats
from .trail import Trail
from .worker import DaemonWorker

RETRY_STEPS: Final = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds before a write that failed is tried again; the last one until it works."""


class Feed:
    """Hands one sink what its trail holds; all of it runs in one thread.

    Args:
        sink: The sink; ``state()`` and ``restore(state)`` are called where they exist.
        trail: Where it reads.
    """

    def __init__(self, sink: BlockingSink, trail: Trail) -> None:
        self._sink: Any = sink
        self._trail = trail
        self._state: dict[str, Any] | None = None

    def begin(self, *, from_start: bool = False) -> None:
        """Find out where the sink left off: from now on nothing escapes it.

        Args:
            from_start: Begin with the oldest line, as if the sink had never been fed.

        Raises:
            OSError: The files or the cursor cannot be read or written.
        """
        self._state = self._trail.open(from_start=from_start)
        self._trail.commit(self._state)

    def open(self, run: Run) -> None:
        """Open the sink; may be tried again.

        Raises:
            Exception: Whatever the sink raises.
        """
        self._call("open", run)
        self._call("restore", self._state)
        self._trail.commit(self._call("state"))

    def step(self) -> int:
        """Hand over the next lines; return how many, 0 when the sink has all.

        Raises:
            Exception: Whatever the sink raises; it gets the same lines again at the next step.
        """
        batch = self._trail.take()
        if batch is None:
            return 0
        self._sink.write_blocking(batch)
        self._trail.commit(self._call("state"))
        return len(batch)

    def due(self) -> float | None:
        """Return after how many seconds :meth:`step` has to be called in any case, None: never."""
        return None

    def notes(self) -> list[Mapping[str, Any]]:
        """Return what is to be noted in the run, once."""
        return []

    def dropped(self) -> dict[str, int]:
        """Return how many lines the sink has given up, by reason; from any thread."""
        return dict(getattr(self._sink, "dropped", {}))

    def flush(self) -> None:
        """Flush the sink."""
        self._call("flush")

    def close(self) -> None:
        """Close sink and files."""
        try:
            self._call("close")
        finally:
            self._trail.close()

    def _call(self, method: str, *arguments: Any) -> Any:
        function = getattr(self._sink, method, None)
        return None if function is None else function(*arguments)


class Follower:
    """Keeps one sink fed while the collector runs.

    Args:
        name: Name of the sink in reports.
        feed: Does the work, in a thread of its own.
        trail: What the feed reads, to count what is left.
        remote: Whether it may take long: it is opened in the background then, and a flush of the
            pipeline does not wait for it.
        gathers: Seconds to let lines gather before they are handed over.
        source: Writes what this one reads; None for the collector itself.
    """

    def __init__(
        self,
        name: str,
        feed: Feed,
        trail: Trail,
        *,
        remote: bool,
        gathers: float = 0.0,
        source: Follower | None = None,
    ) -> None:
        self.name = name
        self.remote = remote
        self._feed = feed
        self._trail = trail
        self._gathers = gathers
        self.source: Follower | None = source
        self.ended: bool = False
        self._fed: list[Follower] = []
        if source is not None:
            source._fed.append(self)
        self.note: Callable[[Mapping[str, Any]], object] = lambda record: None
        self._worker = DaemonWorker(f"asynclog-{name}")
        self._kick = anyio.Event()
        self._hurry = anyio.Event()
        self._barriers: list[anyio.Event] = []
        self._written = 0
        self._unsent = 0
        self._failures = 0
        self._finishing = False
        self._error: str | None = None
        self._to_open: Run | None = None
        self._done = False

    def asks_for(self, kind: str) -> bool:
        """Say whether the sink takes records of a kind by name."""
        return kind in (self._trail.kinds or ())

    async def open(self, run: Run) -> None:
        """Open the sink where it left off; one that may take long, later.

        Raises:
            Exception: Whatever the sink raises.
        """
        self._worker.start()
        await self._worker.run(self._feed.begin)
        if self.remote:
            self._to_open = run
        else:
            await self._worker.run(self._feed.open, run)

    def kick(self) -> None:
        """Tell it that there is more in the files; while it rests after a failure, that waits."""
        if not self._failures:
            self._kick.set()

    def barrier(self) -> anyio.Event:
        """Return an event that is set once the sink has what the files hold now."""
        event = anyio.Event()
        self._barriers.append(event)
        self._hurry.set()
        self.kick()
        return event

    def finish(self) -> None:
        """Let :meth:`run` end once the sink has what the files hold, or fails once more.

        One with a source ends after that, which tells it so.
        """
        if self.source is not None and not self.source.ended:
            return
        self._finishing = True
        self._hurry.set()
        self._kick.set()

    async def run(self) -> None:
        """Feed the sink until :meth:`finish`."""
        while True:
            self._kick, self._hurry = anyio.Event(), anyio.Event()
            last, barriers, self._barriers = self._finishing, self._barriers, []
            pause = await self._catch_up()
            if barriers:
                await self._guarded("flush")
            for event in barriers:
                event.set()
            if last:
                break
            with anyio.move_on_after(pause) as rest:
                await self._kick.wait()
            if self._gathers and not rest.cancelled_caught:
                with anyio.move_on_after(self._gathers):
                    await self._hurry.wait()
        await self.close()
        self._done = not self._failures
        self.ended = True
        for follower in self._fed:
            follower.finish()

    async def close(self) -> None:
        """Close the sink."""
        await self._guarded("close")

    def abandon(self) -> None:
        """Count what the sink has not got, and let a hung thread be."""
        if not self._done:
            self._unsent = self._trail.left()
        self._worker.close()

    def stats(self) -> SinkStats:
        """Say how the sink is doing."""
        dropped = self._feed.dropped()
        written = self._written - sum(dropped.values())
        if self._unsent:
            dropped["unsent"] = self._unsent
        return SinkStats(written, dropped, suspended=self._failures > 0, error=self._error)

    async def _catch_up(self) -> float | None:
        """Feed the sink what the files hold; return how long to rest after a failure."""
        try:
            if self._to_open is not None:
                await self._worker.run(self._feed.open, self._to_open)
                self._to_open = None
            while count := await self._worker.run(self._feed.step):
                self._written += count
                self._failures = 0
                self._tell()
        except Exception as error:
            self._complain(error)
            self._error = type(error).__name__
            self._failures += 1
            asked: float | None = getattr(error, "retry_after", None)
            if asked is not None:
                return asked
            return RETRY_STEPS[min(self._failures, len(RETRY_STEPS)) - 1]
        self._failures, self._error = 0, None
        self._tell()
        return self._feed.due()

    def _tell(self) -> None:
        for follower in self._fed:
            follower.kick()
        for record in self._feed.notes():
            self.note(record)

    async def _guarded(self, method: str) -> None:
        try:
            await self._worker.run(getattr(self._feed, method))
        except Exception as error:
            self._complain(error)

    def _complain(self, error: Exception) -> None:
        complain(f"sink {self.name}: {type(error).__name__}: {error}", kind=f"sink {self.name}")
