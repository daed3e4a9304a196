"""The console's sink: which lines are shown, and what is said of those that are not."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from .._json import dumps
from .._levels import WARNING
from .._origin import without_origin
from ..typing import Batch, Run
from .console import Console
from .escape import escape_json
from .format import formatter
from .ranked import rank_of
from .render import render, render_line
from .select import QUIET, Selector, level_of, parse
from .terminal import Terminal
from .traceback import has_traceback, render_pretty

RANK_FIELD: Final = "rank"
RANK: Final = b'"rank":'
RANK_FIELDS: Final = ("rank", "local_rank", "world_size", "host", "pid")
"""What the records of a distributed job say of their process."""
WARNING_SHARE: Final = 0.2
"""Share of the rate that lines below warning must leave to those that matter more."""


class ConsoleSink:
    """Writes batches to a standard stream; a blocking sink.

    Args:
        settings: What the user wants.
        clock: Monotonic seconds.
    """

    def __init__(self, settings: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._selector = Selector.of(settings.level, settings.filter)
        self._terminal = Terminal(settings.stream, settings.colors)
        self._limiter = Limiter(settings.max_rate, clock) if settings.max_rate else None
        self._directory: Path | None = None
        self._format = (
            formatter(settings.format, settings.tracebacks) if settings.format is not None else None
        )

    def open(self, run: Run) -> None:
        """Note where the files are."""
        self._directory = run.directory

    def write_blocking(self, batch: Batch) -> None:
        """Show a batch.

        Raises:
            OSError: It cannot be shown. If there is nobody left to see it, this is said once.
        """
        lines = self._selector.lines(batch)
        if QUIET in batch.raw:
            lines = [line for line in lines if not _is_quiet(line)]
        if self._settings.ranks == "zero" and RANK in batch.raw:
            lines = [line for line in lines if not _is_of_other_rank(line)]
        if self._limiter is None:
            texts = self._texts(lines)
        else:
            admitted = self._limiter.admit(lines)
            texts = self._texts(admitted.lines)
            if admitted.missed:
                texts.insert(0, self._note(admitted.missed))
            if admitted.begins:
                texts.append(self._note(None))
        if texts:
            self._terminal.write("\n".join([*texts, ""]))

    def flush(self) -> None:
        """Say what has been left out."""
        missed = self._limiter.take_missed() if self._limiter is not None else 0
        if missed:
            self._terminal.write(f"{self._note(missed)}\n")

    close = flush

    def _texts(self, lines: list[bytes]) -> list[str]:
        if self._settings.json:
            return [escape_json(line).decode(errors="backslashreplace") for line in lines]
        if self._format is not None:
            return [self._format(parse(line)) for line in lines]
        colors = self._terminal.colors()
        return [self._text(parse(line), colors) for line in lines]

    def _text(self, event: Mapping[str, Any], colors: bool) -> str:
        if not self._settings.origin:
            event = without_origin(event)
        if RANK_FIELD in event:
            event = self._of_rank(event)
        style = self._settings.tracebacks
        if style == "pretty" and has_traceback(event):
            drawn = render_pretty(event, self._terminal.width(), colors)
            if drawn is not None:
                return f"{render_line(event, colors)}\n{drawn}"
        return render(event, colors, style)

    def _of_rank(self, event: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return an event of a distributed job as it is shown."""
        shown = dict(event)
        if not self._settings.origin:
            for name in RANK_FIELDS:
                shown.pop(name, None)
        if self._settings.ranks == "all":
            shown["event"] = f"[rank {rank_of(event)}] {event.get('event', '')}"
        return shown

    def _note(self, missed: int | None) -> str:
        """Return what is said of lines left out: that it begins (None), or how many they were."""
        rate = f"console: more than {self._settings.max_rate} lines a second"
        if missed is None:
            text = f"{rate}, leaving out the rest"
        else:
            text = f"{rate}, {missed} lines left out here"
        event: dict[str, Any] = {
            "timestamp": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
            "kind": "note",
            "level": "warning",
            "event": text,
            "logger": "asynclog",
        }
        if missed is not None:
            event["left_out"] = missed
        if _holds_files(self._directory):
            event["files"] = str(self._directory)
        if self._settings.json:
            return dumps(event).decode()
        return render_line(event, self._terminal.colors())


class Admitted(NamedTuple):
    """What a limiter lets through.

    Attributes:
        lines: The lines to show.
        missed: How many were left out since this was last said, if it is time to say so.
        begins: Whether lines begin to be left out, after a second in which none were.
    """

    lines: list[bytes]
    missed: int
    begins: bool


class Limiter:
    """Lets through so many lines a second; the last part of them is for warnings and above.

    Args:
        rate: Lines a second.
        clock: Monotonic seconds.
    """

    def __init__(self, rate: int, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._low_rate = rate - int(rate * WARNING_SHARE)
        self._clock = clock
        self._second_ends = 0.0
        self._used = 0
        self._missed = 0

    def admit(self, lines: list[bytes]) -> Admitted:
        """Say which lines may be shown now."""
        now = self._clock()
        missed = 0
        if now >= self._second_ends:
            self._second_ends = now + 1.0
            self._used = 0
            missed = self.take_missed()
        if self._used + len(lines) <= self._low_rate:
            self._used += len(lines)
            return Admitted(lines, missed, begins=False)
        missed_before = self._missed
        shown: list[bytes] = []
        for line in lines:
            if self._used < self._low_rate or (
                self._used < self._rate and level_of(line) >= WARNING
            ):
                self._used += 1
                shown.append(line)
        self._missed += len(lines) - len(shown)
        begins = self._missed > 0 and not missed_before and not missed
        return Admitted(shown, missed, begins)

    def take_missed(self) -> int:
        """Return how many lines were left out since this was last asked."""
        missed, self._missed = self._missed, 0
        return missed


def _is_quiet(line: bytes) -> bool:
    # the same bytes may stand in a nested field
    return QUIET in line and parse(line).get("quiet") is True


def _is_of_other_rank(line: bytes) -> bool:
    return RANK in line and rank_of(parse(line)) != 0


def _holds_files(directory: Path | None) -> bool:
    """Say whether there is a file in the run directory to refer the reader to."""
    if directory is None:
        return False
    try:
        with os.scandir(directory) as entries:
            return any(not entry.name.startswith(".") and entry.is_file() for entry in entries)
    except OSError:
        return False
