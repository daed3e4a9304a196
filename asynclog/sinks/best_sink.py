"""The sink behind Best: looks at metrics and saves what has become better."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from .._best import BestValues
from .._complain import complain
from ..typing import Batch, Run
from .ranked import MAX_FILES, rank_of
from .small_file import write_atomically
from .template import expand


class BestSink:
    """Keeps best values and writes them whenever one changes; a blocking sink.

    It needs no state beside its file: what it has seen already changes nothing.

    Args:
        path: Template of the file.
    """

    kinds: ClassVar[frozenset[str] | None] = frozenset(("metrics",))

    def __init__(self, path: str) -> None:
        self._template = path
        self._run: Run | None = None
        self._values: dict[int, BestValues] = {}
        self._unsaved: set[int] = set()

    def open(self, run: Run) -> None:
        """Read what is there.

        Raises:
            OSError: The file cannot be read.
            SettingError: Its path leads out of the run directory.
        """
        self._run = run
        self._values.clear()
        self._unsaved.clear()
        self._of_rank(rank_of({"rank": run.rank}))

    def write_blocking(self, batch: Batch) -> None:
        """Look at the metrics of a batch and save what has become better.

        Raises:
            OSError: It cannot be saved; the next call tries it again.
        """
        for event in batch.events:
            if event.get("kind") != "metrics":
                continue
            rank = rank_of(event)
            if rank not in self._values and len(self._values) >= MAX_FILES:
                rank = 0
            if self._of_rank(rank).note_record(event):
                self._unsaved.add(rank)
        for rank in sorted(self._unsaved):
            write_atomically(self._path(rank), self._values[rank].as_json())
            self._unsaved.discard(rank)

    def _path(self, rank: int) -> Path:
        assert self._run is not None
        return expand(self._template, replace(self._run, rank=rank))

    def _of_rank(self, rank: int) -> BestValues:
        values = self._values.get(rank)
        if values is None:
            values = BestValues()
            path = self._path(rank)
            try:
                values.read_json(path.read_bytes())
            except FileNotFoundError:
                pass
            except ValueError as error:
                aside = path.with_name(f"{path.name}.unreadable")
                os.replace(path, aside)
                complain(f"{path} cannot be read ({error}): begun anew, the old one is {aside}")
            self._values[rank] = values
        return values
