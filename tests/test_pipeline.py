"""A pipeline from start to stop: on every loop, from every thread, through every trouble."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
import structlog

import asynclog
from asynclog import JsonlFile, Pipeline, Report, SettingError
from asynclog.collector.recovery import recover
from asynclog.intake.spool import Spool
from asynclog.sinks.rotation import RotatingFile
from asynclog.typing import Batch

from .ticks import ticks

COLLECTORS = ["thread", "process"]


def events_in(run_dir: Path, name: str = "events.jsonl") -> list[dict[str, Any]]:
    """Return the events of a run, rotated files included, oldest first."""

    def age(path: Path) -> int:
        return int(path.suffix[1:]) if path.suffix[1:].isdigit() else 0

    events: list[dict[str, Any]] = []
    for path in sorted(run_dir.glob(f"{name}*"), key=age, reverse=True):
        events += [json.loads(line) for line in path.read_bytes().splitlines()]
    return events


def balanced(report: Report) -> bool:
    """Say whether everything that was accepted is accounted for."""
    return report.accepted == report.written + sum(report.dropped.values())


def run_script(script: str, run_dir: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a program that logs; its first argument is the run directory."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script), str(run_dir)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        **options,
    )


@pytest.mark.anyio
@pytest.mark.parametrize("collector", COLLECTORS)
async def test_what_is_logged_is_in_the_file(run_dir: Path, collector: Any) -> None:
    """The main job: start, log with structlog, flush, stop; each event once, in order."""
    await asynclog.start(run_dir, sinks=[JsonlFile()], collector=collector)
    log = structlog.get_logger("app").bind(request_id=7)
    for number in range(100):
        log.info("handled", number=number)
    await log.ainfo("stored", rows=512)
    assert await asynclog.flush()
    events = events_in(run_dir)
    assert [event.get("number") for event in events[:100]] == list(range(100))
    assert events[0]["event"] == "handled"
    assert events[0]["request_id"] == 7
    assert events[0]["logger"] == "app"
    assert events[100]["rows"] == 512
    report = await asynclog.stop()
    assert report == Report(101, 101, {}, {}, run_dir)
    assert len(events_in(run_dir)) == 101


@pytest.mark.anyio
async def test_two_loops_and_threads_share_a_pipeline(run_dir: Path) -> None:
    """asyncio in one thread, trio in another, plain threads: one file, order kept per source."""
    per_source = 2000

    async def on_loop(name: str) -> None:
        log = asynclog.get_logger(name)
        for number in range(per_source):
            if number % 2:
                log.info("sync", n=number)
            else:
                await log.ainfo("async", n=number)
            if number % 100 == 0:
                await anyio.lowlevel.checkpoint()

    def plain(name: str) -> None:
        log = asynclog.get_logger(name)
        for number in range(per_source):
            log.info("plain", n=number)

    works: list[Callable[[], Any]] = [
        lambda: anyio.run(on_loop, "asyncio"),
        lambda: anyio.run(on_loop, "trio", backend="trio"),
        lambda: plain("plain-1"),
        lambda: plain("plain-2"),
    ]
    async with asynclog.running(run_dir, sinks=[JsonlFile()], overflow_timeout="10 s") as run:
        threads = [threading.Thread(target=work) for work in works]
        for thread in threads:
            thread.start()
        await on_loop("mine")
        for thread in threads:
            await anyio.to_thread.run_sync(thread.join)
    assert run.report is not None
    assert run.report.accepted == run.report.written == 5 * per_source
    by_source: dict[str, list[int]] = {}
    for event in events_in(run_dir):
        by_source.setdefault(event["logger"], []).append(event["n"])
    assert set(by_source) == {"asyncio", "trio", "plain-1", "plain-2", "mine"}
    assert all(numbers == list(range(per_source)) for numbers in by_source.values())


def test_two_pipelines_do_not_mix(tmp_path: Path) -> None:
    """Two experiments in one process have their own files, levels and reports."""
    one = Pipeline(tmp_path / "one", sinks=[JsonlFile()], level="DEBUG")
    two = Pipeline(tmp_path / "two", sinks=[JsonlFile()], level="ERROR")
    with one, two:
        for pipeline in (one, two):
            log = pipeline.get_logger("x")
            log.debug("low")
            log.error("high")
    assert [event["event"] for event in events_in(tmp_path / "one")] == ["low", "high"]
    assert [event["event"] for event in events_in(tmp_path / "two")] == ["high"]
    assert one.stop_sync().written == 2
    assert two.stop_sync().written == 1


def test_early_events_come_out_after_the_start(run_dir: Path) -> None:
    """A logger made and used before start() loses nothing."""
    log = asynclog.get_logger("early")
    log.warning("before", n=0)
    with asynclog.running(run_dir, sinks=[JsonlFile()]):
        log.warning("after", n=1)
    assert [event["n"] for event in events_in(run_dir)] == [0, 1]


def test_never_started_shows_on_stderr(run_dir: Path) -> None:
    """Records of a program that never starts a pipeline are shown when it ends."""
    done = run_script(
        "import asynclog; asynclog.get_logger('x').warning('is anybody there', n=1)", run_dir
    )
    assert done.returncode == 0
    assert "is anybody there" in done.stderr
    assert "n=1" in done.stderr


@pytest.mark.parametrize("collector", COLLECTORS)
def test_the_end_of_the_process_flushes(run_dir: Path, collector: str) -> None:
    """A program that forgets stop(), or dies of an exception, leaves a complete file."""
    done = run_script(
        f"""
        import sys, asynclog
        asynclog.start_sync(sys.argv[1], sinks=[asynclog.JsonlFile()], collector={collector!r})
        log = asynclog.get_logger()
        for n in range(5000):
            log.info("x", n=n)
        raise SystemExit(3)
        """,
        run_dir,
    )
    assert done.returncode == 3, done.stderr
    assert not done.stderr
    assert [event["n"] for event in events_in(run_dir)] == list(range(5000))


def test_records_of_late_exit_functions_and_finalisers(run_dir: Path) -> None:
    """What at-exit functions before and after ours log is written or counted."""
    done = run_script(
        """
        import atexit, sys
        def late():
            import asynclog
            asynclog.get_logger().warning("registered before the import", n=2)
        atexit.register(late)
        import asynclog
        asynclog.start_sync(sys.argv[1], sinks=[asynclog.JsonlFile()])
        atexit.register(lambda: asynclog.get_logger().warning("registered last", n=1))
        asynclog.get_logger().warning("main", n=0)
        """,
        run_dir,
    )
    assert done.returncode == 0, done.stderr
    assert [event["n"] for event in events_in(run_dir)] == [0, 1, 2]


class Hanging:
    """A sink whose write never returns until it is released."""

    name = "hanging"

    def __init__(self) -> None:
        self.release = threading.Event()

    def write_blocking(self, batch: Batch) -> None:
        """Hang."""
        self.release.wait()


class Raising:
    """A sink that always fails."""

    name = "raising"

    async def write(self, batch: Batch) -> None:
        """Fail."""
        raise ConnectionError("the backend is gone")


class Recording:
    """A sink that keeps what it gets."""

    name = "recording"

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    async def write(self, batch: Batch) -> None:
        """Keep."""
        self.events += batch.events


def test_a_hung_sink_hurts_nobody_else(run_dir: Path) -> None:
    """Other sinks get everything, stop() is in time, and what it did not take is counted."""
    hanging, recording = Hanging(), Recording()
    asynclog.start_sync(
        run_dir, sinks=[JsonlFile(), hanging, recording], stop_timeout="300 ms", overflow="wait"
    )
    log = asynclog.get_logger()
    for number in range(1000):
        log.info("x", n=number)
    start = time.monotonic()
    report = asynclog.stop_sync()
    assert time.monotonic() - start < 60
    hanging.release.set()
    assert balanced(report)
    assert report.written == 1000
    assert len(recording.events) == 1000
    assert report.sinks["recording"] == (1000, {})
    assert report.sinks["hanging"] == (0, {"abandoned": 1000})


def test_a_hung_sink_does_not_keep_the_process(run_dir: Path) -> None:
    """The interpreter exits within two seconds although a vendor's call never returns."""
    start = time.monotonic()
    done = run_script(
        """
        import sys, threading, asynclog
        class Hanging:
            def write_blocking(self, batch):
                threading.Event().wait()
        asynclog.start_sync(sys.argv[1], sinks=[asynclog.JsonlFile(), Hanging()])
        asynclog.get_logger().info("x")
        """,
        run_dir,
    )
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - start < 60, "start of the interpreter included"
    assert len(events_in(run_dir)) == 1


