"""Where the events of a run lie: its rotated sets of files, and its spool."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

from ..exceptions import AsynclogError
from ..intake.spool import Spool
from ..sinks.jsonl import DEFAULT_PATH
from ..sinks.template import matching_sets

_SETTINGS: Final = Path(".asynclog") / "run.json"
_FRONT: Final = b'{"timestamp":'


class NoRunError(AsynclogError, FileNotFoundError):
    """There is no run to read.

    Args:
        run: What was given.
        problem: What is missing, worded to follow it.
        hint: What to do about it, a whole sentence without its full stop.
    """

    def __init__(self, run: object, problem: str, hint: str) -> None:
        super().__init__(f"{run} {problem}. {hint}.")


class RunFiles:
    """Where the events of a run lie.

    Args:
        run: Run directory, or one JSONL file with its rotated parts.
        spool_dir: Place of the spools when the run had one of its own; ``ASYNCLOG_SPOOL_DIR`` or
            shared memory by default.

    Attributes:
        path: Absolute path of what was given.
        spool: Where the rings of the run lie, None of a single file.
    """

    def __init__(self, run: str | os.PathLike[str], spool_dir: Path | None = None) -> None:
        self.path: Path = Path(os.path.abspath(run))
        if spool_dir is None and os.environ.get("ASYNCLOG_SPOOL_DIR"):
            spool_dir = Path(os.environ["ASYNCLOG_SPOOL_DIR"])
        self._single = self.path.is_file()
        self.spool: Spool | None = None if self._single else Spool(self.path, spool_dir)
        self._template: str | None = None

    def find(self) -> dict[Path, int | None]:
        """Return the rotated sets that are there now, each with the rank that its name tells.

        Raises:
            NoRunError: The directory holds several files of events, and nothing says which of
                them has every event.
        """
        if self._single:
            return {self.path: None}
        if self._template is None:
            self._template = self._told() or self._guessed()
        return matching_sets(self._template or DEFAULT_PATH, self.path)

    def check(self) -> None:
        """See that there is anything to read.

        Raises:
            NoRunError: There is not.
            SpoolError: The spool of the run is not safe to read.
        """
        if self.find() or (self.spool is not None and self.spool.exists()):
            return
        if self.path.is_dir():
            problem = f"holds no {DEFAULT_PATH}, and no process has left anything for it"
            raise NoRunError(self.path, problem, "Give the run directory, or a file of events")
        raise NoRunError(self.path, "does not exist", "Give a run directory, or a file of events")

    def _told(self) -> str | None:
        """Return the path template that the run has stored, if it has."""
        assert self.spool is not None
        settings = self.spool.read_settings() or {}
        sinks: object = settings.get("sinks")
        declared: object = (
            cast("list[object]", sinks)[0] if isinstance(sinks, list) and sinks else None
        )
        if declared is None:
            try:
                declared = json.loads((self.path / _SETTINGS).read_bytes())["durable"]
            except (OSError, ValueError, KeyError, TypeError):
                return None
        if not isinstance(declared, Mapping):
            return None
        path = cast("Mapping[str, Any]", declared).get("path")
        return path if isinstance(path, str) else None

    def _guessed(self) -> str | None:
        """Return the one name in the directory that stands for files of events.

        Raises:
            NoRunError: There are several.
        """
        if matching_sets(DEFAULT_PATH, self.path):
            return DEFAULT_PATH
        names = {path.name for path in self.path.glob("*.jsonl") if _holds_events(path)}
        names -= {path.name for name in names for path in self._others(name)}
        if len(names) > 1:
            problem = f"holds several files of events ({', '.join(sorted(names))})"
            raise NoRunError(self.path, problem, "Give one of the files instead")
        return names.pop() if names else None

    def _others(self, name: str) -> set[Path]:
        """Return the files of other ranks that belong to a name."""
        return {*matching_sets(name.replace("{", "{{").replace("}", "}}"), self.path)} - {
            self.path / name
        }


def _holds_events(path: Path) -> bool:
    if path.name.startswith("metrics"):
        return False
    try:
        with open(path, "rb") as file:
            return file.read(len(_FRONT)) == _FRONT
    except OSError:
        return False
