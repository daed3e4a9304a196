"""Guest: logs into a run without collecting for it, from a ring that others find.

For processes that log and have no say in what becomes of it: those that watch over workers, and
those that have stopped their pipeline and log on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final

from .._lifecycle import call_last
from ..collector.plan import Plan
from ..collector.recovery import recover
from ..collector.started_run import ring_for_child
from ..exceptions import SpoolError
from ..intake.flush import FlushRequest
from ..intake.ring import Origin, Ring
from ..intake.spool import Spool
from ..pipeline import Pipeline

HAND_OVER_TIMEOUT: Final = 0.5
"""Seconds to wait for another process's collector, which looks four times a second."""

_joined: list[Guest] = []


class Guest:
    """Lets a pipeline that does not run log into its run.

    Args:
        pipeline: If it was never configured, its settings come from the environment.

    Raises:
        SettingError: A setting in the environment breaks its rule.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        settings = self._settings = pipeline._settings or pipeline.configure()
        self._spool = Spool(settings.run_dir, settings.spool_dir)
        self._origin = Origin(os.uname().nodename, os.getpid())
        run = pipeline._run
        self._plan = Plan.begin(settings) if run is None else run.plan

    def join(self) -> None:
        """Log from now on into a ring that whoever collects for the run finds, now or later.

        Raises:
            OSError: There is no room for one, or the spool is not safe.
        """
        self._attach()
        _joined.append(self)

    def log_once(self, log: Callable[[], None]) -> None:
        """Have something logged that is in the run's file, or on its way there, afterwards.

        Args:
            log: Logs a record or two.

        Raises:
            OSError: The spool is not safe, or there is no room in it.
        """
        ring = self._attach()
        try:
            log()
        finally:
            self._pipeline.producer.detach()
            self._hand_over(ring)

    def leave(self) -> None:
        """See at the end of the process to what nobody else will."""
        if self._origin.pid != os.getpid() or self._pipeline.started:
            return
        ring = self._pipeline.producer.detach()
        if ring is not None:
            ring.close()
        recover(self._settings.run_dir, self._settings.spool_dir)

    def _attach(self) -> Ring:
        producer = self._pipeline.producer
        ring = self._new_ring(producer.next_base)
        if ring.path is None:
            ring.close()
            raise SpoolError(self._spool.root, "has no room for a ring")
        producer.renew = self._new_ring
        producer.attach(ring)
        return ring

    def _hand_over(self, ring: Ring) -> None:
        """Wait until what is in a ring is stored, or store it when the collector has gone."""
        request = FlushRequest(ring, time.monotonic() + HAND_OVER_TIMEOUT)
        left_to_us = False
        for pause in request.pauses():
            if left_to_us := self._nobody_collects():
                break
            time.sleep(pause)
        stored = ring.tail >= ring.head
        ring.close()
        if stored and ring.path is not None:
            # the collector may be ending, and never look who is gone
            ring.path.unlink(missing_ok=True)
            self._nobody_collects()
        elif left_to_us:
            recover(self._settings.run_dir, self._settings.spool_dir)

    def _nobody_collects(self) -> bool:
        if not self._spool.elect():
            return False
        # removes the directory when nothing is in it
        self._spool.leave()
        return True

    def _new_ring(self, base: int) -> Ring:
        origin = Origin(self._origin.host, os.getpid())
        return ring_for_child(self._plan, self._spool, self._settings, origin, base)


def _leave_all() -> None:
    for guest in _joined:
        guest.leave()


call_last(_leave_all)