def test_a_raising_sink_is_suspended_and_counted(
    run_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Every line it did not take is counted, and the trouble is said at most once a second."""
    asynclog.start_sync(run_dir, sinks=[JsonlFile(), Raising()], linger="1 ms")
    log = asynclog.get_logger()
    for number in range(30):
        log.info("x", n=number)
        assert asynclog.flush_sync()
    report = asynclog.stop_sync()
    assert balanced(report)
    taken, dropped = report.sinks["raising"]
    notes = [event for event in events_in(run_dir) if event.get("kind") == "note"]
    assert taken == 0
    assert sum(dropped.values()) >= 30
    assert dropped["failed"] == 5, "then it was left alone"
    assert capfd.readouterr().err.count("the backend is gone") <= 2
    assert [event for event in notes if event["event"] == "asynclog.dropped"]


def test_a_flood_is_dropped_counted_and_noted(run_dir: Path) -> None:
    """With overflow="drop" nobody waits; the difference is reported and stands in the file."""
    asynclog.start_sync(run_dir, sinks=[JsonlFile()], overflow="drop", ring_size="64 KiB")
    log = asynclog.get_logger()
    for number in range(50_000):
        log.info("x", n=number)
    assert asynclog.flush_sync()
    report = asynclog.stop_sync()
    assert balanced(report)
    assert report.accepted == 50_000
    events = events_in(run_dir)
    assert len([event for event in events if event["event"] == "x"]) == report.written
    if report.dropped:
        noted = [event for event in events if event["event"] == "asynclog.dropped"]
        assert sum(event["dropped"]["full"] for event in noted) == report.dropped["full"]


def test_a_signal_handler_at_one_kilohertz(run_dir: Path) -> None:
    """A handler that logs between any two instructions: no deadlock, nothing lost."""
    handled = 0
    # Room for everything: a handler that interrupts a wait for room would drop, by design.
    asynclog.start_sync(run_dir, sinks=[JsonlFile()], ring_size="16 MiB")
    log = asynclog.get_logger()

    def handler() -> None:
        nonlocal handled
        # first: on a slow machine the next signal comes while this one logs
        number, handled = handled, handled + 1
        log.warning("signal", n=number)

    with ticks(handler):
        for number in range(20_000):
            log.info("main", n=number)
    report = asynclog.stop_sync()
    assert balanced(report)
    assert not report.dropped
    events = events_in(run_dir)
    assert [e["n"] for e in events if e["event"] == "main"] == list(range(20_000))
    assert sorted(e["n"] for e in events if e["event"] == "signal") == list(range(handled))
    assert handled > 10


def test_logging_from_finalisers_and_from_inside_a_sink(run_dir: Path) -> None:
    """Neither __del__ nor a sink that logs deadlocks or loses anything."""
    log = asynclog.get_logger("deep")

    class Garbage:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            log.info("finalised")

    class Chatty:
        def __init__(self) -> None:
            self.said = 0

        async def write(self, batch: Batch) -> None:
            # Its own words come back to it: talk about others' only, or never end.
            if any(event["event"] == "finalised" for event in batch.events):
                self.said += 1
                log.info("sink at work")

    chatty = Chatty()
    asynclog.start_sync(run_dir, sinks=[JsonlFile(), chatty])
    for _ in range(2000):
        Garbage()
    import gc

    gc.collect()
    assert asynclog.flush_sync()
    report = asynclog.stop_sync()
    assert balanced(report)
    assert not report.dropped
    events = [event["event"] for event in events_in(run_dir)]
    assert events.count("finalised") == 2000
    assert events.count("sink at work") == chatty.said > 0


def test_stop_during_a_burst(run_dir: Path) -> None:
    """Threads go on while stop() runs: what was accepted is written, what came later is counted."""
    stop = threading.Event()
    calls = [0] * 3
    asynclog.start_sync(run_dir, sinks=[JsonlFile()])

    def work(index: int) -> None:
        log = asynclog.get_logger()
        while not stop.is_set():
            log.info("x", source=index, n=calls[index])
            calls[index] += 1

    threads = [threading.Thread(target=work, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    while min(calls) < 1000:
        time.sleep(0.001)
    report = asynclog.stop_sync()
    stop.set()
    for thread in threads:
        thread.join()
    after = asynclog.stats()
    assert balanced(report)
    assert len(events_in(run_dir)) == report.written
    assert report.accepted + after.dropped.get("stopped", 0) == sum(calls)


@pytest.mark.slow
def test_a_thousand_starts_and_stops(tmp_path: Path, spool_dir: Path) -> None:
    """No thread, descriptor or file in shared memory is left behind (the fixtures look, too)."""
    pipeline = Pipeline(
        tmp_path / "run", sinks=[JsonlFile()], ring_size="64 KiB", stop_timeout="60 s"
    )
    log = pipeline.get_logger()
    cycles = 1000
    for number in range(cycles):
        pipeline.start_sync()
        log.info("x", n=number)
        assert pipeline.stop_sync().written == 1
    assert [event["n"] for event in events_in(tmp_path / "run")] == list(range(cycles))
    assert [path for path in spool_dir.rglob("*") if path.is_file()] == []


def test_stop_twice_and_start_twice(run_dir: Path) -> None:
    """Both are idempotent; other settings while it runs are refused with what to do."""
    asynclog.start_sync(run_dir, sinks=[JsonlFile()])
    asynclog.start_sync(run_dir, sinks=[JsonlFile()])
    with pytest.raises(asynclog.AlreadyStartedError, match="stop it first"):
        asynclog.start_sync(run_dir / "other", sinks=[JsonlFile()])
    asynclog.get_logger().info("x")
    report = asynclog.stop_sync()
    assert report.written == 1
    assert asynclog.stop_sync() == report


def test_starts_and_stops_from_many_threads(tmp_path: Path) -> None:
    """Threads that start, log and stop at the same time: every record is accounted for."""
    pipeline = Pipeline(tmp_path / "run", sinks=[JsonlFile()])
    log = pipeline.get_logger()

    def work(name: int) -> None:
        for number in range(20):
            pipeline.start_sync()
            log.info("x", thread=name, n=number)
            assert balanced(pipeline.stop_sync())

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pipeline.stop_sync()
    written = len(events_in(tmp_path / "run"))
    assert written + pipeline.stats().dropped.get("stopped", 0) == 80


def test_two_machines_on_one_run_directory(
    run_dir: Path, spool_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Collectors that cannot see each other's shared memory write files of their own."""
    here = Pipeline(run_dir, sinks=[JsonlFile()])
    (spool_dir / "elsewhere").mkdir()
    there = Pipeline(run_dir, sinks=[JsonlFile()], spool_dir=spool_dir / "elsewhere")
    with here, there:
        here.get_logger().info("here")
        there.get_logger().info("there")
    files = {path.name: path.read_text() for path in run_dir.iterdir()}
    (other,) = set(files) - {"events.jsonl"}
    assert '"here"' in files["events.jsonl"]
    assert '"there"' in files[other]
    assert str(os.getpid()) in other
    assert "we cannot see" in capfd.readouterr().err


def bad_settings(tmp_path: Path) -> Sequence[tuple[dict[str, Any], str, str]]:
    """Return settings, what the error names, and the value it shows."""
    return [
        ({"colour": "red"}, "known name", "colour"),
        ({"ring_size": -1}, "ring_size", "-1"),
        ({"ring_size": "12 parsecs"}, "ring_size", "12 parsecs"),
        ({"ring_size": "1 TB"}, "between 64 KiB and 1 GiB", "1 TB"),
        ({"level": "LOUD"}, "level", "LOUD"),
        ({"levels": {"httpx": "LOUD"}}, "httpx", "LOUD"),
        ({"overflow": "explode"}, "'wait', 'drop'", "explode"),
        ({"linger": "soon"}, "linger", "soon"),
        ({"collector": "cloud"}, "'auto', 'thread', 'process'", "cloud"),
        ({"sinks": "events.jsonl"}, "list of sinks", "events.jsonl"),
        ({"sinks": [object()]}, "sinks", "object"),
        ({"sinks": [JsonlFile]}, "sinks", "JsonlFile"),
        ({"sinks": [Recording()], "collector": "process"}, "declarations", "Recording"),
        ({"max_event_bytes": "10 MiB"}, "eighth of the smallest ring", "10 MiB"),
        ({"max_event_bytes": 3}, "max_event_bytes", "3"),
    ]


def test_bad_settings_fail_at_start_and_leave_nothing(tmp_path: Path, spool_dir: Path) -> None:
    """The error names setting, rule and value, and nothing half-started remains."""
    for options, rule, value in bad_settings(tmp_path):
        with pytest.raises(SettingError) as caught:
            asynclog.start_sync(tmp_path / "run", **options)
        assert rule in str(caught.value)
        assert value in str(caught.value)
        assert not (tmp_path / "run").exists()
    assert list(spool_dir.iterdir()) == []


@pytest.mark.parametrize("collector", COLLECTORS)
def test_a_directory_that_cannot_be_written(
    tmp_path: Path, spool_dir: Path, collector: Any
) -> None:
    """A file in the place of the run directory, or of the events file, fails the start."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError, match="run_dir must be a directory"):
        asynclog.start_sync(tmp_path / "file", sinks=[JsonlFile()], collector=collector)
    (tmp_path / "run" / "events.jsonl").mkdir(parents=True)
    with pytest.raises((OSError, asynclog.AsynclogError)):
        asynclog.start_sync(tmp_path / "run", sinks=[JsonlFile()], collector=collector)
    assert [path for path in spool_dir.rglob("*") if path.is_file()] == []
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["events.jsonl"]
    asynclog.start_sync(tmp_path / "good", sinks=[JsonlFile()], collector=collector)
    assert asynclog.stop_sync().accepted == 0


def test_a_sink_that_cannot_be_opened_fails_the_start(run_dir: Path, spool_dir: Path) -> None:
    """The error is the sink's own, sinks that were open are closed, and nothing is left."""

    class Opened(Recording):
        closed = False

        async def close(self) -> None:
            self.closed = True

    class Broken(Recording):
        def open(self, run: Any) -> None:
            raise ConnectionError("no such backend")

    opened = Opened()
    with pytest.raises(ConnectionError, match="no such backend"):
        asynclog.start_sync(run_dir, sinks=[JsonlFile(), opened, Broken()])
    assert opened.closed
    assert [path for path in spool_dir.rglob("*") if path.is_file()] == []
    asynclog.get_logger().info("kept for the next start")
    asynclog.start_sync(run_dir, sinks=[JsonlFile()])
    assert asynclog.stop_sync().written == 1


def test_a_run_directory_that_disappears_comes_back(run_dir: Path) -> None:
    """Somebody removes the directory: it is made again, and only what was in it is gone."""
    asynclog.start_sync(run_dir, sinks=[JsonlFile()])
    log = asynclog.get_logger()
    log.info("first")
    assert asynclog.flush_sync()
    for path in run_dir.iterdir():
        path.unlink()
    run_dir.rmdir()
    log.info("second")
    assert asynclog.flush_sync()
    assert [event["event"] for event in events_in(run_dir)] == ["second"]
    report = asynclog.stop_sync()
    assert balanced(report)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
@pytest.mark.root
def test_a_full_disk_that_is_freed(tmp_path: Path) -> None:
    """Nothing is lost until the ring is full, then counted; writing resumes by itself."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1M", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mount is not allowed here")
    try:
        (disk / "ballast").write_bytes(b"x" * 900_000)
        asynclog.start_sync(disk / "run", sinks=[JsonlFile()], ring_size="256 KiB")
        log = asynclog.get_logger()
        for number in range(4000):
            log.info("a line that takes some room on a small disk", n=number)
        (disk / "ballast").unlink()
        assert asynclog.flush_sync()
        log.info("after", n=-1)
        report = asynclog.stop_sync()
        assert balanced(report)
        assert report.dropped
        events = [event for event in events_in(disk / "run") if "n" in event]
        assert len(events) == report.written
        assert events[-1]["n"] == -1
        numbers = [event["n"] for event in events[:-1]]
        assert numbers == sorted(set(numbers))
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_disk_that_hangs(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Callers go on while the ring has room, stop() is in time, and nothing is lost or doubled."""
    frozen, thawed = threading.Event(), threading.Event()
    append = RotatingFile.append

    def append_to_frozen_disk(file: RotatingFile, pieces: Any) -> None:
        frozen.set()
        assert thawed.wait(30)
        append(file, pieces)

    asynclog.start_sync(run_dir, sinks=[JsonlFile()], stop_timeout="200 ms")
    monkeypatch.setattr(RotatingFile, "append", append_to_frozen_disk)
    log = asynclog.get_logger()
    log.info("x", n=0)
    assert frozen.wait(60)
    slowest = 0.0
    for number in range(1, 1000):
        start = time.monotonic()
        log.info("x", n=number)
        slowest = max(slowest, time.monotonic() - start)
    assert slowest < 10
    start = time.monotonic()
    report = asynclog.stop_sync()
    assert time.monotonic() - start < 60
    assert report.dropped == {"unwritten": 1000}
    assert balanced(report)
    thawed.set()
    deadline = time.monotonic() + 60
    while recover(run_dir).collected_elsewhere:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert [event["n"] for event in events_in(run_dir)] == list(range(1000))


def test_an_unlinked_ring_is_made_anew(run_dir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """systemd's RemoveIPC, or a tidy colleague: said once, and nothing is lost."""
    asynclog.start_sync(run_dir, sinks=[JsonlFile()])
    log = asynclog.get_logger()
    log.info("x", n=0)
    spool = Spool(run_dir, Path(os.environ["ASYNCLOG_SPOOL_DIR"]))
    (old,) = spool.rings()
    old.unlink()
    deadline = time.monotonic() + 60
    while spool.rings() in ([], [old]):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    log.info("x", n=1)
    report = asynclog.stop_sync()
    assert [event["n"] for event in events_in(run_dir)] == [0, 1]
    assert report.written == 2
    assert capfd.readouterr().err.count("made anew") == 1


@pytest.mark.parametrize("collector", COLLECTORS)
def test_a_child_logs_on_into_an_unlinked_ring(run_dir: Path, collector: Any) -> None:
    """The collector has it open as long as the child lives: nothing is lost."""
    asynclog.start_sync(run_dir, sinks=[JsonlFile()], collector=collector)
    log = asynclog.get_logger()
    log.info("parent")
    ready, is_ready = os.pipe()
    go, goes = os.pipe()
    child = os.fork()
    if not child:
        log.info("child", n=0)
        os.write(is_ready, b".")
        os.read(go, 1)
        for n in range(1, 100):
            log.info("child", n=n)
        os._exit(0)
    os.read(ready, 1)
    assert asynclog.flush_sync()
    for path in Spool(run_dir, Path(os.environ["ASYNCLOG_SPOOL_DIR"])).rings():
        path.unlink()
    seen = asynclog.stats().heartbeat
    assert seen is not None
    deadline = time.monotonic() + 60
    # by then the collector has looked more than once who lives
    while (asynclog.stats().heartbeat or 0) < seen + 1:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.write(goes, b".")
    for descriptor in (ready, is_ready, go, goes):
        os.close(descriptor)
    assert os.waitpid(child, 0)[1] == 0
    report = asynclog.stop_sync()
    assert [event["n"] for event in events_in(run_dir) if "n" in event] == list(range(100))
    assert report.accepted == report.written == 101


@pytest.mark.parametrize("collector", COLLECTORS)
def test_forked_children_join(run_dir: Path, collector: Any) -> None:
    """A forked child's records arrive, although it ends without a word."""
    asynclog.start_sync(run_dir, sinks=[JsonlFile()], collector=collector)
    log = asynclog.get_logger()
    log.info("parent", n=0)
    children = []
    for number in range(8):
        child = os.fork()
        if not child:
            for n in range(50):
                log.info("child", child=number, n=n)
            os._exit(0)
        children.append(child)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
    report = asynclog.stop_sync()
    events = events_in(run_dir)
    assert report.written == len(events) == 401
    for number in range(8):
        assert [e["n"] for e in events if e.get("child") == number] == list(range(50))


def test_a_forked_child_stops_before_it_logs(run_dir: Path) -> None:
    """What it logs afterwards is counted as after any stop, and does not get into the run."""
    asynclog.start_sync(run_dir, sinks=[JsonlFile()])
    child = os.fork()
    if not child:
        report = asynclog.stop_sync()
        same = asynclog.stop_sync() == report
        asynclog.get_logger().info("late")
        stats = asynclog.stats("process")
        counted = (stats.accepted, stats.dropped) == (1, {"stopped": 1})
        os._exit(not (same and counted))
    assert os.waitpid(child, 0)[1] == 0
    asynclog.stop_sync()
    assert events_in(run_dir) == []


def test_a_forked_child_starts_after_it_has_logged(run_dir: Path) -> None:
    """What it flushes then is all that it has logged, before the start as well."""
    asynclog.start_sync(run_dir, sinks=[JsonlFile()], linger="2 s", stop_timeout="1 min")
    child = os.fork()
    if not child:
        asynclog.get_logger().info("child", n=0)
        asynclog.start_sync()
        flushed = asynclog.flush_sync(60)
        written = [event["n"] for event in events_in(run_dir)]
        asynclog.stop_sync()
        os._exit(not (flushed and written == [0]))
    assert os.waitpid(child, 0)[1] == 0
    assert asynclog.stop_sync().written == 1


def test_a_second_process_on_the_run_takes_over(run_dir: Path) -> None:
    """The first process collects for both; when it is killed, the second one goes on."""
    script = """
        import sys, time, asynclog
        asynclog.start_sync(sys.argv[1], sinks=[asynclog.JsonlFile()])
        asynclog.get_logger().info("first")
        print("ready", flush=True)
        time.sleep(60)
        """
    first = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(run_dir)], stdout=subprocess.PIPE
    )
    try:
        assert first.stdout is not None
        assert first.stdout.readline() == b"ready\n"
        asynclog.start_sync(run_dir, sinks=[JsonlFile()])
        log = asynclog.get_logger()
        log.info("second", n=0)
        assert asynclog.flush_sync()
        assert sorted(e["event"] for e in events_in(run_dir)) == ["first", "second"]
        first.kill()
        first.wait()
        for number in range(1, 1000):
            log.info("second", n=number)
        assert asynclog.flush_sync()
        report = asynclog.stop_sync()
    finally:
        first.kill()
        first.communicate()
    assert balanced(report)
    events = events_in(run_dir)
    assert [e["n"] for e in events if e["event"] == "second"] == list(range(1000))
    assert [e["event"] for e in events].count("first") == 1


