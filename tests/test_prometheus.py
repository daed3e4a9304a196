"""The counters as Prometheus gets them: scraped over HTTP, read with the client's own parser."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

import asynclog
from asynclog import JsonlFile, MissingExtraError, Pipeline, SettingError
from asynclog.testing import FailingSink, HangingSink

prometheus_client = pytest.importorskip("prometheus_client")

from prometheus_client.openmetrics import parser as openmetrics  # noqa: E402
from prometheus_client.parser import text_string_to_metric_families  # noqa: E402

from asynclog.prometheus import PipelineCollector, register  # noqa: E402

ROOT = Path(__file__).parent.parent
PATIENCE = 15.0
OPENMETRICS = "application/openmetrics-text; version=1.0.0"

Samples = dict[tuple[str, ...], float]
"""Values by the name of the sample and the values of its labels."""


@contextmanager
def served(registry: Any) -> Iterator[int]:
    """Serve a registry as a program would; yield the port."""
    server, thread = prometheus_client.start_http_server(0, "127.0.0.1", registry)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def fetch(port: int, accept: str = "text/plain") -> str:
    """Return what a scrape gets."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:
        return response.read().decode()


def samples(text: str) -> Samples:
    """Return the samples of a scrape."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something holds; fail when it does not for a long time."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@pytest.fixture
def registry() -> Any:
    """Return a registry of the test's own."""
    return prometheus_client.CollectorRegistry()


@pytest.mark.parametrize("collector", ["thread", "process"])
def test_a_scrape(run_dir: Path, registry: Any, collector: Any) -> None:
    """Registered before the start, the counters are there from the first scrape to the last."""
    register(registry)
    with served(registry) as port:
        first = samples(fetch(port))
        assert first["asynclog_events_accepted_total",] == 0
        assert first["asynclog_events_dropped_total", "full"] == 0
        assert ("asynclog_last_write_timestamp_seconds",) not in first
        before = time.time()
        sinks = [JsonlFile(), asynclog.TextFile()]
        with asynclog.running(run_dir, sinks=sinks, collector=collector):
            for number in range(50):
                asynclog.get_logger().info("x", number=number)
            assert asynclog.flush_sync()
            found = samples(fetch(port))
        assert found["asynclog_events_accepted_total",] == 50
        assert found["asynclog_events_written_total",] == 50
        assert found["asynclog_events_waiting",] == 0
        assert found["asynclog_rings",] == 1
        assert found["asynclog_ring_size_bytes",] == 4 << 20
        assert found["asynclog_ring_used_bytes",] == 0
        assert 0 < found["asynclog_ring_peak_ratio",] < 1
        assert found["asynclog_sink_written_total", "text"] == 50
        assert found["asynclog_sink_dropped_total", "lagged", "text"] == 0
        assert found["asynclog_sink_waiting_bytes", "text"] == 0
        assert found["asynclog_sink_suspended", "text"] == 0
        assert before <= found["asynclog_collector_heartbeat_timestamp_seconds",] <= time.time()
        assert before <= found["asynclog_last_write_timestamp_seconds",] <= time.time()
        last = samples(fetch(port))
        assert last["asynclog_events_accepted_total",] == 50
        assert last["asynclog_sink_written_total", "text"] == 50
        assert ("asynclog_collector_heartbeat_timestamp_seconds",) not in last
        asynclog.get_logger().warning("late")
        assert samples(fetch(port))["asynclog_events_dropped_total", "stopped"] == 1


def test_both_formats_are_valid(run_dir: Path, registry: Any) -> None:
    """OpenMetrics' strict parser takes the names, types and help texts, too."""
    register(registry)
    with (
        asynclog.running(run_dir, sinks=[JsonlFile(), asynclog.TextFile()]),
        served(registry) as port,
    ):
        plain = list(text_string_to_metric_families(fetch(port)))
        strict = list(openmetrics.text_string_to_metric_families(fetch(port, OPENMETRICS)))
    ours = [family for family in strict if family.name.startswith("asynclog_")]
    assert len(ours) == 14
    assert [family.name for family in ours] == [family.name for family in plain]
    assert all(family.documentation.endswith(".") for family in ours)
    assert {family.type for family in ours} == {"counter", "gauge"}


def test_the_documented_metrics_are_those_there_are() -> None:
    """The how-to, its alert rules included, names the metrics of a scrape, all and no others."""
    page = ROOT / "docs" / "how-to" / "monitoring.md"
    named = set(re.findall(r"\basynclog_[a-z_]+", page.read_text(encoding="utf-8")))
    families = PipelineCollector().describe()
    assert named == {
        family.name + ("_total" if family.type == "counter" else "") for family in families
    }


def test_troubles_show(run_dir: Path, registry: Any) -> None:
    """Drops, a sink that fails and one that hangs are seen while they do."""
    failing = FailingSink()
    with HangingSink() as hanging:
        pipeline = Pipeline(
            run_dir, sinks=[JsonlFile(), failing, hanging], ring_size="64 KiB", overflow="drop"
        )
        register(registry, pipeline)
        with pipeline, served(registry) as port:
            log = pipeline.get_logger()
            for _ in range(10_000):
                log.info("x" * 200)
            hanging.wait_until_hanging_sync()

            def failed_often() -> bool:
                log.info("x")
                return samples(fetch(port))["asynclog_sink_suspended", "failing"] == 1

            wait_for(failed_often)
            found = samples(fetch(port))
            assert found["asynclog_events_dropped_total", "full"] > 0
            assert found["asynclog_sink_dropped_total", "failed", "failing"] >= 5
            assert found["asynclog_sink_waiting_bytes", "hanging"] > 0
            assert found["asynclog_sink_written_total", "hanging"] == 0
            assert found["asynclog_ring_peak_ratio",] > 0.5
            hanging.release()


