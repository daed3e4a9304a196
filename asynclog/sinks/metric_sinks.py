"""Sinks that append to files by rank, of metrics mostly: what they make of a batch."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, Final, cast

from ..typing import Batch, Run
from .escape import escape
from .ranked import RankFiles, rank_of
from .select import kind_of, parse

HEADER: Final = b"step,split,name,value,wall_time\n"
_QUOTED: Final = frozenset('",')


class RankedSink:
    """Appends what a subclass makes of a batch to one file for each rank; a blocking sink.

    Args:
        path: Template of the files.
        header: First line of each, with its end.
    """

    kinds: ClassVar[frozenset[str] | None] = None

    def __init__(self, path: str, header: bytes = b"") -> None:
        self._files = RankFiles(path, header)

    def open(self, run: Run) -> None:
        """Make the file of the run's own rank.

        Raises:
            OSError: It cannot be written.
            SettingError: Its path leads out of the run directory.
        """
        self._files.open(run)

    def restore(self, state: Mapping[str, Any] | None) -> None:
        """Bring the files to what they were when the state was taken."""
        self._files.restore(state)

    def state(self) -> dict[str, Any]:
        """Return what :meth:`restore` needs."""
        return self._files.state()

    def write_blocking(self, batch: Batch) -> None:
        """Append what there is in a batch, all of it or nothing.

        Raises:
            OSError: It cannot be written.
        """
        self._files.append(self._content(batch))

    def _content(self, batch: Batch) -> dict[int, bytes]:
        """Return whole lines by rank."""
        raise NotImplementedError


class MetricsCsvSink(RankedSink):
    """Appends a row for each value."""

    kinds: ClassVar[frozenset[str] | None] = frozenset(("metrics",))

    def __init__(self, path: str) -> None:
        super().__init__(path, HEADER)

    def _content(self, batch: Batch) -> dict[int, bytes]:
        rows: dict[int, list[str]] = {}
        for event in batch.events:
            if event.get("kind") == "metrics":
                rows.setdefault(rank_of(event), []).extend(rows_of(event))
        return {rank: "".join(found).encode() for rank, found in rows.items() if found}


class MetricsJsonlSink(RankedSink):
    """Appends the lines as they are."""

    kinds: ClassVar[frozenset[str] | None] = frozenset(("metrics", "hparams"))

    def _content(self, batch: Batch) -> dict[int, bytes]:
        lines: dict[int, list[bytes]] = {}
        for line in batch.lines:
            if kind_of(line) in ("metrics", "hparams"):
                lines.setdefault(rank_of(parse(line)), []).append(line)
        return {rank: b"\n".join([*found, b""]) for rank, found in lines.items()}


class PerRankSink(RankedSink):
    """Appends all lines as they are."""

    def _content(self, batch: Batch) -> dict[int, bytes]:
        lines: dict[int, list[bytes]] = {}
        for line in batch.lines:
            rank = rank_of(parse(line)) if b'"rank":' in line else 0
            lines.setdefault(rank, []).append(line)
        return {rank: b"\n".join([*found, b""]) for rank, found in lines.items()}


def rows_of(event: Mapping[str, Any]) -> list[str]:
    """Return the rows of one record of metrics, each with its line end."""
    metrics: object = event.get("metrics")
    if not isinstance(metrics, Mapping):
        return []
    front = f"{_field(event.get('step'))},{_field(event.get('split'))},"
    end = f",{_wall_time(event.get('timestamp'))}\n"
    return [
        f"{front}{_field(name)},{_field(value)}{end}"
        for name, value in cast("Mapping[str, object]", metrics).items()
    ]


def _field(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, (int, float)):
        return repr(value)
    text = escape(str(value))
    # RFC 4180, section 2, rules 5 to 7
    if _QUOTED.isdisjoint(text) and text.strip() == text:
        return text
    return '"' + text.replace('"', '""') + '"'


def _wall_time(timestamp: object) -> str:
    try:
        time = datetime.fromisoformat(cast("str", timestamp))
    except (TypeError, ValueError):
        return ""
    return f"{(time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp():.6f}"
