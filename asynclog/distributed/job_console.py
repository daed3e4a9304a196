"""What the launcher's console shows of a job: chosen ranks and levels, each line by its rank."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from .._levels import level_number
from .._origin import without_origin
from ..sinks.console import DEFAULT_MAX_RATE
from ..sinks.console_sink import Limiter
from ..sinks.escape import escape
from ..sinks.render import render
from ..sinks.select import parse
from ..sinks.terminal import Terminal
from ..typing import Batch, Run
from .collapse import WINDOW, Collapse
from .ranks import Ranks, spelled
from .screen import Screen

PLACE: Final = frozenset(("rank", "local_rank", "world_size", "host", "pid"))
"""Fields that the front of a line says in fewer words."""
OWN_LOGGER: Final = "asynclog.run"
"""Logger of the launcher's own words, which are always shown."""
NUMBERS: Final = {"stdout": 1, "stderr": 2}


class JobConsole:
    """Shows records on the launcher's standard streams; a blocking sink.

    Printed lines of a rank come out on the stream on which they were printed, all else on stderr.

    Args:
        screen: Where to.
        ranks: Which ranks; records without one are shown.
        level: The lowest level.
        max_rate: Lines a second.
    """

    name: ClassVar[str] = "console"

    def __init__(
        self,
        screen: Screen,
        ranks: Ranks,
        level: int,
        max_rate: int = DEFAULT_MAX_RATE,
    ) -> None:
        self._screen = screen
        self._ranks = ranks
        self._level = level
        self._limiter = Limiter(max_rate, time.monotonic)
        self._max_rate = max_rate
        self._colors = Terminal("stderr").colors()
        self._collapse = None if ranks.single else Collapse()
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def open(self, run: Run) -> None:
        """Start showing."""
        if self._collapse is not None:
            threading.Thread(target=self._show_due, name="asynclog-console", daemon=True).start()

    def write_blocking(self, batch: Batch) -> None:
        """Show a batch."""
        chosen = [line for line in batch.lines if self._chosen(parse(line))]
        admitted = self._limiter.admit(chosen)
        with self._lock:
            if admitted.missed:
                self._say(f"{admitted.missed} lines left out on the console here")
            for line in admitted.lines:
                self._take(parse(line))
            if admitted.begins:
                self._say(f"more than {self._max_rate} lines a second, the rest is in the files")
            self._show(time.monotonic())

    def flush(self) -> None:
        """Show what is held."""
        with self._lock:
            self._show(math.inf)
            missed = self._limiter.take_missed()
            if missed:
                self._say(f"{missed} lines left out on the console here")

    def close(self) -> None:
        """Show what is held, and end."""
        self._ended.set()
        self.flush()

    def _chosen(self, event: Mapping[str, Any]) -> bool:
        if event.get("logger") == OWN_LOGGER:
            return True
        if event.get("quiet") is True or event.get("rank") not in self._ranks:
            return False
        return level_number(event.get("level", "info")) >= self._level

    def _take(self, event: Mapping[str, Any]) -> None:
        if event.get("logger") == OWN_LOGGER:
            self._say(escape(str(event.get("event", ""))))
            return
        rank = event.get("rank")
        stream, text = self._text(event)
        if type(rank) is not int:
            self._show(math.inf)
            self._screen.show(stream, f"{text}\n")
        elif self._collapse is None:
            front = f"[{spelled([rank])}] "
            self._screen.show(stream, "".join(f"{front}{line}\n" for line in text.split("\n")))
        else:
            self._collapse.add(rank, stream, text, time.monotonic())

    def _text(self, event: Mapping[str, Any]) -> tuple[int, str]:
        if event.get("kind") == "output":
            return NUMBERS.get(event.get("stream", ""), 2), escape(str(event.get("event", "")))
        plain = without_origin(event)
        return 2, render({key: plain[key] for key in plain if key not in PLACE}, self._colors)

    def _show(self, now: float) -> None:
        if self._collapse is not None:
            for line in self._collapse.due(now):
                self._screen.show(line.stream, f"{line.text}\n")

    def _say(self, text: str) -> None:
        self._screen.show(2, f"asynclog: {text}\n")

    def _show_due(self) -> None:
        while not self._ended.wait(WINDOW / 2):
            with self._lock:
                self._show(time.monotonic())
