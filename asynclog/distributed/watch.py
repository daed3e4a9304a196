"""Watch: one run, and what watches over the processes that log and print into it."""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

from .._complain import complain
from .._invitation import Invitation
from .._levels import INFO, parse_level
from .._line.encoder import Kind
from .._settings import AnySink
from ..collector.stats import Report
from ..intake.spool import Spool
from ..pipeline import Pipeline
from ..sinks import JsonlFile
from ..sinks.backend import DIED
from ..typing import SinkDeclaration
from .crash import CrashReport, cause
from .deaths import Death, Deaths
from .inject.sitecustomize import OUTPUT
from .job_console import OWN_LOGGER, JobConsole
from .node_loggers import AUTO, NodeLoggers, factory_of, made_by
from .printed import Printer
from .ranks import Ranks
from .reader import OutputReader, listen
from .screen import Screen
from .understudy import Left, Stream, Understudy

PATIENCE_WITH_OUTPUT: Final = 5.0
"""Seconds to wait for processes that go on printing when the command has ended."""
PATIENCE_WITH_DISK: Final = "10 s"
"""How long what is printed waits for room before it is dropped, and counted: those who print are
held up meanwhile, as by any pipe."""
STOP_TIMEOUT: Final = 15.0
EARLY_TIMEOUT: Final = 1.0
"""Seconds that the first report of a failed rank waits for records."""
NOTE: Final = Kind("note")
NOTHING: Final = sys.maxsize
"""Above all levels."""
INJECTED: Final = Path(__file__).parent / "inject"
LONGEST_ADDRESS: Final = 100
"""Bytes of a socket's path, from unix(7)."""


