"""The test doubles that users get: they keep what is written, and misbehave on request."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from pathlib import Path

import anyio
import pytest
import structlog

import asynclog
from asynclog.testing import (
    FailingSink,
    HangingSink,
    RecordingSink,
    SlowSink,
    capture_events,
)

pytest_plugins = ["pytester"]


class TestRecordingSink:
    """It keeps events and lets tests wait for them."""

    def test_it_keeps_what_was_written(self, run_dir: Path):
        """Events, lines, the run and the life cycle can be looked at."""
        sink = RecordingSink()
        with asynclog.running(run_dir, sinks=[sink]):
            asynclog.get_logger("app").bind(a=1).info("hello", b=2)
            asynclog.get_logger("app").warning("world")
            first, second = sink.wait_for_sync(2)
            assert not sink.closed
        assert (first["event"], first["a"], first["b"], first["level"]) == ("hello", 1, 2, "info")
        assert second["event"] == "world"
        assert [line[:1] + line[-1:] for line in sink.lines] == [b"{}", b"{}"]
        assert [run.directory for run in sink.runs] == [run_dir]
        assert sink.closed

    @pytest.mark.anyio
    async def test_it_can_be_awaited(self, run_dir: Path):
        """Waiting on an event loop leaves the loop free."""
        sink = RecordingSink()
        async with asynclog.running(run_dir, sinks=[sink]), anyio.create_task_group() as group:

            async def later() -> None:
                asynclog.get_logger().info("later")

            group.start_soon(later)
            events = await sink.wait_for(1)
        assert [event["event"] for event in events] == ["later"]

    @pytest.mark.anyio
    async def test_waiting_in_vain_says_what_came(self):
        """The error names how many came, of how many, and which."""
        sink = RecordingSink()
        await sink.write(batch(b'{"event":"one"}\n{"event":"one"}\n'))
        with pytest.raises(TimeoutError, match=r"2 of 3 events after 0.01 s: 'one' x 2"):
            await sink.wait_for(3, timeout=0.01)
        with pytest.raises(TimeoutError, match="2 of 3"):
            sink.wait_for_sync(3, timeout=0.01)

    @pytest.mark.anyio
    async def test_clear(self):
        """After clear() it starts anew."""
        sink = RecordingSink()
        await sink.write(batch(b'{"event":"one"}\n'))
        sink.clear()
        assert (sink.events, sink.lines) == ([], [])


def batch(raw: bytes):
    """Return a batch as the collector makes them."""
    from asynclog.collector.batch import Batch

    return Batch(raw)


class TestMisbehaving:
    """Slow, failing and hanging sinks do what their name says, and nothing is uncounted."""

    def test_slow(self, run_dir: Path):
        """A slow sink gets everything in the end."""
        sink = SlowSink(0.005)
        with asynclog.running(run_dir, sinks=[sink]):
            log = asynclog.get_logger()
            for number in range(100):
                log.info("slow", number=number)
            assert asynclog.flush_sync(5)
        assert [event["number"] for event in sink.events] == list(range(100))

    def test_failing_for_a_while(self, run_dir: Path, capfd: pytest.CaptureFixture[str]):
        """A sink that fails once loses that write, counted, and then works."""
        sink = FailingSink(RuntimeError("no"), times=1)
        asynclog.start_sync(run_dir, sinks=[sink])
        asynclog.get_logger().info("first")
        asynclog.flush_sync(5)
        asynclog.get_logger().info("second")
        report = asynclog.stop_sync()
        assert "first" not in [event["event"] for event in sink.events]
        assert "second" in [event["event"] for event in sink.events]
        assert sink.failures == 1
        assert report.sinks["failing"].dropped == {"failed": 1}
        assert "no" in capfd.readouterr().err

    def test_hanging(self, run_dir: Path):
        """A hanging sink holds its write until it is released."""
        with HangingSink() as sink, asynclog.running(run_dir, sinks=[sink]):
            asynclog.get_logger().info("stuck")
            sink.wait_until_hanging_sync()
            assert sink.events == []
            sink.release()
            assert [event["event"] for event in sink.wait_for_sync(1)] == ["stuck"]

    @pytest.mark.anyio
    async def test_hanging_can_be_awaited(self, run_dir: Path):
        """Waiting for the hang on an event loop works, and in vain it raises."""
        with HangingSink() as sink:
            with pytest.raises(TimeoutError, match="nothing was written"):
                await sink.wait_until_hanging(0.01)
            async with asynclog.running(run_dir, sinks=[sink]):
                asynclog.get_logger().info("stuck")
                await sink.wait_until_hanging()
                sink.release()


class TestCaptureEvents:
    """It collects events as a file would have had them, without a pipeline that runs."""

    def test_events_are_there_at_once(self):
        """Fields, bound context, level and logger name come as JSON keeps them."""
        with capture_events() as events:
            log = asynclog.get_logger("app").bind(a=(1, 2))
            log.debug("first", x=float("nan"))
            log.error("second %d", 7)
        assert [event.pop("timestamp")[:2] for event in events] == ["20", "20"]
        assert events == [
            {"level": "debug", "event": "first", "logger": "app", "a": [1, 2], "x": "NaN"},
            {"level": "error", "event": "second 7", "logger": "app", "a": [1, 2]},
        ]

    def test_structlog_is_captured_unless_configured_and_after(self):
        """Module-level loggers of structlog are captured in every block, and free in between."""
        log = structlog.get_logger()
        for _ in range(2):
            with capture_events() as events:
                log.info("hello")
            assert [event["event"] for event in events] == ["hello"]
            assert not structlog.is_configured()

    def test_a_users_configuration_is_used_and_comes_back(self):
        """What the user gave to structlog.configure runs in the block and is there after it."""

        def shout(_logger: object, _name: str, event: structlog.typing.EventDict):
            event["event"] = event["event"].upper()
            return event

        structlog.configure(processors=[shout, structlog.processors.JSONRenderer()])
        before = structlog.get_config()
        with capture_events() as events:
            structlog.get_logger().info("hello", a=1)
        assert [(event["event"], event["a"]) for event in events] == [("HELLO", 1)]
        assert structlog.get_config() == before

    def test_levels(self):
        """The level holds for the block; with None the pipeline's own stays."""
        log = asynclog.get_logger("app")
        with capture_events("WARNING") as events:
            log.info("no")
            log.warning("yes")
        assert [event["event"] for event in events] == ["yes"]
        with capture_events(None) as events:
            log.debug("no")
            log.info("yes")
        assert [event["event"] for event in events] == ["yes"]
        with pytest.raises(asynclog.SettingError, match="level must be"), capture_events("LOUD"):
            pass

    def test_it_takes_what_a_running_pipeline_would_get(self, run_dir: Path):
        """Captured events go nowhere else; later ones go where they should."""
        sink = RecordingSink()
        with asynclog.running(run_dir, sinks=[sink], processors=[]):
            log = asynclog.get_logger()
            with capture_events() as events:
                log.info("captured")
            log.info("sent")
            sink.wait_for_sync(1)
        assert [event["event"] for event in events] == ["captured"]
        assert [event["event"] for event in sink.events] == ["sent"]

    def test_blocks_can_be_nested_and_end_with_an_exception(self):
        """The innermost block collects; after an exception all is as before."""
        log = asynclog.get_logger()
        with capture_events() as outer:
            with contextlib.suppress(KeyError), capture_events() as inner:
                log.info("inner")
                raise KeyError
            log.info("outer")
        assert [event["event"] for event in inner] == ["inner"]
        assert [event["event"] for event in outer] == ["outer"]

    def test_from_other_threads_and_pipelines(self, run_dir: Path):
        """Threads are captured too; a pipeline of one's own is captured when it is named."""
        pipeline = asynclog.Pipeline(run_dir)
        log = pipeline.get_logger()
        with capture_events(pipeline=pipeline) as events:
            thread = threading.Thread(target=log.info, args=("from a thread",))
            thread.start()
            thread.join()
            asynclog.get_logger().debug("of the default pipeline")
        assert [event["event"] for event in events] == ["from a thread"]

    @pytest.mark.anyio
    async def test_the_waiting_methods_are_captured(self):
        """Their events come like the others."""
        with capture_events() as events:
            await asynclog.get_logger().ainfo("waited")
        assert [event["event"] for event in events] == ["waited"]


def test_the_fixture(pytester: pytest.Pytester):
    """As a plugin the module gives a fixture with the events of the test."""
    pytester.makeconftest('pytest_plugins = ["asynclog.testing"]')
    pytester.makepyfile(
        """
        import structlog

        log = structlog.get_logger("app")

        def test_one(asynclog_events):
            log.info("hello", a=1)
            assert [(event["event"], event["a"]) for event in asynclog_events] == [("hello", 1)]

        def test_two(asynclog_events):
            log.debug("again")
            assert [event["event"] for event in asynclog_events] == ["again"]
        """
    )
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    done.assert_outcomes(passed=2)


def test_it_works_without_pytest():
    """The doubles can be imported where pytest is not installed."""
    code = (
        "import sys; sys.modules['pytest'] = None\n"
        "from asynclog.testing import RecordingSink, capture_events\n"
        "import asynclog.testing\n"
        "assert not hasattr(asynclog.testing, 'asynclog_events')"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)
