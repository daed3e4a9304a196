"""Console: readable lines for people who watch, at a rate they can be shown at."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple

from .._json import dumps
from .._levels import WARNING
from ..exceptions import SettingError
from ..typing import Batch, Run
from .escape import escape_json
from .file import check_flag, check_selection, selector
from .format import Format, check_format, formatter
from .render import render, render_line
from .select import QUIET, Filter, level_of, parse
from .terminal import STREAMS, StreamName, Terminal
from .traceback import STYLES, Tracebacks, has_traceback, render_pretty

DEFAULT_MAX_RATE: Final = 1000
"""Lines a second: more than anybody reads, and a terminal takes them without slowing others."""
WARNING_SHARE: Final = 0.2
"""Share of the rate that lines below warning must leave to those that matter more."""


@dataclass(frozen=True)
class Console:
    """Write events as readable, coloured lines to a standard stream.

    Levels have colours where the stream is a terminal; ``NO_COLOR``, ``FORCE_COLOR``,
    ``TTY_COMPATIBLE`` and ``TERM=dumb`` are honoured. Control characters are spelled out.
    Progress bars by tqdm and rich in the same process stay whole. Lines marked ``quiet`` are left
    out. A line costs 3 us.

    Args:
        stream: ``"stderr"`` or ``"stdout"``, looked up in ``sys`` at each write.
        level: Lowest level to show, None for all.
        filter: Function from an event to a bool that says whether the event is shown.
        format: Function from an event to its text, or a ``logging.Formatter``, instead of the
            usual line. It makes its own colours.
        json: Show the lines as they are, as JSON.
        colors: True or False settles what is otherwise asked of stream and environment.
        tracebacks: ``"short"`` shows the innermost frames of an exception, ``"full"`` all of
            them, ``"pretty"`` also code around each, if rich is installed (10 ms each).
        max_rate: Lines a second. More are left out, and how many is said; None for no limit.
    """

    stream: StreamName = "stderr"
    level: int | str | None = None
    filter: Filter | None = None
    format: Format | None = None
    json: bool = False
    colors: bool | None = None
    tracebacks: Tracebacks = "short"
    max_rate: int | None = DEFAULT_MAX_RATE
    name: ClassVar[str] = "console"

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            SettingError: One of them breaks its rule.
        """
        _check_choice(self.stream, STREAMS, "stream")
        check_selection(self.level, self.filter)
        check_format(self.format)
        check_flag(self.json, "json")
        if self.json and self.format is not None:
            raise SettingError("format", "must not be given together with json=True", self.format)
        if self.colors is not None:
            check_flag(self.colors, "colors")
        _check_choice(self.tracebacks, STYLES, "tracebacks")
        _check_rate(self.max_rate)

    def make(self) -> ConsoleSink:
        """Make the sink."""
        return ConsoleSink(self)


class ConsoleSink:
    """Writes batches to a standard stream; a blocking sink.

    Args:
        settings: What the user wants.
        clock: Monotonic seconds.
    """

    def __init__(self, settings: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._selector = selector(settings.level, settings.filter)
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
        style = self._settings.tracebacks
        if style == "pretty" and has_traceback(event):
            drawn = render_pretty(event, self._terminal.width(), colors)
            if drawn is not None:
                return f"{render_line(event, colors)}\n{drawn}"
        return render(event, colors, style)

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


def _holds_files(directory: Path | None) -> bool:
    """Say whether there is a file in the run directory to refer the reader to."""
    try:
        return directory is not None and any(
            not entry.name.startswith(".") and entry.is_file() for entry in os.scandir(directory)
        )
    except OSError:
        return False


def _check_choice(value: object, choices: tuple[str, ...], setting: str) -> None:
    if value not in choices:
        raise SettingError(
            setting, f"must be one of {', '.join(repr(choice) for choice in choices)}", value
        )


def _check_rate(value: object) -> None:
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise SettingError("max_rate", "must be a positive number of lines, or None", value)
