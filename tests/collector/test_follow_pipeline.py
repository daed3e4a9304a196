"""Following sinks in a running pipeline: kills, dead backends, restarts, replay."""

from __future__ import annotations

import csv
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from click.testing import CliRunner

import asynclog
from asynclog.cli import main
from asynclog.collector.trail import CURSORS
from asynclog.sinks import MetricsCsv
from asynclog.typing import Batch, Run

DEADLINE = 30.0


class Backend:
    """A live sink that follows, and may be away or hang."""

    name = "backend"
    follows = True
    kinds: ClassVar[frozenset[str]] = frozenset({"metrics"})

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.away = False
        self.hanging: threading.Event | None = None

    def write_blocking(self, batch: Batch) -> None:
        """Keep the steps, raise, or hang."""
        if self.hanging is not None:
            self.hanging.wait()
        if self.away:
            raise ConnectionError("away")
        self.steps += [event["step"] for event in batch.events]


class Remote(Backend):
    """One that may take long to open."""

    heavy = True

    def __init__(self) -> None:
        super().__init__()
        self.opened = 0

    def open(self, run: Run) -> None:
        """Fail while away."""
        self.opened += 1
        if self.away:
            raise ConnectionError("away")


def _until(condition: Any) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _log(steps: range) -> None:
    log = asynclog.get_logger()
    for step in steps:
        log.log_metrics({"loss": step / 2}, step=step, split="train")


def _csv_steps(path: Path) -> list[int]:
    with path.open(newline="") as file:
        return [int(row["step"]) for row in csv.DictReader(file)]


def test_backend_that_was_away_gets_all(run_dir: Path) -> None:
    """What a backend missed while it was away it gets afterwards, once, in order."""
    sink = Backend()
    sink.away = True
    with asynclog.running(run_dir, sinks=[asynclog.JsonlFile(), sink]) as run:
        _log(range(100))
        assert asynclog.flush_sync(60)
        _until(lambda: asynclog.stats().sinks["backend"].suspended)
        assert asynclog.stats().sinks["backend"].error == "ConnectionError"
        sink.away = False
        _log(range(100, 200))
    assert sink.steps == list(range(200))
    assert run.report is not None
    assert run.report.sinks["backend"] == asynclog.SinkReport(200, {})


def test_flush_waits_for_files_that_follow(run_dir: Path) -> None:
    """After a flush the metrics are in metrics.csv, too."""
    with asynclog.running(run_dir, sinks=[asynclog.JsonlFile(), MetricsCsv()]):
        _log(range(50))
        assert asynclog.flush_sync()
        assert _csv_steps(run_dir / "metrics.csv") == list(range(50))


def test_dead_backend_is_counted_and_gets_it_at_the_next_start(run_dir: Path) -> None:
    """A backend that stays away delays the end by no more than one try; the rest is unsent."""
    sink = Remote()
    sink.away = True
    started = time.monotonic()
    with asynclog.running(run_dir, sinks=[asynclog.JsonlFile(), sink], collector="thread") as run:
        _log(range(10))
        assert asynclog.flush_sync(60)
    assert time.monotonic() - started < 60
    assert run.report is not None
    assert run.report.sinks["backend"] == asynclog.SinkReport(0, {"unsent": 10})
    assert run.report.accepted == run.report.written == 10
    again = Remote()
    with asynclog.running(run_dir, sinks=[asynclog.JsonlFile(), again], collector="thread"):
        _log(range(10, 12))
    assert again.steps == list(range(12))


