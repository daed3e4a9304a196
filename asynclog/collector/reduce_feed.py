"""Feeds a reduction from the durable files, and stores what comes out of it for the sinks.

What comes out goes into a file, which the sinks follow as they would follow the durable one. They
see it up to where the cursor vouches for it: a kill may take back the rest, and brings it again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from .._complain import complain
from .._json import dumps
from .._settings import parse_duration
from ..sinks.backend import DIED
from ..sinks.ranked import RankFiles, rank_of
from ..sinks.reduced import FILE, Reduced
from ..sinks.rotation import Position
from ..sinks.select import parse
from ..sinks.template import expand
from ..typing import Run
from .batch import Batch
from .follow import Feed
from .reduce import Reduction
from .trail import Trail


class ReducedFile:
    """The file of the reduced values, as those who follow it see it.

    Args:
        run: The run.
    """

    def __init__(self, run: Run) -> None:
        self.path: Path = expand(FILE, replace(run, rank=None))
        self.key: str = os.path.relpath(self.path, run.directory)
        self._position = Position(0, 0, 0)

    def written(self) -> Position:
        """Return how far it is vouched for; may be called from any thread."""
        return self._position

    def vouch(self, size: int) -> None:
        """Note that it is vouched for up to a size."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return
        self._position = Position(status.st_dev, status.st_ino, size)


class ReducingFeed(Feed):
    """Reduces what its trail holds; all of it runs in one thread.

    Args:
        settings: What the user wants.
        trail: Where it reads.
        file: Where it writes.
        alive: Says whether any rank may still report.
        clock: Returns seconds that only grow.
    """

    def __init__(
        self,
        settings: Reduced,
        trail: Trail,
        file: ReducedFile,
        alive: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(cast("Any", None), trail)
        self._settings = settings
        self._file = file
        self._alive = alive
        self._clock = clock
        self._files = RankFiles(FILE)
        self._reduction = self._new_reduction()
        self._passed = settings.kinds - {"metrics"}
        # what has been made of the lines that were taken last, and is not in the file yet
        self._unwritten: bytes | None = None
        self._notes: list[Mapping[str, Any]] = []

    def open(self, run: Run) -> None:
        """Bring the file to what the cursor vouches for.

        Raises:
            OSError: It cannot be written.
        """
        self._files.open(replace(run, rank=None))
        state = self._state or {}
        self._files.restore(state.get("file"))
        if "reduction" in state:
            try:
                self._reduction.restore(state["reduction"], self._clock())
            except (AttributeError, KeyError, TypeError, ValueError):
                self._reduction = self._new_reduction()
                complain(f"sink {Reduced.name}: what waited for ranks cannot be read and is left")
        self._commit()

    def step(self) -> int:
        """Reduce the next lines; return how many, 0 when there are no more.

        Raises:
            OSError: A file cannot be read or written; nothing is lost by it.
        """
        batch = None
        if self._unwritten is None:
            batch = self._trail.take()
            self._unwritten = self._reduce(batch)
        self._write(self._unwritten)
        self._unwritten = None
        return 0 if batch is None else len(batch)

    def _new_reduction(self) -> Reduction:
        settings = self._settings
        timeout = parse_duration(settings.timeout, "timeout")
        return Reduction(timeout, settings.statistics, settings.world_size)

    def due(self) -> float | None:
        """Return in how many seconds somebody is waited for no longer."""
        return self._reduction.due(self._clock())

    def notes(self) -> list[Mapping[str, Any]]:
        """Return the notes since the last call; each is in the file already."""
        notes, self._notes = self._notes, []
        return notes

    def flush(self) -> None:
        """Do nothing: what is done is in the file."""

    def close(self) -> None:
        """Close the files; write what still waits when nobody reports any more."""
        try:
            if self._unwritten is None and not self._alive():
                self._unwritten = _lines(self._reduction.finish())
            if self._unwritten is not None:
                self._write(self._unwritten)
                self._unwritten = None
            self._commit()
        finally:
            self._trail.close()

    def _reduce(self, batch: Batch | None) -> bytes:
        """Return the lines that come of some lines, and of the time that has passed."""
        now, made = self._clock(), b""
        if batch is not None:
            for line in batch.lines:
                event = parse(line)
                kind = event.get("kind")
                if kind == "metrics":
                    made += _lines(self._noted(self._reduction.add(event, now)))
                    continue
                died = kind == "note" and DIED in event
                if died and "rank" in event:
                    made += _lines(self._reduction.end(rank_of(event)))
                if kind in self._passed and (kind != "note" or died):
                    made += line + b"\n"
        return made + _lines(self._noted(self._reduction.expire(now)))

    def _noted(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        self._notes += [record for record in records if record["kind"] == "note"]
        return records

    def _write(self, lines: bytes) -> None:
        if lines:
            self._files.append({0: lines})
            self._commit()
        else:
            # A cursor that stays behind costs reading the same lines again, no more.
            self._trail.advance()

    def _commit(self) -> None:
        state = self._files.state()
        self._trail.commit({"file": state, "reduction": self._reduction.state()})
        self._file.vouch(state["sizes"].get(self._file.key, 0))


def _lines(records: list[dict[str, Any]]) -> bytes:
    return b"".join(dumps(record) + b"\n" for record in records)
