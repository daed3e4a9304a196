"""What one sink has yet to get of the durable files: reads on from a cursor that it saves.

The durable files are the queue, and the cursor in the run directory says how far a sink has come:
a backend that was away, slow, or killed with its collector gets the rest later.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Any, Final, Protocol

from .._complain import complain
from ..sinks.journal import Journal, Place
from ..sinks.rotation import Position, make_directories
from ..sinks.span import Span
from .batch import Batch

CURSORS: Final = Path(".asynclog") / "cursors"
"""Where in the run directory the cursors lie."""
MOST_LEFT: Final = 64 << 20
"""Bytes that are looked at to count what a sink has not got: 0.1 s."""
_TIMESTAMP: Final = slice(14, 40)
_KIND: Final = rb'^\{"timestamp":"[^"\n]*","kind":"(?:%b)".*\n'


class Followed(Protocol):
    """A file that lines are written to."""

    path: Path

    def written(self) -> Position:
        """Return how far it holds whole lines."""
        ...


class Trail:
    """Reads lines for one sink; used by one thread at a time.

    Args:
        run_dir: The run directory.
        name: Names the cursor, e.g. the sink's name.
        kinds: Kinds of records that the sink takes, None for all lines.
        written: Files that are written now; asked again and again, because they become more.
        existing: Files that are there already, written now or not.

    Attributes:
        kinds: The kinds, None for all lines.
    """

    def __init__(
        self,
        run_dir: Path,
        name: str,
        kinds: Iterable[str] | None,
        *,
        written: Callable[[], Sequence[Followed]] = tuple,
        existing: Iterable[Path] = (),
    ) -> None:
        self._run_dir = run_dir
        self._cursor = run_dir / CURSORS / f"{name}.json"
        self._name = name
        self.kinds: frozenset[str] | None = None if kinds is None else frozenset(kinds)
        self._wanted = _filter(self.kinds)
        self._written = written
        self._existing = list(existing)
        self._journals: dict[Path, Journal] = {}
        self._batch: Batch | None = None
        self._saved: dict[str, Place] = {}
        # of the line that was read last
        self._times: dict[Path, bytes] = {}

    def begun(self) -> bool:
        """Say whether a sink has ever read here."""
        return self._cursor.exists()

    def open(self, *, from_start: bool = False) -> dict[str, Any] | None:
        """Load the cursor; without one, begin behind what is there already.

        Args:
            from_start: Forget the cursor and begin with the oldest line there is.

        Returns:
            The state that was saved with it, None without one.

        Raises:
            OSError: A file cannot be read.
        """
        saved = None if from_start else self._load()
        if saved is None:
            for path in self._existing:
                journal = self._journal(path)
                if not from_start:
                    journal.to_end()
            return None
        self._saved = saved["places"]
        # a file that came while no collector of ours lived is read as well
        for path in {*self._existing, *map(self._run_dir.joinpath, self._saved)}:
            self._journal(path)
        return saved["state"]

    def take(self) -> Batch | None:
        """Return the next lines for the sink, the same ones until :meth:`commit`; None: no more.

        Raises:
            OSError: A file cannot be read; nothing is lost by it.
        """
        if self._batch is None:
            for file in self._written():
                if file.path not in self._journals:
                    self._journal(file.path)
            # what was written at the same time is handed over about the same time
            journals = sorted(
                self._journals.items(), key=lambda item: self._times.get(item[0], b"")
            )
            for path, journal in journals:
                while self._batch is None and (lines := journal.read()):
                    self._times[path] = lines[lines.rfind(b"\n", 0, -1) + 1 :][_TIMESTAMP]
                    if wanted := self._wanted(lines):
                        self._batch = Batch(wanted, self._span(path, journal, lines, wanted))
                self._tell_gaps(journal)
        return self._batch

    def advance(self) -> None:
        """Have :meth:`take` go on, and save nothing: after a kill the same lines come again."""
        self._batch = None

    def commit(self, state: dict[str, Any] | None = None) -> None:
        """Save that the sink has the lines that were taken last.

        Args:
            state: What to save with it.

        Raises:
            OSError: The cursor cannot be saved; the lines will be taken again after a restart.
        """
        self.advance()
        places = {self._key(path): journal.place for path, journal in self._journals.items()}
        self._saved = self._saved | places
        data = {"version": 1, "places": self._saved, "state": state}
        make_directories(self._cursor.parent)
        temporary = self._cursor.with_suffix(".tmp")
        descriptor = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
        with os.fdopen(descriptor, "w") as file:
            json.dump(data, file)
        os.replace(temporary, self._cursor)

    def close(self) -> None:
        """Close the files; what was taken and not committed is taken again after the next open."""
        for journal in self._journals.values():
            journal.close()
        self._journals.clear()

    def left(self, most: int = MOST_LEFT) -> int:
        """Count the lines behind the cursor; may be called while another thread hangs in here.

        Args:
            most: Bytes to look at; lines behind them are not counted.
        """
        count = 0
        paths = [*self._existing, *(file.path for file in self._written())]
        for path in {*self._saved, *map(self._key, paths)}:
            journal = Journal(self._run_dir / path, self._saved.get(path, Place()))
            try:
                while most > 0 and (lines := journal.read()):
                    most -= len(lines)
                    count += self._wanted(lines).count(b"\n")
            except OSError:
                continue
            finally:
                journal.close()
        return count

    def _span(self, path: Path, journal: Journal, lines: bytes, wanted: bytes) -> Span | None:
        if len(wanted) < len(lines):
            return None
        mark, end = journal.place
        return Span(self._key(path), mark, end - len(lines))

    def _key(self, path: Path) -> str:
        return os.path.relpath(path, self._run_dir)

    def _journal(self, path: Path) -> Journal:
        place = self._saved.get(self._key(path), Place())
        journal = self._journals[path] = Journal(path, place, partial(self._position, path))
        return journal

    def _position(self, path: Path) -> Position:
        for file in self._written():
            if file.path == path:
                return file.written()
        return Position(0, 0, 0)

    def _load(self) -> dict[str, Any] | None:
        try:
            data = json.loads(self._cursor.read_text())
            if data["version"] == 1 and isinstance(data["state"], (dict, NoneType)):
                return data | {"places": _places(data["places"])}
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass
        complain(f"sink {self._name}: its cursor {self._cursor} cannot be read and is not used")
        return None

    def _tell_gaps(self, journal: Journal) -> None:
        if journal.gaps:
            journal.gaps = 0
            complain(
                f"sink {self._name}: lines were rotated away before it had taken them; "
                "give the JsonlFile more backups",
                kind=f"gap {self._name}",
            )


def _places(data: Any) -> dict[str, Place]:
    """Return places by path, all of them inside the run directory.

    Raises:
        ValueError: They are not, or are no places.
    """
    places = {path: Place(*place) for path, place in data.items()}
    for path, place in places.items():
        inside = not os.path.isabs(path) and ".." not in Path(path).parts
        if not inside or type(place.mark) is not str or type(place.offset) is not int:
            raise ValueError(f"no place in the run directory: {path}")
    return places


def _filter(kinds: Iterable[str] | None) -> Callable[[bytes], bytes]:
    """Return what picks the lines of some kinds out of whole lines, by their first bytes."""
    if kinds is None:
        return bytes
    names = b"|".join(re.escape(kind).encode() for kind in sorted(kinds))
    find = re.compile(_KIND % names, re.MULTILINE).findall
    return lambda lines: b"".join(find(lines))