@pytest.mark.leaks("threads", "descriptors")
def test_hung_backend_delays_nobody(run_dir: Path) -> None:
    """A backend that hangs for ever costs the others nothing, and the end stop_timeout at most."""
    sink = Backend()
    sink.hanging = threading.Event()
    try:
        with asynclog.running(
            run_dir, sinks=[asynclog.JsonlFile(), sink, MetricsCsv()], stop_timeout=1.0
        ) as run:
            _log(range(10))
            _until(lambda: (run_dir / "metrics.csv").exists())
            _until(lambda: _csv_steps(run_dir / "metrics.csv") == list(range(10)))
            began = time.monotonic()
        assert time.monotonic() - began < 60
        assert run.report is not None
        assert run.report.sinks["backend"] == asynclog.SinkReport(0, {"unsent": 10})
        assert run.report.sinks["metrics_csv"] == asynclog.SinkReport(10, {})
    finally:
        sink.hanging.set()


SLOW = """
import sys, time
from dataclasses import dataclass
from typing import ClassVar

@dataclass(frozen=True)
class Slow:
    name: ClassVar[str] = "slow"
    follows: ClassVar[bool] = True
    heavy: ClassVar[bool] = True
    def make(self): return SlowSink()

class SlowSink:
    kinds = frozenset({"metrics"})
    def open(self, run): time.sleep(60)
    def write_blocking(self, batch): pass
"""


def test_report_of_a_collector_process_counts_what_is_unsent(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backend that is not even open at the end has its records counted as unsent."""
    (tmp_path / "slow_backend.py").write_text(SLOW)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    slow = importlib.import_module("slow_backend").Slow()
    with asynclog.running(run_dir, sinks=[asynclog.JsonlFile(), slow], stop_timeout=1.0) as run:
        _log(range(10))
    assert run.report is not None
    assert run.report.sinks["slow"] == asynclog.SinkReport(0, {"unsent": 10})


VICTIM = """
import os, sys, asynclog
from asynclog.sinks import MetricsCsv
durable = asynclog.JsonlFile(max_bytes="20 kB", backups=1000)
asynclog.start_sync(
    sys.argv[1], sinks=[durable, MetricsCsv()], collector=sys.argv[2], linger="1 ms"
)
log = asynclog.get_logger()
first = int(sys.argv[3])
for step in range(first, first + 100_000):
    log.log_metrics({"loss": step / 2}, step=step)
    if step % 10 == 0:
        os.write(1, b"%d\\n" % step)
"""


def _acknowledged(process: subprocess.Popen[bytes], at_least: int) -> int:
    assert process.stdout is not None
    step = -1
    for line in process.stdout:
        step = int(line)
        if step >= at_least:
            break
    return step


def _rest(process: subprocess.Popen[bytes], step: int) -> int:
    assert process.stdout is not None
    for line in process.stdout:
        if line.endswith(b"\n"):
            step = int(line)
    process.stdout.close()
    process.wait()
    return step


@pytest.fixture
def victims() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Kill what a test has started and not ended."""
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@pytest.mark.parametrize("collector", ["thread", "process"])
def test_kill_of_the_training_process(
    run_dir: Path, collector: str, victims: list[subprocess.Popen[bytes]]
) -> None:
    """SIGKILL in mid-run, again and again: no metric lost or doubled after a restart."""
    first = 0
    for trial in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", VICTIM, str(run_dir), collector, str(first)],
            stdout=subprocess.PIPE,
        )
        victims.append(process)
        seen = _acknowledged(process, first + 300 * (trial + 1))
        process.kill()
        seen = _rest(process, seen)
        first = seen + 1_000_000
    steps = _steps_at_last(run_dir)
    assert first - 1_000_000 in steps


def test_kill_of_the_collector(run_dir: Path, victims: list[subprocess.Popen[bytes]]) -> None:
    """SIGKILL of the collector process, again and again: no metric lost or doubled in the CSV."""
    process = subprocess.Popen(
        [sys.executable, "-c", VICTIM, str(run_dir), "process", "0"], stdout=subprocess.PIPE
    )
    victims.append(process)
    seen = 0
    for _ in range(5):
        seen = _acknowledged(process, seen + 500)
        for child in _children(process.pid):
            os.kill(child, signal.SIGKILL)
    seen = _acknowledged(process, seen + 2000)
    process.kill()
    seen = _rest(process, seen)
    steps = _steps_at_last(run_dir)
    assert set(range(seen + 1)) <= set(steps)