WORKER = """
    import json, sys, asynclog, prometheus_client
    from asynclog.prometheus import register
    registries = {}
    for scope in ("process", "run"):
        registries[scope] = prometheus_client.CollectorRegistry()
        register(registries[scope], scope=scope)
    asynclog.start_sync(sys.argv[1], sinks=[asynclog.JsonlFile(), asynclog.TextFile()])
    for _ in range(int(sys.argv[2])):
        asynclog.get_logger().info("x")
    asynclog.flush_sync()
    servers = {
        scope: prometheus_client.start_http_server(0, "127.0.0.1", registry)
        for scope, registry in registries.items()
    }
    print(json.dumps({scope: server.server_port for scope, (server, _) in servers.items()}))
    sys.stdout.flush()
    sys.stdin.read()
    for server, thread in servers.values():
        server.shutdown()
        server.server_close()
        thread.join()
    asynclog.stop_sync()
"""


@contextmanager
def worker(run_dir: Path, count: int) -> Iterator[dict[str, int]]:
    """Run a worker that has logged so often; yield the port of each scope."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(WORKER), str(run_dir), str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        with process:
            assert process.stdin is not None
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())
            process.stdin.close()
            assert process.wait(PATIENCE) == 0
    finally:
        process.kill()


def test_several_workers(run_dir: Path) -> None:
    """Sums over workers are the run; with scope "run" each of them tells the run."""
    counts = [3, 5, 7]
    with ExitStack() as stack:
        ports = [stack.enter_context(worker(run_dir, count)) for count in counts]
        own = [samples(fetch(port["process"])) for port in ports]
        assert [found["asynclog_events_accepted_total",] for found in own] == counts
        assert [found["asynclog_events_written_total",] for found in own] == counts
        assert sum(found["asynclog_rings",] for found in own) == 3
        # Only the one with the collector knows of sinks: their sum is right as well.
        assert sum(found.get(("asynclog_sink_written_total", "text"), 0) for found in own) == 15
        assert sum(("asynclog_sink_suspended", "text") in found for found in own) == 1

        def all_know() -> bool:
            found = [samples(fetch(port["run"])) for port in ports]
            return all(each["asynclog_events_accepted_total",] == 15 for each in found)

        wait_for(all_know)
        whole = [samples(fetch(port["run"])) for port in ports]
        assert [found["asynclog_sink_written_total", "text"] for found in whole] == [15] * 3
        assert [found["asynclog_rings",] for found in whole] == [3] * 3


def test_scraped_without_pause_from_start_to_stop(run_dir: Path, registry: Any) -> None:
    """No scrape fails, and no counter goes back, whatever happens to the pipeline meanwhile."""
    register(registry)
    counts: list[Samples] = []
    ended = threading.Event()

    def scrape(port: int) -> None:
        while not ended.is_set():
            counts.append(samples(fetch(port)))

    with served(registry) as port:
        thread = threading.Thread(target=scrape, args=[port])
        thread.start()
        with asynclog.running(run_dir, sinks=[JsonlFile()]):
            for number in range(20_000):
                asynclog.get_logger().info("x", number=number)
        done = len(counts)
        wait_for(lambda: len(counts) > done + 1)
        ended.set()
        thread.join()
    for name in ("accepted", "written"):
        column = [found[f"asynclog_events_{name}_total",] for found in counts]
        assert column == sorted(column)
        assert column[-1] == 20_000


def test_a_scrape_never_fails(
    registry: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Should the counters raise, the program's other metrics are scraped all the same."""
    pipeline = Pipeline()
    register(registry, pipeline)
    prometheus_client.Counter("orders", "Orders.", registry=registry).inc()

    def broken(scope: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(pipeline, "stats", broken)
    with served(registry) as port:
        found = samples(fetch(port))
    assert found["orders_total",] == 1
    assert not any(name.startswith("asynclog_") for name, *_ in found)
    assert capfd.readouterr().err == "asynclog: no metrics for Prometheus: RuntimeError\n"


def test_two_collectors_of_one_registry(registry: Any) -> None:
    """The registry refuses a second one before the start, and can let go of the first."""
    first = register(registry)
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        register(registry)
    registry.unregister(first)
    register(registry, Pipeline())


def test_the_default_registry() -> None:
    """Without a registry it is the client's own."""
    collector = register()
    try:
        names = {family.name for family in prometheus_client.REGISTRY.collect()}
        assert "asynclog_events_accepted" in names
    finally:
        prometheus_client.REGISTRY.unregister(collector)


def test_unknown_scope() -> None:
    """A scope that does not exist is an error at once, not an empty scrape."""
    with pytest.raises(SettingError, match="scope must be 'run' or 'process', got: 'node'"):
        PipelineCollector(scope="node")  # type: ignore[arg-type]


def test_without_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package the error says how to install it; the module itself can be imported."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'asynclog\[prometheus\]'"):
        register()