class Watch:
    """Collects what a job's processes log and print, and notes how they end.

    Args:
        command: What runs the job, for the report.
        run_dir: Directory of the run.
        level: Level of all loggers below.
        console_level: Lowest level that the console shows; ``"none"`` for nothing of the job.
        ranks: Which ranks the console shows: ``"0"``, ``"all"``, ``"0,3-5"``.
        handlers: Handlers of `logging` that get all records: ``"auto"``, ``"none"`` or
            ``"module:function"``.
        sinks: What else gets all records.

    Attributes:
        pid: The process that runs the job.

    Raises:
        SettingError: A setting breaks its rule.
    """

    def __init__(
        self,
        command: Sequence[str],
        run_dir: str | os.PathLike[str] | None,
        level: int | str | None,
        console_level: int | str,
        ranks: str,
        handlers: str = AUTO,
        sinks: Sequence[SinkDeclaration] = (),
    ) -> None:
        self._level = (
            NOTHING if console_level == "none" else parse_level(console_level, "console_level")
        )
        chosen = Ranks.read(ranks)
        self._handlers = factory_of(handlers, level)
        options: dict[str, Any] = {} if level is None else {"level": level}
        self.pid: int = os.getpid()
        self._command = command
        self._screen = Screen()
        self._pipeline = Pipeline()
        self._configure = partial(
            self._pipeline.configure,
            run_dir,
            collector="thread",
            overflow_timeout=PATIENCE_WITH_DISK,
            **options,
        )
        self._sinks: list[AnySink] = [
            JsonlFile(),
            JobConsole(self._screen, chosen, self._level),
            *sinks,
        ]
        self._configure(sinks=self._sinks)
        self._loggers: NodeLoggers | None = None
        self._noted: SimpleQueue[Death | None] = SimpleQueue()
        self._deaths = Deaths(self._noted.put)
        self._reader: OutputReader | None = None
        self._invited: dict[str, str] = {}
        self._reporting = threading.Lock()
        self._early = False
        self._ended = False
        self._notes = threading.Thread(target=self._note_all, name="asynclog-crash", daemon=True)

    def start(
        self, pipes: Sequence[int], inodes: Iterable[int], understudy: Understudy | None = None
    ) -> None:
        """Start collecting.

        Args:
            pipes: Reading ends of the command's own standard output and error, or none.
            inodes: Of the streams whose lines are ours to take.
            understudy: Goes on in our place when we are killed, if there is one.

        Raises:
            SettingError: The run directory cannot be written, or there are no such handlers.
        """
        invitation = self._start_pipeline()
        replace(invitation, launcher=True).publish(self._invited)
        address = _address(invitation)
        self._invited[OUTPUT] = f"{','.join(map(str, inodes))}:{address}"
        streams = [Stream(pipe, number, 0, "") for number, pipe in enumerate(pipes, 1)]
        self._read(listen(address), address, streams, understudy)

    def take_over(self, left: Left) -> None:
        """Go on with what a launcher has left behind.

        Raises:
            SettingError: The run directory cannot be written any more.
        """
        self.pid = left.command
        self._start_pipeline()
        self._read(left.socket, left.address, left.streams, None)

    def _start_pipeline(self) -> Invitation:
        self._hand_to(made_by(self._handlers))
        self._pipeline.start_sync()
        invitation = self._pipeline.invitation()
        assert invitation is not None
        return invitation

    def _read(
        self,
        listener: socket.socket,
        address: Path,
        streams: Sequence[Stream],
        understudy: Understudy | None,
    ) -> None:
        self._reader = OutputReader(
            listener,
            address,
            self._pipeline.get_logger("output"),
            self._screen,
            self._shows,
            self._deaths,
            understudy,
        )
        for stream in streams:
            self._reader.add(stream)
        self._notes.start()
        self._deaths.start()
        self._reader.start()

    def environment(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return variables with those that let a process find the run."""
        others = environment.get("PYTHONPATH")
        path = f"{INJECTED}{os.pathsep}{others}" if others else str(INJECTED)
        return {**environment, **self._invited, "PYTHONPATH": path}

    def finish(self, interrupted: Callable[[], bool] = lambda: False) -> Report:
        """Take what is left, and end.

        Args:
            interrupted: Says whether to wait no longer for processes that live on.
        """
        reader = self._reader
        if reader is not None:
            waited = 0.0
            while not reader.finish(0.1) and waited < PATIENCE_WITH_OUTPUT and not interrupted():
                waited += 0.1
            if reader.open_streams:
                complain(f"{reader.open_streams} streams are still open: processes live on")
            reader.abandon()
            self._deaths.finish()
            self._noted.put(None)
            self._notes.join(EARLY_TIMEOUT)
        report = self._pipeline.stop_sync(STOP_TIMEOUT)
        if self._loggers is not None:
            self._loggers.leave()
        if report.dropped:
            complain(f"lost: {', '.join(f'{n} ({why})' for why, n in report.dropped.items())}")
        for name, sink in report.sinks.items():
            unsent = sink.dropped.get("unsent")
            if unsent and name == NodeLoggers.name:
                complain(f"handlers of logging have not got {unsent} records: see the files")
            elif unsent:
                again = f"asynclog replay {report.run_dir} --sink {name}"
                complain(f"{name} has not got {unsent} records; to send them: {again}")
        return report

    def failed_rank(self) -> bool:
        """Say whether a rank of the last attempt is known to have failed."""
        ranks = [death for death in self._deaths.seen if death.printer.rank is not None]
        last = max((death.printer.attempt for death in ranks), default=0)
        return any(death.bad for death in ranks if death.printer.attempt == last)

    def report(self, status: int, run_dir: Path) -> None:
        """Store and show why the job has failed, if it has; after :meth:`finish`.

        Args:
            status: How the command has ended; 0 if all is well.
            run_dir: Directory of the run.
        """
        with self._reporting:
            self._ended = True
        if status:
            crash = self._crash(status, run_dir)
            crash.store()
            self._screen.show(2, crash.text())
        elif self._early:
            # a later attempt has brought it to a good end
            CrashReport.discard(run_dir)

    def _hand_to(self, handlers: Sequence[logging.Handler]) -> None:
        """Have these handlers get the records, too."""
        run_dir = self._pipeline.run_dir
        if handlers and run_dir is not None:
            self._loggers = NodeLoggers(handlers)
            self._loggers.begin(run_dir)
            self._configure(sinks=[*self._sinks, self._loggers])

    def _crash(self, status: int | None, run_dir: Path) -> CrashReport:
        deaths = self._deaths.with_errors()
        return CrashReport.of(self._command, self.pid, status, deaths, run_dir)

    def _report_early(self, run_dir: Path) -> None:
        """Store what is known when a rank has failed: the job may go on for a long time."""
        self._pipeline.flush_sync(EARLY_TIMEOUT)
        with self._reporting:
            if not self._ended:
                self._crash(None, run_dir).store()

    def _shows(self, printer: Printer) -> bool:
        """Say whether what somebody prints is shown as it is, progress bars and all."""
        return printer.rank is None and self._level <= INFO

    def _note_all(self) -> None:
        while (death := self._noted.get()) is not None:
            self._note(death)

    def _note(self, death: Death) -> None:
        """Say at once that a rank has failed."""
        if death.bad and death.printer.rank is not None:
            text = f"rank {death.printer.rank} {cause(death.status, death.explanation)}"
            died = "killed" if (death.status or 0) < 0 else "failed"
            log = self._pipeline.get_logger(OWN_LOGGER)
            log.error(text, kind=NOTE, **{DIED: died}, **death.printer.fields)
            run_dir = self._pipeline.run_dir
            if not self._early and run_dir is not None:
                self._early = True
                self._report_early(run_dir)


def _address(invitation: Invitation) -> Path:
    path = Spool(invitation.directory, invitation.spools).path / f"output-{os.getpid()}.tmp"
    if len(os.fsencode(path)) > LONGEST_ADDRESS:
        import tempfile

        path = Path(tempfile.mkdtemp(prefix="asynclog-")) / "output"
    return path