def _steps_at_last(run_dir: Path) -> list[int]:
    """Start and stop until no other collector is left; return what the CSV holds, each once."""
    durable = asynclog.JsonlFile(max_bytes="20 kB", backups=1000)

    def complete() -> bool:
        with asynclog.running(run_dir, sinks=[durable, MetricsCsv()]):
            return asynclog.stats().collector == "thread"

    _until(complete)
    steps = _csv_steps(run_dir / "metrics.csv")
    assert len(steps) == len(set(steps))
    assert sorted(steps) == sorted(_jsonl_steps(run_dir))
    return steps


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    found = [int(child) for child in text.split()]
    # those that threads have started
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return sorted(set(found))


def _jsonl_steps(run_dir: Path) -> list[int]:
    lines = [
        json.loads(line)
        for path in run_dir.glob("events.jsonl*")
        for line in path.read_bytes().splitlines()
    ]
    return [line["step"] for line in lines if line.get("kind") == "metrics"]


def test_replay_sends_the_rest(run_dir: Path) -> None:
    """`asynclog replay` brings a sink from its cursor to the end; --all begins anew."""
    with asynclog.running(run_dir, sinks=[asynclog.JsonlFile(), MetricsCsv()]):
        _log(range(5))
    with asynclog.running(run_dir, sinks=[asynclog.JsonlFile()]):
        _log(range(5, 8))
    result = CliRunner().invoke(main, ["replay", str(run_dir), "--sink", "metrics_csv"])
    assert result.exit_code == 0, result.output
    assert result.output.startswith("3 records of ")
    assert _csv_steps(run_dir / "metrics.csv") == list(range(8))
    result = CliRunner().invoke(main, ["replay", str(run_dir), "--sink", "metrics_csv"])
    assert result.output.startswith("0 records of ")
    (run_dir / "metrics.csv").unlink()
    result = CliRunner().invoke(main, ["replay", str(run_dir), "--sink", "metrics_csv", "--all"])
    assert result.output.startswith("8 records of ")
    assert _csv_steps(run_dir / "metrics.csv") == list(range(8))


def test_replay_on_a_shared_disk(run_dir: Path, tmp_path: Path) -> None:
    """Each machine's collector has its cursor and its files: nothing is sent a second time."""

    def run(first: int, *sinks: Any) -> None:
        pipelines = [
            asynclog.Pipeline(
                run_dir,
                sinks=[asynclog.JsonlFile(), *sinks],
                collector="thread",
                spool_dir=tmp_path / f"spool{number}",
            )
            for number in range(2)
        ]
        for number, pipeline in enumerate(pipelines):
            pipeline.start_sync()
            log = pipeline.get_logger()
            for step in range(first + 5 * number, first + 5 * number + 5):
                log.log_metrics({"loss": step / 2}, step=step)
        for pipeline in reversed(pipelines):
            pipeline.stop_sync()

    def replay(*options: str) -> str:
        command = ["replay", str(run_dir), "--sink", "metrics_csv", *options]
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 0, result.output
        return result.output

    own = run_dir / "metrics.csv"
    other = run_dir / f"metrics.{os.uname().nodename}-{os.getpid()}.csv"
    run(0, MetricsCsv())
    assert replay().startswith("0 records of ")
    run(100)
    assert replay().startswith("10 records of ")
    assert _csv_steps(own) == [*range(5), *range(100, 105)]
    assert _csv_steps(other) == [*range(5, 10), *range(105, 110)]
    assert replay().startswith("0 records of ")
    for path in (own, other):
        path.unlink()
    assert replay("--all").startswith("20 records of ")
    assert _csv_steps(own) == [*range(5), *range(100, 105)]
    assert _csv_steps(other) == [*range(5, 10), *range(105, 110)]
    assert replay().startswith("0 records of ")


