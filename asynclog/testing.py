"""Test doubles for sinks and a way to look at what was logged; owns no part of the pipeline.

The sinks are live objects: they go into ``sinks=[...]`` as they are and need the collector in a
thread (the default). With ``pytest_plugins = ["asynclog.testing"]`` in ``conftest.py`` tests have
the fixture ``asynclog_events``, which is :func:`capture_events` around the test::

    def test_failure_is_logged(asynclog_events):
        handle(broken_request)
        assert [event["event"] for event in asynclog_events] == ["request failed"]
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

import anyio
import structlog
from structlog.exceptions import DropEvent

from ._json import loads
from ._lifecycle import default_pipeline
from ._logger.system import configure_structlog
from .pipeline import Pipeline
from .typing import Batch, EventDict, Processor, Run

__all__ = ["FailingSink", "HangingSink", "RecordingSink", "SlowSink", "capture_events"]

DEFAULT_TIMEOUT: Final = 30.0
"""Seconds the ``wait_for`` methods wait: far beyond what a loaded machine needs."""
_LOOK_EVERY: Final = 0.002


class _Recorder:
    """What all sinks here share: they keep what was written, for any thread to look at.

    Attributes:
        runs: What the sink was told at each ``open``.
        flushes: How often it was flushed.
        closed: Whether it was closed after the last ``open``.
    """

    name = "recorder"

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self.flushes: int = 0
        self.closed: bool = False
        self._changed = threading.Condition()
        self._lines: list[bytes] = []
        self._events: list[dict[str, Any]] = []

    @property
    def lines(self) -> list[bytes]:
        """A copy of the lines written until now, without their line ends."""
        with self._changed:
            return self._lines.copy()

    @property
    def events(self) -> list[dict[str, Any]]:
        """A copy of the list of events written until now, parsed."""
        with self._changed:
            return self._events.copy()

    def clear(self) -> None:
        """Forget what was written until now."""
        with self._changed:
            self._lines.clear()
            self._events.clear()

    def wait_for_sync(self, number: int, timeout: float = DEFAULT_TIMEOUT) -> list[dict[str, Any]]:
        """Wait until at least ``number`` events were written; blocks the calling thread.

        Args:
            number: How many events, counted since the last :meth:`clear`.
            timeout: Seconds to wait at most.

        Returns:
            All events written until now.

        Raises:
            TimeoutError: There were fewer when the time was over.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._events) >= number, timeout):
                raise self._too_few(number, timeout)
            return self._events.copy()

    async def wait_for(self, number: int, timeout: float = DEFAULT_TIMEOUT) -> list[dict[str, Any]]:
        """Wait like :meth:`wait_for_sync`, without blocking the event loop."""
        deadline = time.monotonic() + timeout
        while len(events := self.events) < number:
            if time.monotonic() >= deadline:
                raise self._too_few(number, timeout)
            await anyio.sleep(_LOOK_EVERY)
        return events

    def _too_few(self, number: int, timeout: float) -> TimeoutError:
        texts = Counter(str(event.get("event")) for event in self._events)
        found = ", ".join(f"{text!r} x {count}" for text, count in texts.most_common(5))
        return TimeoutError(
            f"{len(self._events)} of {number} events after {timeout:g} s: {found or 'none'}"
        )

    def _open(self, run: Run) -> None:
        with self._changed:
            self.runs.append(run)
            self.closed = False

    def _record(self, batch: Batch) -> None:
        with self._changed:
            self._lines.extend(batch.lines)
            self._events.extend(batch.events)
            self._changed.notify_all()

    def _flush(self) -> None:
        with self._changed:
            self.flushes += 1

    def _close(self) -> None:
        with self._changed:
            self.closed = True


class _AsyncRecorder(_Recorder):
    """A recorder on the collector's event loop."""

    async def open(self, run: Run) -> None:
        """Note the run."""
        self._open(run)

    async def write(self, batch: Batch) -> None:
        """Keep the lines of the batch."""
        self._record(batch)

    async def flush(self) -> None:
        """Count the call."""
        self._flush()

    async def close(self) -> None:
        """Note that the sink is closed."""
        self._close()


class _BlockingRecorder(_Recorder):
    """A recorder in a thread of its own."""

    def open(self, run: Run) -> None:
        """Note the run."""
        self._open(run)

    def write_blocking(self, batch: Batch) -> None:
        """Keep the lines of the batch."""
        self._record(batch)

    def flush(self) -> None:
        """Count the call."""
        self._flush()

    def close(self) -> None:
        """Note that the sink is closed."""
        self._close()


class RecordingSink(_AsyncRecorder):
    """A sink that keeps everything in memory.

    Example::

        sink = RecordingSink()
        with asynclog.running(tmp_path, sinks=[sink]):
            asynclog.get_logger().info("hello", answer=42)
            [event] = sink.wait_for_sync(1)
        assert event["answer"] == 42

    Attributes:
        runs: What the sink was told at each ``open``.
        flushes: How often it was flushed.
        closed: Whether it was closed after the last ``open``.
    """

    name = "recording"


