"""What a pipeline says about itself: every counter true, wherever the collector is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import asynclog
from asynclog import JsonlFile, Pipeline, SettingError, Stats
from asynclog._logger.suppressed import MAX_KEYS
from asynclog.processors import RateLimit
from asynclog.testing import FailingSink, HangingSink, RecordingSink

COLLECTORS = ["thread", "process"]
PATIENCE = 15.0


def wait_for(condition: Callable[[], Any]) -> Any:
    """Return the first true result; fail when there is none for a long time."""
    deadline = time.monotonic() + PATIENCE
    while not (result := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
    return result


def balanced(stats: Stats) -> bool:
    """Say whether everything that was accepted is accounted for."""
    return stats.accepted == stats.written + sum(stats.dropped.values()) + stats.waiting


def records(run_dir: Path, event: str) -> list[dict[str, Any]]:
    """Return the records of a run that have a name."""
    lines = (run_dir / "events.jsonl").read_bytes().splitlines()
    return [record for record in map(json.loads, lines) if record["event"] == event]


@contextmanager
def program(script: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run a program beside the test; it ends when its standard input does."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        with process:
            yield process
            assert process.stdin is not None
            process.stdin.close()
            assert process.wait(PATIENCE) == 0
    finally:
        process.kill()


def heard(process: subprocess.Popen[str]) -> Any:
    """Return what a program says next."""
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


# What the counters are


@pytest.mark.parametrize("collector", COLLECTORS)
def test_counters_after_a_flush(run_dir: Path, collector: Any) -> None:
    """After a flush the counters are exact, with the collector in a thread or a process."""
    before = time.time()
    with asynclog.running(run_dir, sinks=[JsonlFile()], collector=collector):
        for number in range(100):
            asynclog.get_logger().info("x", number=number)
        assert asynclog.flush_sync()
        for stats in (asynclog.stats(), asynclog.stats("process")):
            assert stats.accepted == stats.written == 100
            assert stats.waiting == 0
            assert stats.dropped == {}
            assert stats.sinks == {}
            assert stats.ring_bytes == 4 << 20
            assert stats.ring_used == 0
            assert stats.rings == 1
            assert stats.collector == collector
            assert (stats.collector_pid == os.getpid()) is (collector == "thread")
            assert stats.heartbeat is not None
            assert stats.last_write is not None
            assert before <= stats.last_write <= time.time()
            assert before <= stats.heartbeat <= time.time()
        pid = asynclog.stats().collector_pid
        assert pid is not None
        os.kill(pid, 0)


def test_before_the_start(run_dir: Path) -> None:
    """What is logged before the start waits in a ring, and is counted with the rest afterwards."""
    asynclog.get_logger().warning("early")
    stats = asynclog.stats()
    assert stats[:4] == (1, 0, {}, 1)
    assert stats.collector == "none"
    assert stats.collector_pid is stats.heartbeat is stats.last_write is None
    assert 0 < stats.ring_used < stats.ring_bytes == 256 * 1024
    with asynclog.running(run_dir, sinks=[JsonlFile()]):
        assert asynclog.flush_sync()
        assert asynclog.stats()[:4] == (1, 1, {}, 0)


@pytest.mark.parametrize("collector", COLLECTORS)
@pytest.mark.parametrize("scope", ["run", "process"])
def test_after_the_stop(run_dir: Path, scope: Any, collector: Any) -> None:
    """After the stop the counters stay as they were; late calls go on being counted."""
    log = asynclog.get_logger()
    with asynclog.running(run_dir, sinks=[JsonlFile(), asynclog.TextFile()], collector=collector):
        log.info("x")
    stats = asynclog.stats(scope)
    assert stats[:4] == (1, 1, {}, 0)
    assert stats.sinks["text"].written == 1
    assert stats.sinks["text"].waiting_bytes == 0
    assert stats.ring_bytes == stats.ring_used == stats.rings == 0
    assert stats.collector == "none"
    assert stats.collector_pid is stats.heartbeat is None
    log.info("late")
    stats = asynclog.stats(scope)
    assert stats[:4] == (2, 1, {"stopped": 1}, 0)
    assert balanced(stats)


def test_a_second_start_counts_anew(run_dir: Path) -> None:
    """The counters are those of the run that goes on."""
    for count in (3, 5):
        with asynclog.running(run_dir, sinks=[JsonlFile()]):
            for _ in range(count):
                asynclog.get_logger().info("x")
        assert asynclog.stats().accepted == asynclog.stats("process").accepted == count


def test_counters_never_go_back_at_the_stop(run_dir: Path) -> None:
    """Whoever asks while the pipeline stops gets no smaller counters than before."""
    pipeline = Pipeline(run_dir, sinks=[JsonlFile()])
    seen: dict[Any, list[tuple[int, int]]] = {"run": [], "process": []}
    ended = threading.Event()

    def ask() -> None:
        while not ended.is_set():
            for scope, counts in seen.items():
                stats = pipeline.stats(scope)
                counts.append((stats.accepted, stats.written))

    with pipeline:
        thread = threading.Thread(target=ask)
        thread.start()
        for number in range(20_000):
            pipeline.get_logger().info("x", number=number)
    wait_for(lambda: all(counts[-1:] == [(20_000, 20_000)] for counts in seen.values()))
    ended.set()
    thread.join()
    for counts in seen.values():
        for number in (0, 1):
            column = [count[number] for count in counts]
            assert column == sorted(column)


def test_unknown_scope() -> None:
    """A scope that does not exist is an error that says what there is."""
    with pytest.raises(SettingError, match="scope must be 'run' or 'process', got: 'node'"):
        asynclog.stats("node")  # type: ignore[arg-type]


def test_the_fullest_the_ring_has_been(run_dir: Path) -> None:
    """ring_peak is the largest share in use, and stays when the ring is empty again, and gone."""
    with asynclog.running(run_dir, sinks=[JsonlFile()], ring_size="64 KiB", linger="1 min"):
        assert asynclog.flush_sync()
        for _ in range(100):
            asynclog.get_logger().info("x" * 100)
        assert asynclog.flush_sync()
        stats = asynclog.stats()
        expected = (run_dir / "events.jsonl").stat().st_size / stats.ring_bytes
        assert stats.ring_used == 0
        assert stats.ring_peak == asynclog.stats("process").ring_peak == expected
    assert asynclog.stats().ring_peak == expected


def test_a_pipeline_without_a_file_counts_what_it_hands_on(run_dir: Path) -> None:
    """Lines that come while the collector counts are counted once."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        pipeline = Pipeline(
            run_dir, sinks=[RecordingSink()], linger="1 ms", overflow_timeout="10 s"
        )
        with pipeline:

            def work() -> None:
                for number in range(5_000):
                    pipeline.get_logger().info("x", number=number)

            threads = [threading.Thread(target=work) for _ in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert pipeline.flush_sync()
            stats = pipeline.stats()
            assert stats[:4] == (15_000, 15_000, {}, 0)
            assert stats.last_write is None
    finally:
        sys.setswitchinterval(interval)


# Sinks


def test_a_sink_that_hangs(run_dir: Path) -> None:
    """What waits for a sink is seen while it waits."""
    with HangingSink() as sink:
        pipeline = Pipeline(run_dir, sinks=[JsonlFile(), sink])
        with pipeline:
            pipeline.get_logger().info("x" * 1000)
            sink.wait_until_hanging_sync()
            hanging = pipeline.stats().sinks["hanging"]
            assert hanging.written == 0
            assert hanging.waiting_bytes > 1000
            sink.release()
            assert pipeline.flush_sync()
            assert pipeline.stats().sinks["hanging"] == (1, {}, 0, False, None)


def test_a_sink_that_fails(run_dir: Path) -> None:
    """The class of a sink's error is told, never its text, and that it is left alone."""
    sink = FailingSink(ConnectionError("postgres://user:secret@host refused"), times=5)
    pipeline = Pipeline(run_dir, sinks=[JsonlFile(), sink])
    with pipeline:
        log = pipeline.get_logger()
        log.info("x")
        assert pipeline.flush_sync()
        assert pipeline.stats().sinks["failing"] == (0, {"failed": 1}, 0, False, "ConnectionError")
        for _ in range(4):
            log.info("x")
            assert pipeline.flush_sync()
        stats = pipeline.stats().sinks["failing"]
        assert stats == (0, {"failed": 5}, 0, True, "ConnectionError")

        def works_again() -> bool:
            log.info("x")
            return pipeline.flush_sync() and pipeline.stats().sinks["failing"].written > 0

        wait_for(works_again)
        stats = pipeline.stats().sinks["failing"]
        assert not stats.suspended
        assert stats.error is None
    assert "secret" not in repr(pipeline.stats())


# Several processes

GUEST = """
    import json, sys, asynclog
    with asynclog.running(sys.argv[1], sinks=[asynclog.JsonlFile(), asynclog.TextFile()]):
        for _ in range(int(sys.argv[2])):
            asynclog.get_logger().info("x")
        asynclog.flush_sync()
        print(json.dumps([asynclog.stats(scope)._asdict() for scope in ("run", "process")]))
        sys.stdout.flush()
        sys.stdin.read()
    print(json.dumps([asynclog.stats(scope)._asdict() for scope in ("run", "process")]))
"""


def test_a_process_that_another_one_collects_for(run_dir: Path) -> None:
    """It tells the counters of the run, and its own ones, which add up to those."""
    with asynclog.running(run_dir, sinks=[JsonlFile(), asynclog.TextFile()]):
        for _ in range(10):
            asynclog.get_logger().info("x")
        with program(GUEST, run_dir, 7) as guest:
            run, own = heard(guest)
            assert run["accepted"] == run["written"] == 17
            assert own["accepted"] == own["written"] == 7
            assert run["rings"] == 2
            assert run["collector"] == own["collector"] == "elsewhere"
            assert run["collector_pid"] == own["collector_pid"] == os.getpid()
            assert run["heartbeat"] <= time.time()
            assert run["sinks"]["text"][0] == 17
            assert own["sinks"] == {}
            mine = asynclog.stats("process")
            assert (mine.accepted, mine.written, mine.rings) == (10, 10, 1)
            assert mine.sinks["text"].written == 17
            assert asynclog.stats().accepted == 17
            assert guest.stdin is not None
            guest.stdin.close()
            run, own = heard(guest)
            assert run["accepted"] == 17
            assert own["accepted"] == own["written"] == 7
        wait_for(lambda: asynclog.stats().rings == 1)
        assert asynclog.stats().accepted == asynclog.stats().written == 17
        assert asynclog.stats("process").accepted == 10


@pytest.mark.parametrize("collector", COLLECTORS)
def test_a_forked_child(run_dir: Path, collector: Any) -> None:
    """It tells the counters of the run, and its own ones."""
    with asynclog.running(run_dir, sinks=[JsonlFile()], collector=collector):
        asynclog.get_logger().info("parent")
        assert asynclog.flush_sync()
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            try:
                for _ in range(3):
                    asynclog.get_logger().info("child")
                asynclog.flush_sync()
                told = [asynclog.stats("run")[:4], asynclog.stats("process")[:4]]
                told.append([asynclog.stats().rings, asynclog.stats().collector])
                os.write(writing, json.dumps(told).encode())
            finally:
                os._exit(0)
        os.close(writing)
        os.waitpid(child, 0)
        with open(reading) as pipe:
            told = json.load(pipe)
        assert told == [[4, 4, {}, 0], [3, 3, {}, 0], [2, "elsewhere"]]
        wait_for(lambda: asynclog.stats().rings == 1)
        assert asynclog.stats()[:4] == (4, 4, {}, 0)
        assert asynclog.stats("process")[:4] == (1, 1, {}, 0)


def test_counters_never_go_back_when_processes_end(run_dir: Path) -> None:
    """The ring of a process that has ended goes; what it has counted stays, at every instant."""
    seen: list[int] = []
    ended = threading.Event()

    def ask() -> None:
        while not ended.is_set():
            seen.append(asynclog.stats().accepted)

    with asynclog.running(run_dir, sinks=[JsonlFile()]):
        for _ in range(10):
            child = os.fork()
            if not child:
                for _ in range(100):
                    asynclog.get_logger().info("child")
                os._exit(0)
            os.waitpid(child, 0)
        thread = threading.Thread(target=ask)
        thread.start()
        # a ring that has not been found yet is no ring of the run, either
        wait_for(lambda: asynclog.stats().accepted == 1000 and asynclog.stats().rings == 1)
        ended.set()
        thread.join()
    assert seen == sorted(seen)
    assert seen[-1] <= 1000


def test_a_next_collector_goes_on_counting(
    run_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """When the collector is killed, the one that follows knows what is in no ring any more."""
    options: Any = {"sinks": [JsonlFile()], "collector": "process", "stats_interval": "1 s"}
    with asynclog.running(run_dir, **options):
        for _ in range(5):
            asynclog.get_logger().info("parent")
        child = os.fork()
        if not child:
            for _ in range(100):
                asynclog.get_logger().info("child")
            os._exit(0)
        os.waitpid(child, 0)
        wait_for(lambda: asynclog.stats().accepted == 105 and asynclog.stats().rings == 1)
        wait_for(lambda: records(run_dir, "asynclog.stats"))
        first = asynclog.stats().collector_pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        for _ in range(50):
            asynclog.get_logger().error("parent")
        wait_for(lambda: asynclog.stats().collector_pid not in (first, None))
        assert asynclog.flush_sync()
        # Neither that the child's ring is gone nor the first collector's notes make a difference.
        assert asynclog.stats()[:4] == (155, 155, {}, 0)
        assert asynclog.stats("process")[:4] == (55, 55, {}, 0)
    assert asynclog.stats().accepted == 155
    assert capfd.readouterr().err == ""


def test_a_stopped_collector_is_seen_by_its_heartbeat(run_dir: Path) -> None:
    """The heartbeat of a collector that stands still grows old, and asking it waits for nothing."""
    with asynclog.running(run_dir, sinks=[JsonlFile()], collector="process"):
        pid = wait_for(lambda: asynclog.stats().collector_pid)
        os.kill(pid, signal.SIGSTOP)
        try:
            asynclog.get_logger().info("x")
            wait_for(lambda: time.time() - (asynclog.stats().heartbeat or 0.0) > 2.0)
            assert asynclog.stats("process").waiting == 1
        finally:
            os.kill(pid, signal.SIGCONT)
        wait_for(lambda: time.time() - (asynclog.stats().heartbeat or 0.0) < 1.5)
        assert asynclog.flush_sync()
        assert asynclog.stats("process").waiting == 0


# The periodic record


@pytest.mark.parametrize("collector", COLLECTORS)
def test_records_of_the_counters(run_dir: Path, collector: Any) -> None:
    """With stats_interval the counters are written now and then, and once more at the end."""
    options: Any = {"collector": collector, "stats_interval": 1}
    with asynclog.running(run_dir, sinks=[JsonlFile(), asynclog.TextFile()], **options):
        log = asynclog.get_logger()
        log.info("x")
        wait_for(lambda: len(records(run_dir, "asynclog.stats")) >= 2)
        log.info("x")
        pid = asynclog.stats().collector_pid
    found = records(run_dir, "asynclog.stats")
    last = found[-1]
    assert list(last)[:5] == ["timestamp", "kind", "level", "event", "logger"]
    assert (last["kind"], last["level"], last["logger"]) == ("note", "info", "asynclog")
    assert last["quiet"] is True
    assert last["pid"] == pid
    assert (last["accepted"], last["written"], last["dropped"], last["waiting"]) == (2, 2, {}, 0)
    assert last["ring_peak"] >= 0
    sink = last["sinks"]["text"]
    assert set(sink) == {"written", "dropped", "waiting_bytes", "suspended", "error"}
    assert [record["accepted"] for record in found[:-1]] == [1] * (len(found) - 1)
    # They are no events of the run themselves.
    assert asynclog.stats().accepted == 2
    assert asynclog.stats().sinks["text"].written == 2 + len(found)


def test_no_records_of_the_counters_by_default(run_dir: Path) -> None:
    """Nobody gets records they did not ask for."""
    with asynclog.running(run_dir, sinks=[JsonlFile()]):
        asynclog.get_logger().info("x")
    assert records(run_dir, "asynclog.stats") == []


def test_the_interval_from_outside(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ASYNCLOG_STATS_INTERVAL asks for the records, too: at the least one at the end."""
    monkeypatch.setenv("ASYNCLOG_STATS_INTERVAL", "30 s")
    with asynclog.running(run_dir, sinks=[JsonlFile()]):
        asynclog.get_logger().info("x")
    assert [record["written"] for record in records(run_dir, "asynclog.stats")] == [1]


@pytest.mark.parametrize("value", [0, 0.5, "500 ms", "often", True, -1])
def test_an_interval_that_breaks_its_rule(run_dir: Path, value: Any) -> None:
    """An interval is a length of time of at least a second."""
    with pytest.raises(SettingError, match="stats_interval must be"):
        Pipeline(run_dir, stats_interval=value)


# What processors have held back


class HoldsBack:
    """A processor that tells at the end what it has held back."""

    def __init__(self, *pairs: tuple[Any, int], error: Exception | None = None) -> None:
        self.pairs = list(pairs)
        self.error = error

    def __call__(self, logger: Any, method_name: str, event_dict: Any) -> Any:
        """Let everything through."""
        return event_dict

    def take_unreported(self) -> list[tuple[Any, int]]:
        """Return the pairs once, or raise."""
        if self.error is not None:
            raise self.error
        pairs, self.pairs = self.pairs, []
        return pairs


def test_what_a_rate_limit_has_held_back(run_dir: Path) -> None:
    """With those that the records told, and those at the end, every record is accounted for."""
    processors = [RateLimit(every=10, key="event")]
    with asynclog.running(run_dir, sinks=[JsonlFile()], processors=processors):
        for _ in range(25):
            asynclog.get_logger().info("x")
    passed = records(run_dir, "x")
    assert [record.get("suppressed", 0) for record in passed] == [0, 9, 9]
    [record] = records(run_dir, "asynclog.suppressed")
    assert record["suppressed"] == {"x": 4}
    # Records that a processor drops are not accepted; the last one is a record like any other.
    assert asynclog.stats()[:4] == (4, 4, {}, 0)


def test_what_was_held_back_is_told_at_the_end(run_dir: Path) -> None:
    """Of several processors, by key; once."""
    processors = [HoldsBack(("a", 2), ("b", 1)), HoldsBack(("a", 5), ("c", 0))]
    for _ in range(2):
        with asynclog.running(run_dir, sinks=[JsonlFile()], processors=processors):
            asynclog.get_logger().info("x")
    [record] = records(run_dir, "asynclog.suppressed")
    assert list(record)[:5] == ["timestamp", "kind", "level", "event", "logger"]
    assert (record["kind"], record["level"], record["logger"]) == ("note", "info", "asynclog")
    assert record["suppressed"] == {"a": 7, "b": 1}
    assert record["total"] == 8
    assert record["pid"] == os.getpid()


def test_what_was_held_back_is_bounded(run_dir: Path) -> None:
    """However many keys and however long, one record tells the largest and the sum."""
    pairs = [(f"{number:05}" * 200, number) for number in range(10_000)]
    with asynclog.running(run_dir, sinks=[JsonlFile()], processors=[HoldsBack(*pairs)]):
        pass
    [record] = records(run_dir, "asynclog.suppressed")
    assert list(record["suppressed"].values()) == [*range(9_999, 9_999 - MAX_KEYS, -1)]
    assert record["total"] == sum(range(10_000))
    assert record["keys_left_out"] == 9_999 - MAX_KEYS


def test_a_processor_that_fails_at_the_end(
    run_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It is named on stderr and stops nothing."""
    processors = [HoldsBack(error=RuntimeError("secret")), HoldsBack(("a", 1))]
    with asynclog.running(run_dir, sinks=[JsonlFile()], processors=processors) as run:
        asynclog.get_logger().info("x")
    assert run.report is not None
    assert run.report.written == 2
    error = "asynclog: what HoldsBack has held back is not known: RuntimeError\n"
    assert capfd.readouterr().err == error
    assert records(run_dir, "asynclog.suppressed")[0]["suppressed"] == {"a": 1}


def test_what_was_held_back_is_told_by_a_program_that_forgets_to_stop(run_dir: Path) -> None:
    """By the one that collects, and by one that another process collects for."""
    script = """
        import sys, asynclog
        class HoldsBack:
            def __call__(self, logger, method_name, event_dict):
                return event_dict
            def take_unreported(self):
                return [(sys.argv[2], 3)]
        asynclog.start_sync(sys.argv[1], sinks=[asynclog.JsonlFile()], processors=[HoldsBack()])
        print("true", flush=True)
        sys.stdin.read()
    """
    with program(script, run_dir, "host") as host:
        assert heard(host)
        with program(script, run_dir, "guest") as guest:
            assert heard(guest)
    found = records(run_dir, "asynclog.suppressed")
    assert [record["suppressed"] for record in found] == [{"guest": 3}, {"host": 3}]
