"""A run from its start to its stop, as the process that has started it knows it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from .._complain import complain
from ..exceptions import SettingError
from ..intake.ring import Life, Origin, Ring
from ..intake.spool import Spool
from .host import CollectorHost
from .plan import Plan, sink_names
from .tally import Tally, drain_as_guest

if TYPE_CHECKING:
    from .._settings import Settings
    from ..intake.producer import Producer


class StartedRun:
    """What a start makes and a stop ends: the spool, the plan, the candidate for collector.

    Args:
        settings: What the run is started with.
        rank: Whose files the records go to; None for what the environment says.

    Attributes:
        settings: What the run was started with.
        spool: Where its rings lie.
        plan: What its collector is to do.
        process: The process that has started it; a forked child has it, too.
        stopped: Whether it was stopped in this process.

    Raises:
        SettingError: The run directory cannot be made or written.
        SpoolError: The spool directory is not safe.
    """

    def __init__(self, settings: Settings, rank: int | None) -> None:
        _make_run_dir(settings.run_dir)
        self.settings = settings
        self.spool: Spool = Spool(settings.run_dir, settings.spool_dir)
        self.spool.prepare()
        self.plan: Plan = Plan.begin(settings)
        self.process: int = os.getpid()
        self.stopped: bool = False
        self._rank = rank
        self._host: CollectorHost | None = None

    @property
    def here(self) -> bool:
        """Whether it runs in this process."""
        return not self.stopped and self.process == os.getpid()

    @property
    def host(self) -> CollectorHost:
        """The candidate."""
        assert self._host is not None
        return self._host

    def open(self, producer: Producer, tick: Callable[[], None]) -> Ring:
        """Start the candidate; return the ring to log into.

        Args:
            producer: Who logs.
            tick: Called now and then while the run lasts, in the candidate's thread.

        Raises:
            Exception: A sink could not be opened. Nothing half-started remains.
        """
        settings, spool = self.settings, self.spool
        origin = self.origin()
        ring = spool.create_ring(settings.ring_size, origin, producer.next_base)
        ring.life = Life.RUNNING
        host = CollectorHost(
            spool,
            self.plan,
            origin,
            own_process=settings.collector == "process" and ring.path is not None,
            producers=[producer],
            private=[] if ring.path is not None else [ring],
            tick=tick,
        )
        try:
            if any(getattr(sink, "follows", False) for sink in settings.sinks):
                from .replay import remember_followers

                remember_followers(self.plan)
            spool.write_settings(self.plan.recovery_data())
            host.start()
        except BaseException:
            path = ring.path
            ring.close()
            if path is not None:
                path.unlink(missing_ok=True)
                if spool.elect():
                    spool.leave()
            raise
        self._host = host
        self._say_unused_sinks(host)
        return ring

    def origin(self) -> Origin:
        """Return this process, as rings and files name it."""
        return Origin.here(self._rank)

    def ring_for_child(self, base: int) -> Ring:
        """Return a ring for a forked child.

        Raises:
            SpoolError: The spool directory is not safe.
            OSError: What a recovery needs cannot be stored.
        """
        return ring_for_child(self.plan, self.spool, self.settings, self.origin(), base)

    def ring_anew(self, ring: Ring, base: int) -> Ring:
        """Return a ring in the place of one whose file was removed: nobody would find that later.

        Raises:
            SpoolError: The spool directory is not safe.
        """
        fresh = self.spool.create_ring(self.settings.ring_size, self.origin(), base)
        fresh.life = ring.life
        return fresh

    def end(self, ring: Ring, own: Tally, deadline: float) -> tuple[Tally, Tally | None]:
        """Have what is in the ring stored, and end the candidate.

        Args:
            ring: Where this process has logged; it is closed afterwards.
            own: What was counted in it.
            deadline: When to leave undone what is not done, on the monotonic clock.

        Returns:
            What the stop has to report, and the counts of the run, None when nobody knows them.
        """
        host = self.host
        if self.process != os.getpid():
            return drain_as_guest(ring, deadline), None
        if host.hosts():
            run = (self._drain_as_host(ring, deadline) or Tally()).copy()
            run.catch_up(own)
            return run, run
        host.wake()
        tally = drain_as_guest(ring, deadline)
        run = host.tally()
        tally.sinks = run.sinks if run is not None else {}
        host.finish(deadline)
        self.spool.tidy()
        return tally, run

    def _drain_as_host(self, ring: Ring, deadline: float) -> Tally | None:
        host = self.host
        if ring.path is None:
            host.end_private(ring)
        else:
            # Its lock goes: the collector then knows that nothing more comes.
            ring.close()
        host.finish(deadline)
        if ring.path is None:
            ring.close()
        return host.tally()

    def _say_unused_sinks(self, host: CollectorHost) -> None:
        """Say which sinks are not used, because another process collects and has others."""
        collector = None if host.hosts() else host.tally()
        if collector is None:
            return
        unused = sorted(sink_names(self.plan) - set(collector.sinks))
        if unused:
            complain(
                f"sinks not used: {', '.join(unused)}; process {collector.pid} collects for "
                f"{self.plan.run_dir} and was started without them",
                kind="sinks",
            )


def ring_for_child(plan: Plan, spool: Spool, settings: Settings, origin: Origin, base: int) -> Ring:
    """Return a ring for a process that logs into a run without collecting for it.

    Raises:
        SpoolError: The spool directory is not safe.
        OSError: What a recovery needs cannot be stored.
    """
    ring = spool.create_ring(settings.child_ring_size, origin, base)
    if ring.path is not None and spool.read_settings() is None:
        spool.write_settings(plan.recovery_data())
    return ring


def _make_run_dir(run_dir: Path) -> None:
    try:
        run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        rule = f"must be a directory that can be made and written ({error.strerror})"
        raise SettingError("run_dir", rule, str(run_dir)) from error
    if not os.access(run_dir, os.W_OK | os.X_OK):
        raise SettingError("run_dir", "must be writable", str(run_dir))