@pytest.mark.anyio
async def test_cancelled_start_flush_and_stop(run_dir: Path) -> None:
    """Cancelled in the middle, each has either happened or can be done again."""
    for _ in range(5):
        with anyio.CancelScope() as scope:
            scope.cancel()
            await asynclog.start(run_dir, sinks=[JsonlFile()])
        asynclog.start_sync(run_dir, sinks=[JsonlFile()])
        asynclog.get_logger().info("x")
        with anyio.CancelScope() as scope:
            scope.cancel()
            await asynclog.flush()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await asynclog.stop()
        assert balanced(asynclog.stop_sync())
    assert len(events_in(run_dir)) == 5


def test_stats_name_what_waits(run_dir: Path) -> None:
    """Counters while it runs: what was accepted is written, dropped, or waits."""
    with asynclog.running(run_dir, sinks=[JsonlFile()]):
        log = asynclog.get_logger()
        for _ in range(1000):
            log.info("x")
        stats = asynclog.stats()
        assert stats.accepted == 1000
        assert stats.accepted >= stats.written
        assert asynclog.flush_sync()
        stats = asynclog.stats()
        assert (stats.accepted, stats.written, stats.waiting) == (1000, 1000, 0)
        assert stats.ring_bytes == 4 << 20


def test_sinks_that_another_collector_does_not_have_are_named(
    run_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whoever joins a run with sinks that its collector was started without is told so."""
    code = (
        "import asynclog, sys\n"
        "sinks = [asynclog.JsonlFile(), asynclog.TextFile('more.log')]\n"
        "with asynclog.running(sys.argv[1], sinks=sinks):\n"
        "    asynclog.get_logger().info('x')\n"
    )
    with asynclog.running(run_dir, sinks=[JsonlFile()]):
        asynclog.get_logger().info("first")
        assert asynclog.flush_sync()
        subprocess.run([sys.executable, "-c", code, str(run_dir)], check=True)
    assert "sinks not used: text; process" in capfd.readouterr().err