class SlowSink(_BlockingRecorder):
    """A sink that takes a while for each write, as a slow disk or server does; it records, too.

    Args:
        seconds: How long each write takes.
    """

    name = "slow"

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def write_blocking(self, batch: Batch) -> None:
        """Wait, then keep the lines of the batch."""
        time.sleep(self.seconds)
        self._record(batch)


class FailingSink(_AsyncRecorder):
    """A sink whose writes raise; when it has failed often enough it records.

    Args:
        exception: What each write raises.
        times: How many writes fail; all of them when not given.

    Attributes:
        failures: How many writes have raised.
    """

    name = "failing"

    def __init__(self, exception: Exception | None = None, times: int | None = None) -> None:
        super().__init__()
        self.exception: Exception = (
            OSError("the sink fails, as the test wants") if exception is None else exception
        )
        self.times = times
        self.failures: int = 0

    async def write(self, batch: Batch) -> None:
        """Raise, or keep the lines of the batch."""
        if self.times is None or self.failures < self.times:
            self.failures += 1
            raise self.exception
        self._record(batch)


class HangingSink(_BlockingRecorder):
    """A sink whose writes do not come back until it is released; then it records.

    Release it at the end of the test, or its thread stays: ``with HangingSink() as sink: ...``.
    """

    name = "hanging"

    def __init__(self) -> None:
        super().__init__()
        self._hanging = threading.Event()
        self._released = threading.Event()

    def __enter__(self) -> HangingSink:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def write_blocking(self, batch: Batch) -> None:
        """Hang until released, then keep the lines of the batch."""
        self._hanging.set()
        self._released.wait()
        self._record(batch)

    def release(self) -> None:
        """Let the write that hangs, and all later ones, go on."""
        self._released.set()

    def wait_until_hanging_sync(self, timeout: float = DEFAULT_TIMEOUT) -> None:
        """Wait until a write hangs; blocks the calling thread.

        Raises:
            TimeoutError: None did when the time was over.
        """
        if not self._hanging.wait(timeout):
            raise TimeoutError(f"nothing was written to the hanging sink in {timeout:g} s")

    async def wait_until_hanging(self, timeout: float = DEFAULT_TIMEOUT) -> None:
        """Wait like :meth:`wait_until_hanging_sync`, without blocking the event loop."""
        deadline = time.monotonic() + timeout
        while not self._hanging.is_set():
            if time.monotonic() >= deadline:
                raise TimeoutError(f"nothing was written to the hanging sink in {timeout:g} s")
            await anyio.sleep(_LOOK_EVERY)


@contextmanager
def capture_events(
    level: int | str | None = "DEBUG", *, pipeline: Pipeline | None = None
) -> Generator[list[dict[str, Any]], None, None]:
    """Collect what is logged inside the block, instead of sending it on its way.

    The events are what a file would have had: after all processors, with time stamp, level and
    logger name, every value as JSON keeps it. They are there as soon as the call returns, from
    every thread of this process; nothing needs to be started. Loggers of structlog are captured
    like those of :func:`asynclog.get_logger`; when nobody has configured structlog, that is done
    for the block.

    Args:
        level: Level for the block, of all loggers that have none by name; None leaves it alone.
        pipeline: Whose loggers; those of the default pipeline when not given.

    Yields:
        The list that grows with each event.

    Raises:
        SettingError: There is no such level.
    """
    system = (default_pipeline() if pipeline is None else pipeline).loggers
    levels = system.levels.levels()
    if level is not None:
        system.levels.set_level(None, level)
    chain = system.processors
    original = chain.copy()
    configured = structlog.is_configured()
    configuration = structlog.get_config()
    events: list[dict[str, Any]] = []
    try:
        if pipeline is None:
            configure_structlog(system)
            if not configured:
                # or module-level loggers would stay as they are now beyond the block
                structlog.configure(cache_logger_on_first_use=False)
        last = chain[-1]
        chain[-1] = _Capture(last.encode if isinstance(last, _Capture) else last, events)
        yield events
    finally:
        chain[:] = original
        if pipeline is None:
            if configured:
                structlog.configure(**configuration)
            else:
                structlog.reset_defaults()
        system.levels.replace(levels.pop(""), levels)


class _Capture:
    """Stands for the last processor: makes the line, keeps the event, drops the line."""

    __slots__ = ("encode", "events")

    def __init__(self, encode: Processor, events: list[dict[str, Any]]) -> None:
        self.encode = encode
        self.events = events

    def __call__(self, logger: Any, method_name: str, event_dict: EventDict) -> EventDict:
        line: Any = self.encode(logger, method_name, event_dict)
        self.events.append(loads(line))
        raise DropEvent


try:
    import pytest
except ImportError:
    pass
else:

    @pytest.fixture
    def asynclog_events() -> Generator[list[dict[str, Any]], None, None]:
        """What the test logs, as :func:`capture_events` collects it."""
        with capture_events() as events:
            yield events
