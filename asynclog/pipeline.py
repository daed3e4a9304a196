"""Pipeline: the ring, collector, sinks and loggers of one run, and their start and stop."""

from __future__ import annotations

import math
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack

import anyio
import anyio.to_thread

from ._complain import complain
from ._invitation import Invitation
from ._levels import LevelTable
from ._line.encoder import LineEncoder
from ._logger.deferred import MAX_WAITING, Settling
from ._logger.process import ProcessFields
from ._logger.suppressed import report_suppressed
from ._logger.system import BoundLogger, LogSystem
from ._rank import rank_info
from ._settings import DEFAULT_STOP_TIMEOUT, PipelineOptions, Settings, parse_duration
from ._this_rank import look_again
from .collector.counters import Counters
from .collector.stats import Report, Scope, Stats
from .exceptions import AlreadyStartedError
from .intake.flush import FlushRequest
from .intake.kept import Kept
from .intake.overflow import Overflow
from .intake.producer import EARLY_RING_SIZE, WAKE_ALWAYS, Producer, make_producer
from .intake.ring import Life, Origin, Ring
from .intake.spool import Spool

if TYPE_CHECKING:
    from .collector.started_run import StartedRun

_started: weakref.WeakSet[Pipeline] = weakref.WeakSet()
_of_parents: list[StartedRun] = []
"""Runs of a parent process: the threads in them do not exist here, so they must not be ended."""


