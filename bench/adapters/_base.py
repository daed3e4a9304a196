"""What a library has to offer to be measured."""

from __future__ import annotations

import importlib.util
import time
from abc import ABC
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

from bench import workload

Call: TypeAlias = Callable[[int], object]
"""Logs the workload's event once, as a user of the library would, with this running number."""


class Delay:
    """How long one write of the sink takes; set to 0 afterwards so that the rest can drain."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def wait(self) -> None:
        if self.seconds > 0:
            time.sleep(self.seconds)


class SlowFile:
    """A file each write of which takes as long as the delay says; releases the GIL like a disk."""

    def __init__(self, file: Any, delay: Delay) -> None:
        self._file = file
        self._delay = delay

    def write(self, data: Any) -> int:
        self._delay.wait()
        return self._file.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class Adapter(ABC):
    """One library, set up as its documentation says, writing JSON lines into a directory.

    Class attributes say what it is; ``start``, ``call``, ``filtered_call``, ``drain`` and ``stop``
    are what the scenarios use.
    """

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    about: ClassVar[str] = ""
    order: ClassVar[int] = 50
    reference: ClassVar[str] = "structlog-direct"
    modules: ClassVar[tuple[str, ...]] = ()
    """Imports without which the library is skipped."""
    distributions: ClassVar[tuple[str, ...]] = ()
    """Packages whose versions are written down."""
    imports: ClassVar[str] = ""
    """What the import scenario measures; empty: not measured."""
    logs: ClassVar[bool] = True
    """False for what only serves for comparison and writes nothing."""
    peer: ClassVar[bool] = True
    """Measured for comparison: in fewer rounds, and what goes wrong with it is reported and fails
    nothing."""
    awaited: ClassVar[bool] = False
    """Its calls are coroutine functions, awaited on an asyncio loop."""
    scenarios: ClassVar[frozenset[str] | None] = None
    """The only scenarios it takes part in; None: all."""
    skips: ClassVar[Mapping[str, str]] = {}
    """Scenarios that it cannot take part in, with the reason, which its row then shows."""
    expected: ClassVar[Mapping[str, Any]] = workload.EXPECTED

    @classmethod
    def missing(cls) -> list[str]:
        """Return the modules that are not installed."""
        return [name for name in cls.modules if not _is_installed(name)]

    def start(self, directory: Path, delay: Delay | None = None) -> None:
        """Set the library up, level INFO; with ``delay`` each write of its sink waits so long."""

    def call(self) -> Call:
        """Return the call to measure."""
        raise NotImplementedError

    def filtered_call(self) -> Call:
        """Return the same call at DEBUG, which the level filters out."""
        raise NotImplementedError

    def leave_thread(self) -> None:
        """Hand over what this thread has logged; called in the main thread, after its last call.

        ``drain`` and ``stop`` are called in another thread, which can be given up if they hang.
        """

    def drain(self) -> None:
        """Return when every event logged so far is in the file."""

    def stop(self) -> None:
        """Close everything."""

    def dropped(self) -> int:
        """Return how many events the library itself says it dropped; asked after ``stop``."""
        return 0

    def notes(self) -> dict[str, Any]:
        """Return what else the library says about the run, for the raw results."""
        return {}

    def files(self, directory: Path) -> list[Path]:
        """Return the files that hold the events."""
        return sorted(directory.glob("*.jsonl*"))

    def fields(self, record: dict[str, Any]) -> Mapping[str, Any] | None:
        """Return the event of a parsed line under the workload's names; None: no log event."""
        return record


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
