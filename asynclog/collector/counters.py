"""The answer to ``stats()``: from the collector while a pipeline runs, from memory afterwards."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..exceptions import SettingError
from .stats import CollectorPlace, Report, Scope, Stats

if TYPE_CHECKING:
    from ..intake.producer import Producer
    from ..intake.spool import Spool
    from .host import CollectorHost
    from .tally import Tally


class Counters:
    """Counts for one pipeline, from any thread, without a lock and without waiting.

    Args:
        producer: The pipeline's; its ring counts what this process logs.
    """

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self._collector: tuple[CollectorHost, Spool, int] | None = None
        self._last: dict[Scope, Stats] = {}
        # what was answered last, by process and scope
        self._answered: dict[tuple[int, Scope], Stats] = {}

    def started(self, host: CollectorHost, spool: Spool) -> None:
        """Ask this host from now on."""
        self._collector = host, spool, os.getpid()
        self._last = {}
        self._answered = {}

    def stopping(self) -> None:
        """Answer with the counts of this moment until :meth:`stopped`."""
        self._last = {"run": self._count("run"), "process": self._count("process")}

    def stopped(self, own: Tally, run: Tally | None, report: Report) -> None:
        """Answer with the last counts from now on.

        Args:
            own: Those of this process's ring when nothing more could get in.
            run: Those of the run at the end, None when nobody knows them.
            report: What became of the lines.
        """
        self._collector = None
        own.settle(report)
        before = self._last["process"]
        if before.sinks and run is not None:
            own.sinks = run.sinks
        self._last = {
            "run": (run or own).last_stats(self._last["run"]),
            "process": own.last_stats(before),
        }

    def stats(self, scope: Scope) -> Stats:
        """Return the counters so far; see :meth:`asynclog.Pipeline.stats`."""
        if scope not in ("run", "process"):
            raise SettingError("scope", "must be 'run' or 'process'", scope)
        stats = self._answer(scope)
        late = self._producer.stopped_drops
        if not late:
            return stats
        dropped = {**stats.dropped, "stopped": stats.dropped.get("stopped", 0) + late}
        return stats._replace(accepted=stats.accepted + late, dropped=dropped)

    def _answer(self, scope: Scope) -> Stats:
        """Return the counts of now, or of the end; never less than was answered before."""
        key = os.getpid(), scope
        stats = self._last.get(scope) or self._count(scope)
        before = self._answered.get(key)
        # somebody asked the collector while another thread took the counts of the stop
        if (
            before is not None
            and scope in self._last
            and (before.accepted > stats.accepted or before.written > stats.written)
        ):
            return before
        self._answered[key] = stats
        return stats

    def _count(self, scope: Scope) -> Stats:
        from .tally import Tally

        own = self._own() or Tally()
        run, place = self._ask_collector()
        tally = own if scope == "process" or run is None else run
        run = run or Tally()
        here = place in ("thread", "process")
        return Stats(
            accepted=tally.accepted,
            written=tally.written,
            dropped=dict(tally.dropped),
            waiting=tally.waiting,
            sinks=dict(run.sinks) if here or scope == "run" else {},
            ring_bytes=tally.ring_bytes,
            ring_used=tally.ring_used,
            ring_peak=tally.ring_peak,
            rings=tally.rings,
            collector=place,
            collector_pid=run.pid,
            heartbeat=run.heartbeat,
            last_write=run.last_write,
        )

    def _own(self) -> Tally | None:
        """Return what the ring of this process has counted, None when there is no ring."""
        from .tally import Tally

        while (ring := self._producer.ring) is not None:
            try:
                return Tally.of(ring)
            except ValueError:
                # Closed at this moment: there is another one by now, or none.
                if ring is self._producer.ring:
                    break
        return None

    def _ask_collector(self) -> tuple[Tally | None, CollectorPlace]:
        """Return the counts of the run as far as they are known, and where they come from."""
        if self._collector is None:
            return None, "none"
        host, spool, process = self._collector
        if process == os.getpid():
            return host.tally(), host.place()
        # A forked child: the collector is its parent's. Not imported above, as the parent is the
        # one who needs it first.
        from .published import read_tally

        return read_tally(spool), "elsewhere"
