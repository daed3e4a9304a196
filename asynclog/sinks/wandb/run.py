"""A run of W&B as a sink uses it: taken up, its rows counted and confirmed, let go.

W&B numbers the rows of a run. So are they counted here, from the run's beginning: that is how it is
known, after a kill, which of the rows that come again W&B has.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

from ..._complain import complain
from ...typing import Run
from ..backend import import_backend, plain
from ..media import is_media_path
from . import Wandb
from .log import Row, TransactionLog, rows

INIT_TIMEOUT: Final = 30.0
"""Seconds W&B's server has to take the run, before it is tried anew: ``WANDB_INIT_TIMEOUT``."""
FINISH_TIMEOUT: Final = 600.0
"""Seconds that W&B goes on uploading behind a run that has ended: ``WANDB_FINISH_TIMEOUT``.

What it has not got then stays in the run directory."""
LOG_INTERVAL: Final = 0.1
"""Seconds until W&B has written what it got: a killed collector takes along what it has not."""
LOG_PATIENCE: Final = 0.5
"""Seconds to wait for that; what is not written by then is kept, and given again after a kill."""

_OWN: Final = ("_step", "_runtime")
_OFFLINE: Final = ("offline", "dryrun")
_SETTINGS: Final[Mapping[str, Any]] = {
    "console": "off",
    "x_disable_stats": True,
    "silent": True,
    "init_timeout": INIT_TIMEOUT,
    "finish_timeout": FINISH_TIMEOUT,
    "x_transaction_log_flush_interval": LOG_INTERVAL,
    "x_history_value_encoding": "json",
}

# Runs of this process that are ours: W&B's own process goes with the last one.
_open_runs: set[int] = set()


class Mark(NamedTuple):
    """Which record of W&B's log something is.

    Attributes:
        kind: Its kind, as W&B calls it.
        number: The how many of its kind it is, from 1.
    """

    kind: str
    number: int