class Pipeline:
    """One run: its ring, collector, sinks and loggers. Several can live in one process.

    Nothing happens before :meth:`start`; what is logged before it is kept (up to 256 KiB) and
    comes out then.

    Args:
        run_dir: Directory of the run; ``logs`` unless ``ASYNCLOG_RUN_DIR`` says otherwise.
        **options: See :class:`~asynclog.PipelineOptions`.

    Raises:
        SettingError: A setting breaks its rule.
    """

    def __init__(
        self, run_dir: str | os.PathLike[str] | None = None, **options: Unpack[PipelineOptions]
    ) -> None:
        self.producer: Producer = make_producer(Overflow())
        self.levels: LevelTable = LevelTable()
        self.encoder: LineEncoder = LineEncoder()
        self.loggers: LogSystem = LogSystem(self.producer, self.encoder, self.levels, [])
        self._settings: Settings | None = None
        self._run: StartedRun | None = None
        self._report: Report | None = None
        self._counters = Counters(self.producer)
        self._invitation: Invitation | None = None
        # whose files the records go to, where the environment does not say so or errs
        self._rank: int | None = None
        self._best_of: Path | None = None
        # Starts and stops come one after the other; a log call never takes it.
        self._changing = threading.RLock()
        if run_dir is not None or options:
            self.configure(run_dir, **options)

    def configure(
        self, run_dir: str | os.PathLike[str] | None = None, **options: Unpack[PipelineOptions]
    ) -> Settings:
        """Check and keep settings for the next start; levels and processors count at once.

        While it runs, processors alone may be others than at the start.

        Raises:
            SettingError: A setting breaks its rule.
            AlreadyStartedError: The pipeline runs with other settings.
        """
        from .sinks import Console, JsonlFile

        processors = options.pop("processors", None)
        settings = Settings.read(run_dir, default_sinks=(JsonlFile(), Console()), **options)
        if not self.started:
            self._settings = settings
            self.levels.set_level(None, settings.level)
            for name, level in settings.levels.items():
                self.levels.set_level(name, level)
            self.encoder.max_event_bytes = settings.max_event_bytes
            self.encoder.exception_text = settings.exception_text
        elif self._settings is not None and (changed := settings.differ(self._settings)):
            raise AlreadyStartedError(self._settings.run_dir, changed)
        if processors is not None:
            self.loggers.set_processors(processors)
        return settings

    def join(self, invitation: Invitation) -> None:
        """Log into a run that another process has started, until started itself.

        Nothing is started here: the ring is made at the first record, and the run's collector
        drains it, also when this process is long gone.
        """
        self._invitation = invitation
        self.levels.set_level(None, invitation.level)
        for name, level in invitation.levels.items():
            self.levels.set_level(name, level)
        self.encoder.max_event_bytes = invitation.max_event_bytes
        self.encoder.exception_text = invitation.exception_text
        self.loggers.identify(ProcessFields(joined=True))
        self.producer.expect(self._ring_for_guest)

    def invitation(self) -> Invitation | None:
        """Return what another process needs to log into this run, None before it is configured."""
        settings = self._settings
        if settings is None:
            return None
        return Invitation(
            run_dir=str(settings.run_dir),
            spool_dir=None if settings.spool_dir is None else str(settings.spool_dir),
            level=settings.level,
            levels=dict(settings.levels),
            ring_size=settings.child_ring_size,
            max_event_bytes=settings.max_event_bytes,
            exception_text=settings.exception_text,
        )

    @property
    def started(self) -> bool:
        """Whether it runs in this process."""
        return self._run is not None and self._run.here

    @property
    def _unstopped(self) -> StartedRun | None:
        """The run that was started, here or by a parent, and not stopped here."""
        run = self._run
        return None if run is None or run.stopped else run

    @property
    def joined(self) -> bool:
        """Whether its records go into a run that another process has started."""
        ring = self.producer.ring
        return self._invitation is not None and (ring is None or ring.path is not None)

    @property
    def run_dir(self) -> Path | None:
        """Directory of the run, None before it is configured."""
        if self._invitation is not None and self._invitation.launcher:
            return self._invitation.directory
        return self._settings.run_dir if self._settings else None

    def spool(self) -> Spool | None:
        """Return where the rings of the run lie, None as long as this process is in no run."""
        if self._invitation is not None:
            spool = Spool(self._invitation.directory, self._invitation.spools)
            return spool if spool.exists() else None
        run = self._unstopped
        return None if run is None else run.spool

    @staticmethod
    def running() -> list[Pipeline]:
        """Return the pipelines that run in this process."""
        return [pipeline for pipeline in _started if pipeline.started]

    # Starting

    def start_sync(self) -> Self:
        """Start; a no-op when it runs already.

        Raises:
            SettingError: The run directory cannot be written.
            SpoolError: The spool directory is not safe.
            Exception: A sink could not be opened. Nothing half-started remains.
        """
        with self._changing:
            if not self.started:
                self._start()
        return self

    def _start(self) -> None:
        # Here and not above: importing the collector takes as long as importing all the rest.
        from .collector.started_run import StartedRun
        from .intake.media import MediaSpool

        settings = self._settings or self.configure()
        if self._unstopped is not None:
            _of_parents.append(self._unstopped)
        run = StartedRun(settings, self._rank)
        self._resume_best(run)
        ring = run.open(self.producer, self._tick)
        _started.add(self)
        self._run = run
        self._report = None
        self.loggers.deferred.closed = False
        self.loggers.deferred.attended = True
        self.loggers.media.attach(MediaSpool(run.spool))
        self.loggers.rank = self._rank
        look_again()
        self._counters.started(run.host, run.spool)
        producer = self.producer
        producer.overflow.wait_allowed = settings.overflow == "wait"
        producer.overflow.timeout = settings.overflow_timeout
        producer.renew = self._ring_for_child
        producer.wake = run.host.wake
        before = producer.attach(ring)
        self._invitation = None
        self.loggers.identify(ProcessFields(joined=False) if rank_info().rank is not None else None)
        producer.late = None
        producer.wake_level = WAKE_ALWAYS
        run.host.wake()
        if before is not None and before.path is not None:
            # Logged as a guest: of another run, whose collector sees to it, or of this one, whose
            # next flush would not know of it.
            if before.path.parent == run.spool.path:
                FlushRequest(before, time.monotonic() + settings.stop_timeout).wait()
            before.close()

    async def start(self) -> Self:
        """Start; on asyncio or trio. See :meth:`start_sync`."""
        return await anyio.to_thread.run_sync(self.start_sync)

    def _resume_best(self, run: StartedRun) -> None:
        """Go on with the best values of this run, and not with those of the run before."""
        from .sinks import Best

        best, plan = self.loggers.best, run.plan
        if self._best_of not in (None, plan.run_dir):
            best.clear()
        self._best_of = plan.run_dir
        for sink in plan.sinks:
            if isinstance(sink, Best):
                sink.resume(best, plan.run(run.origin()))

    def _ring_for_child(self, base: int) -> Ring:
        assert self._run is not None
        return self._ring_or_private(self._run.ring_for_child, base)

    def _ring_for_guest(self, base: int) -> Ring:
        return self._ring_or_private(self._find_ring_for_guest, base)

    def _ring_or_private(self, find: Callable[[int], Ring], base: int) -> Ring:
        """Return a ring whatever happens: we are in the middle of a log call."""
        try:
            return find(base)
        except Exception as error:
            complain(f"this process logs into no run, its records are shown at its end: {error}")
            return Ring.private(EARLY_RING_SIZE, Origin.here(self._rank), base)

    def _find_ring_for_guest(self, base: int) -> Ring:
        invitation = self._invitation
        assert invitation is not None
        spool = Spool(invitation.directory, invitation.spools)
        if not spool.exists():
            # the run is over: as if nobody had invited us
            return Ring.private(EARLY_RING_SIZE, Origin.here(self._rank), base)
        from .intake.media import MediaSpool

        ring = spool.create_ring(invitation.ring_size, Origin.here(self._rank), base)
        self.loggers.media.attach(MediaSpool(spool))
        return ring

    def _tick(self) -> None:
        """Look after what no call may come by for; in the collector's thread, now and then."""
        self._renew_unlinked_ring()
        self.loggers.deferred.look(MAX_WAITING, self.producer.put_nowait, patient=True)

    def _renew_unlinked_ring(self) -> None:
        ring, run = self.producer.ring, self._unstopped
        if ring is None or run is None or not ring.unlinked():
            return
        complain(f"ring {ring.path} was removed from outside; made anew")
        self.producer.attach(run.ring_anew(ring, self.producer.next_base))
        ring.life = Life.UNKNOWN
        ring.close()

    # Using

    def get_logger(self, name: str | None = None, **context: Any) -> BoundLogger:
        """Return a logger of this pipeline.

        Args:
            name: Dotted name; levels are set per name.
            **context: Bound to every record.
        """
        return self.loggers.get_logger(name, **context)

    def set_level(self, name: str | None, level: int | str) -> None:
        """Set the level of a logger and all below it, from now on.

        Args:
            name: Dotted name; None or "" for the level of all others.
            level: Name or number.

        Raises:
            SettingError: It is no level.
        """
        self.levels.set_level(name, level)

    def flush_sync(self, timeout: float | None = 10.0) -> bool:
        """Wait until everything logged so far is in its files.

        Args:
            timeout: Seconds to wait at most, None for no bound.

        Returns:
            Whether it is.
        """
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        numbers = Settling(self.loggers.deferred, deadline)
        numbers.wait()
        request = self._request_flush(deadline)
        return (request is None or request.wait()) and numbers.done

    async def flush(self, timeout: float | None = 10.0) -> bool:
        """Wait until everything logged so far is in its files; see :meth:`flush_sync`."""
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        numbers = Settling(self.loggers.deferred, deadline)
        for pause in numbers.pauses():
            await anyio.sleep(pause)
        request = self._request_flush(deadline)
        if request is None:
            return numbers.done
        for pause in request.pauses():
            await anyio.sleep(pause)
        return request.done and numbers.done

    def _request_flush(self, deadline: float) -> FlushRequest | None:
        ring, run = self.producer.ring, self._unstopped
        if ring is None or (run is None and (self._invitation is None or ring.path is None)):
            return None
        try:
            request = FlushRequest(ring, deadline)
        except ValueError:
            # Closed at this moment: stop() sees to everything.
            return None
        if run is not None and run.here:
            run.host.wake()
        return request

    def stats(self, scope: Scope = "run") -> Stats:
        """Return the counters so far; cheap, and never waits.

        Args:
            scope: ``"run"`` for all processes of the run on this machine, ``"process"`` for what
                this process alone has logged: to be added up over processes.

        Raises:
            SettingError: The scope is none of the two.
        """
        return self._counters.stats(scope)

    # Stopping

    def stop_sync(self, timeout: float | None = None) -> Report:
        """Write out what is there, end the collector, and say what became of every record.

        Idempotent: a second call returns the same report.

        Args:
            timeout: Seconds to wait at most; the pipeline's ``stop_timeout`` by default.
        """
        with self._changing:
            return self._stop(timeout)

    def _stop(self, timeout: float | None, *, failed: bool = False) -> Report:
        run = self._unstopped
        if self._invitation is not None:
            return self._leave(self._invitation, timeout)
        if run is None:
            return self._report or Report(0, 0, {}, {}, self.run_dir or Path())
        from .collector.tally import Tally

        deadline = time.monotonic() + (run.settings.stop_timeout if timeout is None else timeout)
        # Numbers on a device get half the time, or the sinks would have none left.
        self.settle((time.monotonic() + deadline) / 2)
        self._counters.stopping()
        ring = self.producer.detach()
        run.stopped = True
        if run.process != os.getpid():
            _of_parents.append(run)
        if ring is None:
            # A forked child that never logged.
            own, tally, of_run = Tally(), Tally(), None
        else:
            if ring.life is Life.RUNNING:
                ring.life = Life.FAILED if failed else Life.ENDED
            own = Tally.of(ring)
            tally, of_run = run.end(ring, own, deadline)
        self._report = tally.report(run.settings.run_dir)
        self._counters.stopped(own, of_run, self._report)
        return self._report

    def _leave(self, invitation: Invitation, timeout: float | None) -> Report:
        """Stop as a guest: wait until the run's collector has stored what we have logged."""
        from .collector.tally import Tally, drain_as_guest

        patience = parse_duration(DEFAULT_STOP_TIMEOUT) if timeout is None else timeout
        deadline = time.monotonic() + patience
        self.settle(deadline)
        ring = self.producer.detach()
        self._invitation = None
        tally = Tally() if ring is None else drain_as_guest(ring, deadline)
        self._report = tally.report(invitation.directory)
        return self._report

    def settle(self, deadline: float) -> None:
        """Accept what is still on its way: numbers on a device, what rate limits have counted.

        Args:
            deadline: When to give up, on the monotonic clock.
        """
        Settling(self.loggers.deferred, deadline).wait()
        self.loggers.deferred.close()
        self.loggers.media.detach()
        report_suppressed(self.loggers)

    async def stop(self, timeout: float | None = None) -> Report:
        """Write out what is there and end the collector; see :meth:`stop_sync`."""
        return await anyio.to_thread.run_sync(self.stop_sync, timeout)

    def stop_at_exit(self) -> None:
        """Stop at the end of the process; later records still get into the file."""
        run = self._run
        if self._invitation is not None and self.producer.ring is not None:
            # what is in the ring outlives us
            self.settle(time.monotonic() + parse_duration(DEFAULT_STOP_TIMEOUT))
            return
        if run is None or not run.here:
            return
        from .collector.late import LateWriter

        # Other threads log on: what comes before it can be written is kept until then, in order.
        kept = Kept(self.producer)
        with self._changing:
            self._stop(None, failed=_ends_by_exception())
        late = LateWriter(run.plan, run.spool, run.origin())
        with late.holding():
            self.producer.late = late
            kept.put()

    def __repr__(self) -> str:
        state = "running" if self.started else "not running"
        return f"<{type(self).__name__} {str(self.run_dir or '')!r} {state}>"

    def __enter__(self) -> Self:
        """Start."""
        return self.start_sync()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> Literal[False]:
        """Stop."""
        self.stop_sync()
        return False

    async def __aenter__(self) -> Self:
        """Start."""
        return await self.start()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> Literal[False]:
        """Stop, also when cancelled: what was logged is written."""
        with anyio.CancelScope(shield=True):
            await self.stop()
        return False


def _after_fork_in_child() -> None:
    for pipeline in list(_started):
        pipeline.loggers.identify(ProcessFields(joined=True))
        # A thread that does not exist here may have held it.
        pipeline._changing = threading.RLock()  # pyright: ignore[reportPrivateUsage]


os.register_at_fork(after_in_child=_after_fork_in_child)


def _ends_by_exception() -> bool:
    """Say at exit whether an exception has ended the main thread, or whether people typed it."""
    return getattr(sys, "last_value", None) is not None and not hasattr(sys, "ps1")
