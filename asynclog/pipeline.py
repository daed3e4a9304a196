"""Pipeline: the ring, collector, sinks and loggers of one run, and their start and stop."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack

import anyio
import anyio.to_thread

from ._complain import complain
from ._levels import LevelTable
from ._line.encoder import LineEncoder
from ._logger.system import BoundLogger, LogSystem
from ._rank import local_rank_from_environment, rank_from_environment
from ._settings import PipelineOptions, Settings
from .collector.stats import Report, Stats, Tally
from .exceptions import AlreadyStartedError, SettingError
from .intake.flush import FlushRequest
from .intake.overflow import Overflow
from .intake.producer import WAKE_ALWAYS, Producer, make_producer
from .intake.ring import Origin, Ring
from .intake.spool import Spool

if TYPE_CHECKING:
    from .collector.host import CollectorHost
    from .collector.plan import Plan

_started: weakref.WeakSet[Pipeline] = weakref.WeakSet()
_orphans: list[CollectorHost] = []
"""Hosts of a parent process: their threads do not exist here, so they must not be ended."""


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
        self._host: CollectorHost | None = None
        self._spool: Spool | None = None
        self._plan: Plan | None = None
        self._report: Report | None = None
        self._process = 0
        # Starts and stops come one after the other; a log call never takes it.
        self._changing = threading.RLock()
        if run_dir is not None or options:
            self.configure(run_dir, **options)

    def configure(
        self, run_dir: str | os.PathLike[str] | None = None, **options: Unpack[PipelineOptions]
    ) -> Settings:
        """Check and keep settings for the next start; levels and processors count at once.

        Raises:
            SettingError: A setting breaks its rule.
            AlreadyStartedError: The pipeline runs with other settings.
        """
        from .sinks import Console, JsonlFile

        processors = options.pop("processors", None)
        settings = Settings.read(run_dir, default_sinks=(JsonlFile(), Console()), **options)
        if self.started:
            if settings != self._settings:
                raise AlreadyStartedError(settings.run_dir)
            return settings
        self._settings = settings
        self.levels.set_level(None, settings.level)
        for name, level in settings.levels.items():
            self.levels.set_level(name, level)
        self.encoder.max_event_bytes = settings.max_event_bytes
        self.encoder.exception_text = settings.exception_text
        if processors is not None:
            self.loggers.set_processors(processors)
        return settings

    @property
    def started(self) -> bool:
        """Whether it runs in this process."""
        return self._host is not None and self._process == os.getpid()

    @property
    def run_dir(self) -> Path | None:
        """Directory of the run, None before it is configured."""
        return self._settings.run_dir if self._settings else None

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
        from .collector.host import CollectorHost
        from .collector.plan import Plan

        settings = self._settings or self.configure()
        if self._host is not None:
            _orphans.append(self._host)
            self._host = None
        _make_run_dir(settings.run_dir)
        origin = _origin()
        spool = Spool(settings.run_dir, settings.spool_dir)
        spool.prepare()
        plan = Plan(
            run_dir=settings.run_dir,
            spool_dir=settings.spool_dir,
            started=datetime.now(UTC),
            sinks=settings.sinks,
            linger=settings.linger,
            stop_timeout=settings.stop_timeout,
        )
        ring = spool.create_ring(settings.ring_size, origin, self.producer.next_base)
        host = CollectorHost(
            spool,
            plan,
            origin,
            own_process=settings.collector == "process" and ring.path is not None,
            producers=[self.producer],
            private=[] if ring.path is not None else [ring],
            tick=self._renew_unlinked_ring,
        )
        try:
            spool.write_settings(plan.recovery_data())
            host.start()
        except BaseException:
            path = ring.path
            ring.close()
            if path is not None:
                path.unlink(missing_ok=True)
                if spool.elect():
                    spool.leave()
            raise
        _started.add(self)
        self._process = os.getpid()
        self._spool, self._plan, self._host = spool, plan, host
        self._report = None
        producer = self.producer
        producer.overflow.wait_allowed = settings.overflow == "wait"
        producer.overflow.timeout = settings.overflow_timeout
        producer.late = None
        producer.renew = self._ring_for_child
        producer.wake = host.wake
        producer.attach(ring)
        producer.wake_level = WAKE_ALWAYS
        host.wake()

    async def start(self) -> Self:
        """Start; on asyncio or trio. See :meth:`start_sync`."""
        return await anyio.to_thread.run_sync(self.start_sync)

    def _ring_for_child(self, base: int) -> Ring:
        assert self._settings is not None
        assert self._plan is not None
        spool = Spool(self._settings.run_dir, self._settings.spool_dir)
        ring = spool.create_ring(self._settings.child_ring_size, _origin(), base)
        if ring.path is not None and spool.read_settings() is None:
            spool.write_settings(self._plan.recovery_data())
        return ring

    def _renew_unlinked_ring(self) -> None:
        """Make the ring anew when its file was removed under us: nobody would find it later."""
        ring = self.producer.ring
        if ring is None or not ring.unlinked() or self._settings is None or self._spool is None:
            return
        complain(f"ring {ring.path} was removed from outside; made anew")
        fresh = self._spool.create_ring(
            self._settings.ring_size, _origin(), self.producer.next_base
        )
        self.producer.attach(fresh)
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
        request = self._request_flush(timeout)
        return request is None or request.wait()

    async def flush(self, timeout: float | None = 10.0) -> bool:
        """Wait until everything logged so far is in its files; see :meth:`flush_sync`."""
        request = self._request_flush(timeout)
        if request is None:
            return True
        for pause in request.pauses():
            await anyio.sleep(pause)
        return request.done

    def _request_flush(self, timeout: float | None) -> FlushRequest | None:
        ring, host = self.producer.ring, self._host
        if ring is None or host is None:
            return None
        try:
            request = FlushRequest(ring, None if timeout is None else time.monotonic() + timeout)
        except ValueError:
            # Closed at this moment: stop() sees to everything.
            return None
        if self.started:
            host.wake()
        return request

    def stats(self) -> Stats:
        """Return the counters so far: of the whole run where its collector can be asked."""
        ring = self.producer.ring
        tally = self._host.tally() if self._host is not None and self.started else None
        if tally is None:
            tally = _own_tally(self.producer.ring)
        dropped = dict(tally.dropped)
        late = self.producer.stopped_drops
        if late:
            dropped["stopped"] = dropped.get("stopped", 0) + late
        return Stats(
            accepted=tally.accepted + late,
            written=tally.written,
            dropped=dropped,
            waiting=tally.waiting,
            sinks=tally.sinks,
            ring_bytes=ring.size if ring is not None else 0,
            ring_used=ring.head - ring.tail if ring is not None else 0,
        )

    # Stopping

    def stop_sync(self, timeout: float | None = None) -> Report:
        """Write out what is there, end the collector, and say what became of every record.

        Idempotent: a second call returns the same report.

        Args:
            timeout: Seconds to wait at most; the pipeline's ``stop_timeout`` by default.
        """
        with self._changing:
            return self._stop(timeout)

    def _stop(self, timeout: float | None) -> Report:
        host, settings, spool = self._host, self._settings, self._spool
        if host is None or settings is None or spool is None:
            return self._report or Report(0, 0, {}, {}, self.run_dir or Path())
        deadline = time.monotonic() + (settings.stop_timeout if timeout is None else timeout)
        ring = self.producer.detach()
        self._host = None
        if ring is None:
            # A forked child that never logged.
            return Report(0, 0, {}, {}, settings.run_dir)
        if self._process != os.getpid():
            _orphans.append(host)
            tally = _drain_as_guest(ring, deadline)
        elif host.hosts():
            tally = self._drain_as_host(host, ring, deadline)
        else:
            host.wake()
            tally = _drain_as_guest(ring, deadline)
            tally.sinks = (host.tally() or tally).sinks
            host.finish(deadline)
        self._report = _report_of(tally, settings.run_dir)
        return self._report

    async def stop(self, timeout: float | None = None) -> Report:
        """Write out what is there and end the collector; see :meth:`stop_sync`."""
        return await anyio.to_thread.run_sync(self.stop_sync, timeout)

    def _drain_as_host(self, host: CollectorHost, ring: Ring, deadline: float) -> Tally:
        if ring.path is None:
            host.end_private(ring)
        else:
            # Its lock goes: the collector then knows that nothing more comes.
            ring.close()
        host.finish(deadline)
        if ring.path is None:
            ring.close()
        return host.tally() or Tally()

    def stop_at_exit(self) -> None:
        """Stop at the end of the process; later records still get into the file.

        Where another process collects, they stay in the ring, which outlives us.
        """
        host, plan, spool = self._host, self._plan, self._spool
        if not self.started or host is None or plan is None or spool is None:
            return
        if not host.hosts():
            self.flush_sync(plan.stop_timeout)
            return
        from .collector.recovery import append_line

        origin = _origin()
        self.stop_sync()
        self.producer.late = lambda line, _level: append_line(plan, spool, origin, line)

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
        # A thread that does not exist here may have held it.
        pipeline._changing = threading.RLock()  # pyright: ignore[reportPrivateUsage]


os.register_at_fork(after_in_child=_after_fork_in_child)


def _origin() -> Origin:
    return Origin(
        os.uname().nodename,
        os.getpid(),
        rank_from_environment(),
        local_rank_from_environment(),
    )


def _make_run_dir(run_dir: Path) -> None:
    try:
        run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        rule = f"must be a directory that can be made and written ({error.strerror})"
        raise SettingError("run_dir", rule, str(run_dir)) from error
    if not os.access(run_dir, os.W_OK | os.X_OK):
        raise SettingError("run_dir", "must be writable", str(run_dir))


def _own_tally(ring: Ring | None) -> Tally:
    """Count what one ring knows of itself."""
    if ring is None:
        return Tally()
    lost: Mapping[tuple[int, str], int] = ring.dropped
    tally = Tally(accepted=ring.accepted + sum(lost.values()))
    tally.waiting = ring.read(ring.tail, ring.head).count(b"\n")
    tally.written = ring.accepted - tally.waiting
    for (_, reason), count in lost.items():
        tally.dropped[reason] += count
    return tally


def _drain_as_guest(ring: Ring, deadline: float) -> Tally:
    """Wait until another process's collector has stored what is in our ring."""
    FlushRequest(ring, deadline).wait()
    tally = _own_tally(ring)
    ring.close()
    return tally


def _report_of(tally: Tally, run_dir: Path) -> Report:
    dropped = dict(tally.dropped)
    left = tally.waiting - tally.open
    if left > 0:
        dropped["unwritten"] = left
    return Report(
        accepted=tally.accepted - tally.open,
        written=tally.written,
        dropped=dropped,
        sinks=tally.sinks,
        run_dir=run_dir,
    )