def test_replay_leaves_out_who_had_no_such_sink(run_dir: Path, tmp_path: Path) -> None:
    """A machine that did not feed a sink does not begin to; with --all its records are sent."""
    sinks = [[asynclog.JsonlFile()], [asynclog.JsonlFile(), MetricsCsv()]]
    pipelines = [
        asynclog.Pipeline(
            run_dir, sinks=each, collector="thread", spool_dir=tmp_path / f"spool{number}"
        )
        for number, each in enumerate(sinks)
    ]
    for step, pipeline in enumerate(pipelines):
        pipeline.start_sync()
        pipeline.get_logger().log_metrics({"loss": 0.5}, step=step)
    for pipeline in reversed(pipelines):
        pipeline.stop_sync()
    command = ["replay", str(run_dir), "--sink", "metrics_csv"]
    assert CliRunner().invoke(main, command).output.startswith("0 records of ")
    assert not (run_dir / "metrics.csv").exists()
    assert CliRunner().invoke(main, [*command, "--all"]).output.startswith("2 records of ")
    assert _csv_steps(run_dir / "metrics.csv") == [0]


def test_replay_into_a_sink_the_run_did_not_have(run_dir: Path) -> None:
    """Any following sink can be given a whole run afterwards, with its default settings."""
    with asynclog.running(run_dir, sinks=[asynclog.JsonlFile()]):
        _log(range(5))
    result = CliRunner().invoke(main, ["replay", str(run_dir), "--sink", "metrics_csv"])
    assert result.output.startswith("5 records of "), result.output
    assert _csv_steps(run_dir / "metrics.csv") == list(range(5))


def test_replay_of_a_run_in_use_is_refused(run_dir: Path) -> None:
    """While the run is collected, its own collector sends everything; the command says so."""
    with asynclog.running(run_dir, sinks=[asynclog.JsonlFile(), MetricsCsv()]):
        result = CliRunner().invoke(main, ["replay", str(run_dir), "--sink", "metrics_csv"])
    assert result.exit_code == 2
    assert "in use" in result.output


@pytest.mark.parametrize("sink", ["nonsense", "console"])
def test_replay_into_what_cannot_follow_is_refused(run_dir: Path, sink: str) -> None:
    """A sink that does not exist, or cannot be fed from files, is named in the error."""
    with asynclog.running(run_dir, sinks=[asynclog.JsonlFile()]):
        pass
    result = CliRunner().invoke(main, ["replay", str(run_dir), "--sink", sink])
    assert result.exit_code == 2
    assert sink in result.output


@dataclass(frozen=True)
class Picky:
    """A declaration whose sink cannot be opened."""

    name: ClassVar[str] = "picky"
    follows: ClassVar[bool] = True

    def make(self) -> Any:
        """Make a sink that wants what is not there."""
        return PickySink()


class PickySink(Backend):
    """Fails at open."""

    def open(self, run: Run) -> None:
        """Raise."""
        raise FileNotFoundError("no such place")


def test_local_sink_that_cannot_be_opened_fails_the_start(run_dir: Path) -> None:
    """A file sink with a bad path is an error of start(), as for any other sink."""
    with pytest.raises(FileNotFoundError, match="no such place"):
        asynclog.start_sync(run_dir, sinks=[asynclog.JsonlFile(), Picky()])


def test_without_a_durable_file_the_sink_is_fed_from_the_stream(run_dir: Path) -> None:
    """Without a JsonlFile that takes every line there is nothing to follow; metrics arrive."""
    with asynclog.running(run_dir, sinks=[MetricsCsv()]):
        _log(range(5))
    assert _csv_steps(run_dir / "metrics.csv") == list(range(5))
    assert not (run_dir / CURSORS).exists()