class WandbRun:
    """One run, connected to when there is something for it.

    Args:
        settings: What the user wants.
        where: The run of ours.
        run_id: W&B's identifier of it.
    """

    def __init__(self, settings: Wandb, where: Run, run_id: str) -> None:
        self.id = run_id
        self.offline: bool = mode(settings) in _OFFLINE
        self.known: bool = False
        """Whether W&B knows the run, as far as we know."""
        self.rows: int = 0
        """How many rows it has."""
        self.raw: Any = None
        """W&B's own object, None while it is not connected."""
        self._settings = settings
        self._where = where
        self._wandb: Any = None
        # of the rows that come next, those that W&B has already
        self._there = 0
        self._next: int | None = None
        self._log: TransactionLog | None = None
        self._flushes = False
        self._given: Counter[str] = Counter()
        self._connecting = False

    def open(self) -> Any:
        """Import W&B; return it.

        Raises:
            MissingExtraError: It is not installed.
        """
        if "wandb" not in sys.modules:
            _prepare(self._where.directory)
        self._wandb = import_backend("wandb", "wandb", "The sink Wandb")
        return self._wandb

    def connect(self) -> None:
        """Have W&B take the run up where it is, or make it.

        Raises:
            Exception: Whatever W&B raises.
        """
        wandb, wanted, directory = self._wandb, self._settings, self._where.directory
        known = wandb.Settings.model_fields
        settings = {
            name: value
            for name, value in _SETTINGS.items()
            if name in known and f"WANDB_{name.upper()}" not in os.environ
        }
        # before anything else, so that logging in is silent as well
        wandb.setup(wandb.Settings(silent=True))
        # Registered behind W&B's own, it comes before that, which would wait for ever.
        atexit.register(self._at_exit)
        self._connecting = True
        self.raw = wandb.init(
            project=wanted.project,
            entity=wanted.entity,
            name=wanted.run_name or self._where.name,
            group=wanted.group,
            tags=list(wanted.tags) or None,
            config=plain(wanted.config),
            dir=str(directory),
            mode="offline" if self.offline else "online",
            id=self.id,
            resume=None if self.offline else wanted.resume,
            reinit="create_new",
            allow_val_change=True,
            settings=wandb.Settings(**settings),
        )
        self._connecting = False
        _open_runs.add(id(self))
        parse = import_backend("wandb.proto.wandb_internal_pb2", "wandb", "").Record.FromString
        self._given.clear()
        self._log = TransactionLog(Path(self.raw.settings.sync_file), parse)
        # before 0.31, W&B writes when it has 32 KiB
        self._flushes = "x_transaction_log_flush_interval" in known
        self._take_up(rows(directory / "wandb", self.id, parse))

    def log_row(self, row: Mapping[str, Any], time: float) -> bool:
        """Log a row, unless W&B has it already; say whether it was logged.

        Args:
            row: Its values by name.
            time: When it was logged, seconds since 1970.
        """
        if self._there:
            self._there -= 1
            self.rows += 1
            return False
        # W&B's numbers go on where the run was; what users call step is a value of the row.
        first: dict[str, Any] = {} if self._next is None else {"step": self._next}
        self.raw.log({**row, "_timestamp": time}, **first, commit=True)
        self._next = None
        self.rows += 1
        return True

    def given(self, kind: str) -> Mark:
        """Note that W&B was given what makes a record of a kind in its log; return which one."""
        self._given[kind] += 1
        return Mark(kind, self._given[kind])

    def wait_written(self, last: Sequence[Mark]) -> None:
        """Look what W&B has written; wait a moment for what it was given last.

        Args:
            last: What to wait for.
        """
        assert self._log is not None
        deadline = time.monotonic() + (LOG_PATIENCE if self._flushes else 0.0)
        while True:
            self._log.read_on()
            if all(map(self.has_written, last)) or time.monotonic() >= deadline:
                return
            time.sleep(LOG_INTERVAL / 10)

    def has_written(self, mark: Mark) -> bool:
        """Say whether W&B had written something when it was last looked."""
        assert self._log is not None
        return self._log.found[mark.kind] >= mark.number

    def finish(self, exit_code: int) -> None:
        """End the run; returns when W&B has uploaded it."""
        if self.raw is not None:
            try:
                self.raw.finish(exit_code=exit_code)
            finally:
                self.forget()

    def forget(self) -> None:
        """Let go of the run; W&B's process ends with the last one, so that an id is free again."""
        _open_runs.discard(id(self))
        if self._alone():
            if self._connecting:
                # it may go on trying for an hour
                self._kill()
            try:
                self._wandb.teardown()
            except (Exception, SystemExit):
                # it has died
                pass
        atexit.unregister(self._at_exit)
        self._connecting = False
        self.raw = None

    def _at_exit(self) -> None:
        """See to it that W&B's process ends with ours, or after it has had time to upload."""
        patience = float(os.environ.get("WANDB_FINISH_TIMEOUT") or FINISH_TIMEOUT)
        deadline = time.monotonic() + (0.0 if self._connecting else patience)
        # The sink's thread goes on while the process ends.
        while self.raw is not None and time.monotonic() < deadline:
            time.sleep(LOG_INTERVAL)
        if self._connecting or self.raw is not None:
            _open_runs.discard(id(self))
            if self._alone():
                self._kill()

    def _kill(self) -> None:
        setup: Any = import_backend("wandb.sdk.wandb_setup", "wandb", "")
        service = getattr(getattr(setup.singleton(), "_connection", None), "_proc", None)
        for name in ("_process", "_internal_proc"):
            process = getattr(service, name, None)
            if process is not None:
                process.kill()

    def _alone(self) -> bool:
        """Say whether nobody else in this process uses W&B."""
        return not _open_runs and self._wandb.run is None

    def _take_up(self, logged: Iterable[Row]) -> None:
        """Find out where the run is, and where to go on."""
        if self.offline:
            there = max((row.number + 1 for row in logged), default=0)
        else:
            there = self.raw.step
            complain(f"sink {self._settings.name}: {self.raw.url}")
        if not self.known:
            self.known, self.rows = True, there
        self._there = max(0, there - self.rows)
        self._next = max(there, self.rows) or None
        if there < self.rows and not self.offline:
            self._catch_up(there, logged)

    def _catch_up(self, there: int, logged: Iterable[Row]) -> None:
        """Log once more what a collector that was killed had not uploaded."""
        missing = {row.number: row for row in logged if there <= row.number < self.rows}
        for number, row in sorted(missing.items()):
            values = {key: value for key, value in row.values().items() if key not in _OWN}
            for path in _media(values):
                copy = Path(self.raw.dir) / path
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(row.files / path, copy)
                self.raw.save(str(copy), base_path=self.raw.dir, policy="now")
            self.raw.log(values, step=number, commit=True)
            self.given("history")
        if (lost := self.rows - there - len(missing)) > 0:
            name = self._settings.name
            complain(f"sink {name}: W&B does not have {lost} rows of an earlier start")


def mode(settings: Wandb) -> str:
    """Return the mode that W&B is to be in."""
    return settings.mode or os.environ.get("WANDB_MODE") or "online"


def _media(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield the files that a row refers to, as paths below the files of its run."""
    for value in values.values():
        if isinstance(value, dict):
            path: object = cast("dict[str, Any]", value).get("path")
            if isinstance(path, str) and is_media_path(path):
                yield path


def _prepare(directory: Path) -> None:
    """Set what W&B reads from the environment when it is imported, in a process of our own."""
    # Its reports about its own errors make the end of a process without network wait 20 s.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    # Artifacts wait here for their upload, or for `wandb sync`.
    os.environ.setdefault("WANDB_DATA_DIR", str(directory / "wandb"))
    # The training's own W&B would be used, and end with it.
    os.environ.pop("WANDB_SERVICE", None)
