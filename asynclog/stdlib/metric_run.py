"""MetricRun: the private pipeline of one metric handler, from its first record to its last.

Its run directory is hidden, lies beside what the handler writes, and goes when all is written and
sent. A log call takes no lock here, also not the one that starts the pipeline.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, cast

from .._complain import complain
from ..intake.spool import Spool
from .record import timestamp

if TYPE_CHECKING:
    from .._logger.bound import BoundLogger
    from .._settings import Settings
    from ..collector.plan import Plan
    from ..pipeline import Pipeline
    from ..typing import SinkDeclaration

RECORDS: Final = "records.jsonl"
"""File in the run directory in which records wait for a backend."""
RETRY_INTERVAL: Final = 1.0
"""Seconds until a start that failed is tried again."""
FRESH: Final = 0.001
"""Seconds within which the time of the call is as good as the record's own: that is 5 us a call
instead of 40."""
GUEST_TIMEOUT: Final = 1.5
"""Seconds that a forked child waits at its end until its parent has written what it logged."""
SETTLE_TIMEOUT: Final = 1.0
"""Seconds to wait at the end for numbers on a device."""
LEAVE_TIMEOUT: Final = 0.3
"""Seconds in which a collector that has written everything lets go of the run directory."""


class MetricRun:
    """A pipeline that starts at its first record.

    Args:
        run_dir: Hidden directory of the run.
        declare: Returns the sinks; called at the start.
        prepare: Makes what has to be there when the first call returns.
        rank: Rank that the records name; None for what the environment says.
    """

    def __init__(
        self,
        run_dir: Path,
        declare: Callable[[], Sequence[SinkDeclaration]],
        prepare: Callable[[], None],
        rank: int | None,
    ) -> None:
        # Here and not above: it takes longer to import than all that a configuration needs.
        from ..pipeline import Pipeline

        self.pipeline: Pipeline = Pipeline()
        self.pipeline._rank = self.pipeline.loggers.rank = rank
        self._run_dir = run_dir
        self._declare = declare
        self._prepare = prepare
        self._pid = os.getpid()
        self._loggers: dict[str, BoundLogger] = {}
        # Whoever takes the item starts the pipeline. What other threads and signal handlers log
        # meanwhile waits in the pipeline's early ring.
        self._to_start: list[None] = [None]
        self._not_before = 0.0

    @property
    def starting(self) -> bool:
        """Whether the pipeline has not been started by any process."""
        return self.pipeline._run is None

    def logger(self, name: str, created: Any) -> BoundLogger:
        """Return a logger for one record.

        Args:
            name: Of the logger it comes from.
            created: When it was made, seconds since 1970.
        """
        try:
            is_fresh = 0.0 <= time.time() - created < FRESH
        except TypeError:
            is_fresh = True
        stamp = None if is_fresh else timestamp(created)
        if stamp is not None:
            return self.pipeline.get_logger(name, timestamp=stamp)
        logger = self._loggers.get(name)
        if logger is None:
            logger = self._loggers[name] = self.pipeline.get_logger(name)
        return logger

    def logged(self) -> None:
        """Start the pipeline when that was the first record; never raises for a fault of its own.

        Returns when the files are there.
        """
        if self._to_start:
            self._start()

    def _start(self) -> None:
        if time.monotonic() < self._not_before:
            return
        try:
            self._to_start.pop()
        except IndexError:
            return
        started = False
        try:
            self._configure()
            self.pipeline.start_sync()
            started = True
            self._close_with_worker()
        except Exception as error:
            complain(
                f"metrics for {self._run_dir.parent} wait in memory: {type(error).__name__}: "
                f"{error}",
                kind=f"metrics {self._run_dir}",
            )
        finally:
            if not started:
                self._not_before = time.monotonic() + RETRY_INTERVAL
                self._to_start.append(None)

    def _close_with_worker(self) -> None:
        """Close with a process of multiprocessing, which ends without at-exit functions."""
        process, util = (sys.modules.get(f"multiprocessing.{name}") for name in ("process", "util"))
        if process is not None and util is not None and process.parent_process() is not None:
            util.Finalize(None, self.close, exitpriority=1)

    def flush(self, timeout: float) -> bool:
        """Wait until everything logged so far is in the run's file; say whether it is."""
        return self.pipeline.flush_sync(timeout)

    def close(self, *, exiting: bool = False) -> None:
        """Write out everything, and remove the run directory when nothing in it is needed.

        Args:
            exiting: Whether the interpreter is about to end, and takes no new threads.
        """
        if self.starting:
            self._not_before = 0.0
            if self._to_start and not exiting:
                self._start()
            if self.starting:
                self._write_directly()
                return
        if self._pid != os.getpid():
            self.pipeline.stop_sync(GUEST_TIMEOUT)
            return
        report = self.pipeline.stop_sync()
        sink, others = self._backend(), self._in_use()
        told = None if sink is None else report.sinks.get(sink.name)
        if others and told is not None and told.dropped:
            # it hangs, and holds the run directory
            self._keep(sink)
        elif not others and not report.dropped.get("unwritten"):
            self._tidy(sink)

    def _write_directly(self) -> None:
        """Write what waits in memory into the run's file, without a pipeline that runs."""
        from ..collector.late import LateWriter
        from ..intake.ring import Origin

        self.pipeline.settle(time.monotonic() + SETTLE_TIMEOUT)
        ring = self.pipeline.producer.detach()
        lines = [] if ring is None else ring.read(ring.tail, ring.head).splitlines(keepends=True)
        try:
            plan = self._plan()
            spool = Spool(plan.run_dir, plan.spool_dir)
            write = LateWriter(plan, spool, Origin(os.uname().nodename, os.getpid()))
            left = [line for line in lines if not write(line, 0)]
            if left and self._hand_over(left, plan, spool):
                return
        except Exception as error:
            complain(f"metrics for {self._run_dir.parent}: {type(error).__name__}: {error}")
            left = lines
        if left:
            complain(f"{len(left)} records of metrics for {self._run_dir.parent} are lost")
        elif not self._in_use():
            self._tidy(self._backend())

    def _hand_over(self, lines: Sequence[bytes], plan: Plan, spool: Spool) -> bool:
        """Leave lines in a ring for whoever collects for the run now; say whether that worked."""
        from ..collector.started_run import ring_for_child
        from ..intake.ring import Origin

        producer, settings = self.pipeline.producer, self._configure()
        origin = Origin.here(self.pipeline._rank)
        ring = ring_for_child(plan, spool, settings, origin, producer.next_base)
        try:
            if ring.path is None:
                return False
            producer.attach(ring)
            done = [producer.put(line, 0) for line in lines]
            producer.detach()
        finally:
            ring.close()
        return all(done)

    def _plan(self) -> Plan:
        """Return the plan of a run that cannot be started any more.

        Raises:
            Exception: The run directory cannot be made.
        """
        from ..collector.plan import Plan
        from ..collector.replay import remember_followers

        settings = self._configure()
        self._run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        plan = Plan.begin(settings)
        remember_followers(plan)
        return plan

    def _configure(self) -> Settings:
        self._prepare()
        # the handler's own level has let the record pass
        return self.pipeline.configure(self._run_dir, sinks=self._declare(), level="DEBUG")

    def _tidy(self, sink: SinkDeclaration | None) -> None:
        """Remove the run directory, unless a backend has not got all that is in it."""
        try:
            complete = sink is None or self._has_all(sink)
        except Exception as error:
            complain(f"{self._run_dir} is kept: {type(error).__name__}: {error}")
            return
        if complete:
            shutil.rmtree(self._run_dir, ignore_errors=True)
        else:
            self._keep(sink)

    def _keep(self, sink: SinkDeclaration | None) -> None:
        """Say why the run directory is kept, and what to do about it."""
        assert sink is not None
        whole = "" if self._cursor(sink).exists() else " --all"
        complain(
            f"{sink.name} has not got all metrics. They are kept in {self._run_dir}; send them "
            f"with: asynclog replay {shlex.quote(str(self._run_dir))} --sink {sink.name}{whole}"
        )

    def _has_all(self, sink: SinkDeclaration) -> bool:
        """Say whether a backend has got all records; what its cursor says, not its last report.

        Raises:
            OSError: The files cannot be read.
        """
        from ..collector.trail import Trail
        from ..sinks.template import matching

        files = matching(RECORDS, self._run_dir)
        if not self._cursor(sink).exists():
            return not any(path.stat().st_size for path in files)
        kinds: frozenset[str] = getattr(sink.make(), "kinds", frozenset())
        # Also of those files counts what is left that no cursor knows yet.
        named: Any = [SimpleNamespace(path=path) for path in files]
        trail = Trail(
            self._run_dir, sink.name, kinds - {"note"}, written=lambda: named, existing=files
        )
        try:
            trail.open()
            return trail.left() == 0
        finally:
            trail.close()

    def _cursor(self, sink: SinkDeclaration) -> Path:
        from ..collector.trail import CURSORS

        return self._run_dir / CURSORS / f"{sink.name}.json"

    def _in_use(self) -> bool:
        """Say whether another process uses the run directory, or what it has logged is in rings."""
        settings = self.pipeline._settings
        assert settings is not None
        spool = Spool(self._run_dir, settings.spool_dir)
        try:
            spool.prepare()
            deadline = time.monotonic() + LEAVE_TIMEOUT
            while not spool.elect():
                if time.monotonic() >= deadline:
                    return True
                time.sleep(0.01)
            try:
                return bool(spool.rings())
            finally:
                spool.leave()
        except OSError:
            return True

    def _backend(self) -> SinkDeclaration | None:
        """Return the declaration of the backend, None for a run that only has a file."""
        settings = self.pipeline._settings
        assert settings is not None
        for sink in settings.sinks:
            if getattr(sink, "follows", False):
                return cast("SinkDeclaration", sink)
        return None
