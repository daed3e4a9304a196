"""A pipeline's counters for Prometheus, through the registry of ``prometheus_client``.

It reads :meth:`asynclog.Pipeline.stats` at each scrape and keeps nothing of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Final

from ._complain import complain
from ._lifecycle import default_pipeline
from .collector.stats import Scope, Stats
from .exceptions import MissingExtraError, SettingError
from .intake.ring import REASONS

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    from .pipeline import Pipeline

__all__ = ["PipelineCollector", "register"]

# All of them are there from the first scrape on: an increase from nothing is none to Prometheus.
DROP_REASONS: Final = (*REASONS, "quarantined", "unwritten")
SINK_DROP_REASONS: Final = ("lagged", "failed", "suspended", "abandoned")

_NOTHING: Final = Stats(0, 0, {}, 0, {}, 0, 0)


class PipelineCollector:
    """A collector for a registry of ``prometheus_client``; scraping never waits and never raises.

    Args:
        pipeline: Whose counters; those of the default pipeline when not given.
        scope: ``"process"`` (default): what this process has logged, and the sinks where it has
            the collector, so that sums over processes are right. ``"run"``: the same numbers from
            every process of the run, for several workers behind one address.

    Raises:
        MissingExtraError: ``prometheus_client`` is not installed.
        SettingError: The scope is none of the two.
    """

    def __init__(self, pipeline: Pipeline | None = None, *, scope: Scope = "process") -> None:
        _need_client()
        if scope not in ("run", "process"):
            raise SettingError("scope", "must be 'run' or 'process'", scope)
        self._pipeline = pipeline
        self._scope: Scope = scope

    def describe(self) -> list[CounterMetricFamily | GaugeMetricFamily]:
        """Return the metrics without values: the registry refuses a second collector of theirs."""
        return list(_metrics(_NOTHING))

    def collect(self) -> list[CounterMetricFamily | GaugeMetricFamily]:
        """Return the metrics as they are now; none when they cannot be had."""
        try:
            pipeline = self._pipeline or default_pipeline()
            return list(_metrics(pipeline.stats(self._scope)))
        except Exception as error:
            # A collector that raises takes all other metrics of the process with it.
            complain(f"no metrics for Prometheus: {type(error).__name__}", kind="prometheus")
            return []


def register(
    registry: CollectorRegistry | None = None,
    pipeline: Pipeline | None = None,
    *,
    scope: Scope = "process",
) -> PipelineCollector:
    """Register a pipeline's counters; before or after its start.

    Args:
        registry: Where; the client's default registry when not given.
        pipeline: As for :class:`PipelineCollector`.
        scope: As for :class:`PipelineCollector`.

    Returns:
        The collector, for ``registry.unregister``.

    Raises:
        MissingExtraError: ``prometheus_client`` is not installed.
        SettingError: The scope is none of the two.
        ValueError: The registry has such a collector already; a second pipeline needs one of its
            own.
    """
    collector = PipelineCollector(pipeline, scope=scope)
    if registry is None:
        from prometheus_client import REGISTRY as registry
    registry.register(collector)
    return collector


def _need_client() -> None:
    try:
        import_module("prometheus_client")
    except ImportError as error:
        package = "prometheus_client"
        raise MissingExtraError("asynclog.prometheus", package, "prometheus") from error


def _metrics(stats: Stats) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
    from prometheus_client.core import CounterMetricFamily as Counter
    from prometheus_client.core import GaugeMetricFamily as Gauge

    accepted = "Log calls that passed their level and the processors."
    yield Counter("asynclog_events_accepted_total", accepted, stats.accepted)
    written = "Events in the durable file (without one: handed to the sinks)."
    yield Counter("asynclog_events_written_total", written, stats.written)
    dropped = Counter("asynclog_events_dropped_total", "Events lost, by reason.", labels=["reason"])
    for reason in sorted({*DROP_REASONS, *stats.dropped}):
        dropped.add_metric([reason], stats.dropped.get(reason, 0))
    yield dropped
    waiting = "Events in rings that are not yet written."
    yield Gauge("asynclog_events_waiting", waiting, stats.waiting)

    yield Gauge("asynclog_rings", "Rings: one for each process that logs.", stats.rings)
    yield Gauge("asynclog_ring_size_bytes", "Bytes of the rings.", stats.ring_bytes)
    yield Gauge("asynclog_ring_used_bytes", "Bytes of the rings in use.", stats.ring_used)
    peak = "Largest share of a ring that was ever in use, from 0 to 1."
    yield Gauge("asynclog_ring_peak_ratio", peak, stats.ring_peak)

    yield from _sink_metrics(stats)

    # Without a value as long as there is none.
    last = "When the collector went its round last, in seconds since 1970."
    yield Gauge("asynclog_collector_heartbeat_timestamp_seconds", last, stats.heartbeat)
    last = "When the durable file was last written, in seconds since 1970."
    yield Gauge("asynclog_last_write_timestamp_seconds", last, stats.last_write)


def _sink_metrics(stats: Stats) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
    from prometheus_client.core import CounterMetricFamily as Counter
    from prometheus_client.core import GaugeMetricFamily as Gauge

    written = Counter("asynclog_sink_written_total", "Lines the sink took.", labels=["sink"])
    lost = "Lines the sink did not take, by reason."
    dropped = Counter("asynclog_sink_dropped_total", lost, labels=["sink", "reason"])
    stream = "Bytes that wait for the sink; beyond 2 MiB it loses lines."
    waiting = Gauge("asynclog_sink_waiting_bytes", stream, labels=["sink"])
    failed = "Whether the sink is left alone because it failed again and again."
    suspended = Gauge("asynclog_sink_suspended", failed, labels=["sink"])
    for name, sink in stats.sinks.items():
        written.add_metric([name], sink.written)
        for reason in sorted({*SINK_DROP_REASONS, *sink.dropped}):
            dropped.add_metric([name, reason], sink.dropped.get(reason, 0))
        waiting.add_metric([name], sink.waiting_bytes)
        suspended.add_metric([name], float(sink.suspended))
    yield from (written, dropped, waiting, suspended)
