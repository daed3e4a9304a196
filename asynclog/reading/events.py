"""A run's events: all of them as one stream in order, or the last ones and what comes then."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Unpack

from ..sinks.journal import DEFAULT_PIECE
from .files import SLACK, Pieces, place_before, with_slack
from .find import RunFiles
from .follow import Tail
from .lines import LAST, Line, split
from .order import WINDOW, in_order
from .query import Counts, Filters, Query
from .snapshot import take

SMALLEST_PIECE: Final = 16 * 1024
MOST_OPEN: Final = 128
"""Files that are kept open at a time; of more, each is opened again for every piece."""


class Events:
    """The events of one run that were asked for; made by :func:`read_run`.

    Iterating yields them in the order of their times. Each iteration looks at the run anew, and
    yields what was logged up to its beginning, whether a process is still at it or not.

    Attributes:
        run: Absolute path of the run directory, or of the file.
        counts: What the last reading has come across, as far as it has got.
    """

    def __init__(self, files: RunFiles, filters: Filters) -> None:
        self._files = files
        self._query = Query(filters)
        self.run: Path = files.path
        self.counts: Counts = Counts()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the events; a dict each, which is the caller's own.

        Raises:
            OSError: A file cannot be read.
            SpoolError: The run's spool is not safe to read.
        """
        counts = self.counts = Counts()
        query = self._query
        snapshot = take(self._files)
        sets = max(1, len(snapshot.files))
        size = min(DEFAULT_PIECE, max(SMALLEST_PIECE, WINDOW // (4 * sets)))
        sources = [
            self._source(
                Pieces(
                    path,
                    place_before(path, with_slack(query.since, -SLACK)),
                    snapshot.ends.get(path),
                    size,
                    keep_open=sets <= MOST_OPEN,
                ),
                rank,
                counts,
            )
            for path, rank in snapshot.files.items()
        ]
        sources.append(iter([snapshot.lines()]))
        for line in in_order(sources, counts, max(WINDOW, 4 * sets * size)):
            event = query.select(line, counts)
            if event is not None:
                yield event

    def _source(self, pieces: Pieces, rank: int | None, counts: Counts) -> Iterator[list[Line]]:
        query = self._query
        enough = LAST if query.until == LAST else with_slack(query.until, SLACK)
        before = b""
        try:
            for raw in pieces:
                if not query.may_hold(raw):
                    # nobody has to wait for what is not in here
                    continue
                lines = split(raw, rank, before)
                yield lines
                before = lines[-1][0]
                if min(line[0] for line in lines) >= enough:
                    break
        finally:
            counts.gaps += pieces.gaps

    def last(self, count: int) -> list[dict[str, Any]]:
        """Return the last events, in the order of their times; reads the files from their ends.

        Args:
            count: How many at most.

        Raises:
            OSError: A file cannot be read.
            SpoolError: The run's spool is not safe to read.
        """
        with self.tail(count) as tail:
            return tail.last

    def tail(self, count: int = 10) -> Tail:
        """Return the last events, and what gives those that come after them.

        Args:
            count: How many events before those that come.

        Raises:
            OSError: A file cannot be read.
            SpoolError: The run's spool is not safe to read.
        """
        self.counts = Counts()
        return Tail(self._files, self._query, self.counts, count)

    def to_arrow(self) -> Any:
        """Return the events as a ``pyarrow.Table``, a column for each field.

        Raises:
            MissingExtraError: pyarrow is not installed.
        """
        from .frames import to_arrow

        return to_arrow(self)

    def to_pandas(self) -> Any:
        """Return the events as a ``pandas.DataFrame``, a column for each field.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        from .frames import to_pandas

        return to_pandas(self)

    def to_polars(self) -> Any:
        """Return the events as a ``polars.DataFrame``, a column for each field.

        Raises:
            MissingExtraError: polars is not installed.
        """
        from .frames import to_polars

        return to_polars(self)


def read_run(
    run: str | os.PathLike[str] = "logs",
    *,
    spool_dir: str | os.PathLike[str] | None = None,
    **filters: Unpack[Filters],
) -> Events:
    """Return the events of a run, to be iterated over.

    They are those in the files of all ranks, rotated and compressed ones included, and those that
    processes, living or dead, have in their rings. Nothing is changed, and any number may read
    while the run goes on. Lines that are torn, or no records, are counted and left out. Events of
    ExpMate get the names that they have here.

    Args:
        run: Run directory, or one JSONL file with its rotated parts.
        spool_dir: Place of the spools when the run had one of its own; ``ASYNCLOG_SPOOL_DIR`` or
            shared memory by default.
        **filters: What is wanted, see :class:`~asynclog.reading.Filters`.

    Raises:
        NoRunError: There is no run, or no telling which of its files holds its events.
        SettingError: A filter breaks its rule.
        SpoolError: The run's spool is not safe to read.
    """
    files = RunFiles(run, None if spool_dir is None else Path(spool_dir))
    files.check()
    return Events(files, filters)
