"""The collector: drains the rings of a run into its sinks, on one event loop."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from typing import Final

import anyio
from anyio.abc import TaskGroup, TaskStatus

from ..intake.producer import WAKE_ALWAYS, WAKE_AT_ERRORS, Producer
from ..typing import Run
from .batch import Batch
from .files import FileWriter
from .follow import Follower
from .media import NAME as MEDIA
from .media import MediaWriter
from .notes import Notes
from .rings import RingSet
from .source import Source
from .tally import Tally
from .writer import SinkWriter

BATCH_BYTES: Final = 256 * 1024
QUIET_ROUNDS: Final = 5
"""Rounds without a record before the collector goes to sleep."""
LONGEST_NAP: Final = 0.25
"""Seconds between looks at the rings of other processes, which cannot wake us."""


class Collector:
    """Drains all rings of a run into one durable file and any number of other sinks.

    It must run only while the spool's lock is held.

    Args:
        rings: What to drain.
        files: Writes the durable file; without one, a ring's tail follows what was handed on.
        writers: The sinks that are fed from a stream.
        followers: The sinks that are fed from the durable file.
        notes: Takes the collector's own records.
        producers: Producers of this process; they are told when to wake the collector.
        linger: Seconds to let records gather.
        stop_timeout: Seconds the sinks have to finish.
        publish: Called now and then with the counts, and with the last ones at the end.
        media: Brings images to the run directory.
    """

    def __init__(
        self,
        rings: RingSet,
        files: FileWriter | None,
        writers: Sequence[SinkWriter],
        followers: Sequence[Follower],
        notes: Notes,
        *,
        producers: Sequence[Producer] = (),
        linger: float,
        stop_timeout: float,
        publish: Callable[[Tally], None],
        media: MediaWriter | None = None,
    ) -> None:
        self._rings = rings
        self._files = files
        self._writers = list(writers)
        self._followers = list(followers)
        if files is not None:
            for follower in followers:
                follower.note = notes.note
                if follower.source is None:
                    files.listen(follower.kick)
        self._notes = notes
        self._producers = list(producers)
        self._linger = linger
        self._stop_timeout = stop_timeout
        self._publish = publish
        self._media = media
        self._kick = asyncio.Event()
        self._finishing = False
        self._deadline = 0.0
        self._next_publication = 0.0
        self._heartbeat: float | None = None

    async def run(
        self, run: Run, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Open the sinks and drain until :meth:`finish` is called.

        Raises:
            Exception: A sink could not be opened; nothing was written to any.
        """
        await self._open(run)
        async with anyio.create_task_group() as writing, anyio.create_task_group() as tasks:
            for end in self._ends():
                writing.start_soon(end.run)
            if self._files is not None:
                tasks.start_soon(self._files.run)
            if self._media is not None:
                tasks.start_soon(self._media.run)
            task_status.started()
            await self._pump(tasks)
            deadline = anyio.current_time() + self._deadline - time.monotonic()
            await self._drain(deadline)
            tasks.cancel_scope.cancel()
            for end in self._ends():
                end.finish()
            writing.cancel_scope.deadline = deadline
        for end in self._ends():
            end.abandon()
        if self._media is not None:
            self._media.close()
        self._publish(self.tally())

    def kick(self) -> None:
        """Wake the collector; to be called on its loop."""
        self._kick.set()

    def finish(self, deadline: float) -> None:
        """Let :meth:`run` drain what is there and return; to be called on its loop.

        Args:
            deadline: When to leave undone what is not done, on the monotonic clock.
        """
        self._finishing = True
        self._deadline = deadline
        self._kick.set()

    def tally(self) -> Tally:
        """Return the counts so far; may be called from any thread."""
        tally = self._rings.tally()
        tally.sinks = {end.name: end.stats() for end in self._ends()}
        images = self._media.stats() if self._media is not None else None
        if images is not None:
            tally.sinks[MEDIA] = images
        tally.pid = os.getpid()
        tally.heartbeat = self._heartbeat
        tally.last_write = self._files.last_write if self._files is not None else None
        return tally

    def alive(self) -> bool:
        """Say whether any process may still log."""
        return self._rings.alive()

    async def _open(self, run: Run) -> None:
        self._rings.find()
        self._rings.look_after(now=True)
        opened: list[SinkWriter | Follower] = []
        try:
            if self._files is not None:
                await self._files.open()
            for end in self._ends():
                await end.open(run)
                opened.append(end)
        except BaseException:
            with anyio.move_on_after(self._stop_timeout, shield=True):
                for end in opened:
                    await end.close()
            for end in self._ends():
                end.abandon()
            raise

    def _ends(self) -> list[SinkWriter | Follower]:
        """Return what feeds the sinks, one for each."""
        return [*self._writers, *self._followers]

    async def _pump(self, tasks: TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        quiet = 0
        while not self._finishing:
            quiet = 0 if self._round(tasks) else quiet + 1
            asleep = quiet > QUIET_ROUNDS
            for producer in self._producers:
                producer.wake_level = WAKE_ALWAYS if asleep else WAKE_AT_ERRORS
            if asleep and self._round(tasks):
                # It came in before the producers knew that we sleep.
                quiet, asleep = 0, False
            # a timer that kicks takes 70 us less of each round than a wait that is cancelled
            timer = loop.call_later(LONGEST_NAP if asleep else self._linger, self._kick.set)
            await self._kick.wait()
            timer.cancel()
            self._kick.clear()

    def _round(self, tasks: TaskGroup) -> bool:
        """Hand on what is in the rings; say whether there was anything."""
        self._rings.find()
        self._rings.look_after(now=self._finishing)
        self._heartbeat = time.time()
        if self._media is not None:
            self._media.look()
        moved = False
        for source in self._rings:
            moved = self._advance(source) or moved
        if self._files is not None and moved:
            self._files.kick()
        self._tell_deaths()
        if self._files is None or not self._files.busy:
            self._rings.bury(lambda: self._publish(self.tally()))
        now = anyio.current_time()
        if now >= self._next_publication:
            self._next_publication = now + 1.0
            tally = self.tally()
            self._notes.dropped(tally)
            self._notes.stats(tally)
            self._publish(tally)
        for source in self._rings:
            position = source.wants_flush()
            if position is not None and not source.flushing:
                source.flushing = True
                tasks.start_soon(self._flush, source, position)
        return moved

    def _tell_deaths(self) -> None:
        for process, life in self._rings.deaths():
            self._notes.died(process, life)

    def _advance(self, source: Source) -> bool:
        """Offer the new lines of a ring to the sinks."""
        end = source.visible()
        if end <= source.cursor:
            return False
        if self._writers:
            while source.cursor < end:
                stop = min(end, source.cursor + BATCH_BYTES)
                if stop < end:
                    stop = source.ring.line_end(source.cursor, stop)
                self._offer(source, stop if stop > source.cursor else end)
        source.cursor = end
        if self._files is None:
            source.ring.stored += source.waiting(end)
            source.ring.tail = end
        return True

    def _offer(self, source: Source, end: int) -> None:
        batch = Batch(source.ring.read(source.cursor, end))
        for writer in self._writers:
            writer.offer(batch)
        source.cursor = end

    async def _flush(self, source: Source, position: int) -> None:
        """Tell the owner of a ring when everything up to ``position`` is with the sinks."""
        with anyio.move_on_after(self._stop_timeout):
            for event in [writer.barrier() for writer in self._writers]:
                if event is not None:
                    await event.wait()
        while self._files is not None and not source.closed and source.ring.tail < position:
            await self._files.wait_progress()
        with anyio.move_on_after(self._stop_timeout):
            if self._media is not None:
                await self._media.settle()
            # those that read what others write come after them
            local = [each for each in self._followers if not each.remote]
            for first in (True, False):
                waits = [each.barrier() for each in local if (each.source is None) is first]
                for event in waits:
                    await event.wait()
        self._publish(self.tally())
        if not source.closed:
            source.flushed(position)
            source.flushing = False

    async def _stored(self) -> None:
        """Wait until everything the pump has seen is in the durable file."""
        while self._files is not None and not self._files.idle():
            await self._files.wait_progress()

    async def _drain(self, deadline: float) -> None:
        """See the last records to the durable file, as far as the time allows."""
        async with anyio.create_task_group() as tasks:
            tasks.cancel_scope.deadline = deadline
            self._notes.dropped(self.tally(), now=True)
            self._round(tasks)
            await self._stored()
            self._tell_deaths()
            if self._media is not None:
                # Half of the time: a directory that cannot be written may not take all of it.
                with anyio.move_on_after((deadline - anyio.current_time()) / 2):
                    await self._media.settle()
                self._notes.dropped(self.tally(), now=True)
            # The last counts, once there is nothing else left to count.
            self._notes.stats(self.tally(), now=True)
            self._notes.end()
            self._round(tasks)
            await self._stored()
            # Rings of ended processes are empty now and are removed.
            self._round(tasks)
            for source in self._rings:
                position = source.wants_flush()
                if position is not None and source.ring.tail >= position:
                    source.flushed(position)
            tasks.cancel_scope.cancel()
