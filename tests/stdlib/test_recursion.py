"""No recursion: records that are made while records are made, stored or shown come to an end."""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

import asynclog
from asynclog import _complain, _own_threads
from asynclog.stdlib import Handler
from asynclog.stdlib import handler as handler_module
from asynclog.stdlib.nesting import MAX_DEPTH, MAX_NESTED
from asynclog.testing import RecordingSink, SlowSink


@pytest.fixture(autouse=True)
def _may_complain_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_complain, "_last", {})


def use_processor(processor: Any) -> None:
    """Put a processor before all others."""
    asynclog.testing.default_pipeline().loggers.processors.insert(0, processor)


# The collector's own threads


class ChattySink(RecordingSink):
    """A sink on the collector's loop that logs whatever it does, as vendors' libraries do."""

    name = "chatty"

    async def write(self, batch: Any) -> None:
        """Log at all levels, here and in a worker thread that anyio lends."""
        log_everything()
        await anyio.to_thread.run_sync(log_everything)
        await super().write(batch)


class ChattyBlockingSink(SlowSink):
    """The same in a thread of its own."""

    name = "chatty"

    def __init__(self) -> None:
        super().__init__(0.0)

    def write_blocking(self, batch: Any) -> None:
        """Log at all levels."""
        log_everything()
        super().write_blocking(batch)


def log_everything() -> None:
    """Log at all levels, in a way that is no valid format, too."""
    logger = logging.getLogger("vendor.upload")
    logger.debug("sending %d bytes", 1)
    logger.info("sent")
    logger.warning("slow:\n\x1b[31m%s", "https://me:s3cr3t@host/?token=s3cr3t")
    logger.error("%d", "no number")


@pytest.mark.parametrize("kind", [ChattySink, ChattyBlockingSink])
def test_sinks_that_log(
    root_handler: Handler, tmp_path: Path, kind: Any, capfd: pytest.CaptureFixture[str]
):
    """What sinks log is no event; warnings are shown on stderr, at most one a second."""
    # pytest's handlers would fail the sink for its bad format
    logging.getLogger().handlers[:] = [root_handler]
    sink = kind()
    with asynclog.running(tmp_path / "run", sinks=[sink], level="DEBUG"):
        log = logging.getLogger("app")
        for number in range(20):
            log.info("hello %d", number)
            asynclog.flush_sync()
        sink.wait_for_sync(20)
    assert [event["event"] for event in sink.events] == [f"hello {n}" for n in range(20)]
    shown = capfd.readouterr().err.splitlines()
    assert shown[0].startswith("asynclog: vendor.upload: slow:\\n\\x1b[31mhttps://me:")
    assert not any("s3cr3t" in line for line in shown)
    assert 1 <= len(shown) <= 4


def test_the_logger_loses_nothing_meanwhile(
    root_handler: Handler, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    """Other threads log through the same handler and logger while a sink does."""
    logging.getLogger().handlers[:] = [root_handler]
    sink = ChattySink()
    with asynclog.running(tmp_path / "run", sinks=[sink], level="DEBUG"):

        def work(worker: int) -> None:
            for number in range(200):
                logging.getLogger("vendor.upload").warning("%d.%d", worker, number)
                if number % 20 == 0:
                    asynclog.flush_sync()

        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(event["event"] for event in sink.events) == sorted(
        f"{worker}.{number}" for worker in range(4) for number in range(200)
    )
    capfd.readouterr()


class Store(BaseHTTPRequestHandler):
    """A server that takes logs."""

    bodies: list[bytes]

    def do_POST(self) -> None:
        """Take a batch."""
        self.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing on stderr."""


@pytest.fixture
def store() -> Iterator[tuple[str, list[bytes]]]:
    """Yield address and contents of a server that takes logs."""
    bodies: list[bytes] = []
    kind = type("Store", (Store,), {"bodies": bodies})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    server.daemon_threads = False
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/", bodies
    server.shutdown()
    thread.join()
    server.server_close()


class Uploader:
    """A sink that uploads with httpx, which logs each request."""

    name = "uploader"

    def __init__(self, url: str) -> None:
        self.url = url
        self.client: Any = None

    def open(self, run: Any) -> None:
        """Connect."""
        import httpx

        self.client = httpx.Client()

    def write_blocking(self, batch: Any) -> None:
        """Upload a batch."""
        self.client.post(self.url, content=batch.raw).raise_for_status()

    def close(self) -> None:
        """Disconnect."""
        self.client.close()


def test_a_sink_that_uploads(root_handler: Handler, tmp_path: Path, store: tuple[str, list[bytes]]):
    """The requests that carry the logs are not logged; those of the program are."""
    httpx = pytest.importorskip("httpx")
    url, bodies = store
    with asynclog.running(tmp_path / "run", sinks=[Uploader(url)], level="DEBUG"):
        logging.getLogger("app").info("hello")
        for _ in range(3):
            # what the upload logs would be in the next one
            asynclog.flush_sync()
        assert b"".join(bodies).count(b"\n") == 1
        with httpx.Client() as client:
            client.post(url, content=b"")
        asynclog.flush_sync()
    text = b"".join(bodies)
    assert text.count(b'"logger":"httpx"') == 1
    assert b'"event":"HTTP Request: POST ' in text


class Garbage:
    """Logs when it is collected; part of a cycle, so that only the garbage collector does that."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.me = self

    def __del__(self) -> None:
        logging.getLogger("app").error("collected %d", self.number)


class CollectingSink(RecordingSink):
    """A sink in whose thread the garbage collector happens to run."""

    name = "collecting"

    async def write(self, batch: Any) -> None:
        """Collect garbage."""
        gc.collect()
        log_everything()
        await super().write(batch)


def test_finalisers_that_happen_to_run_in_a_sink(
    root_handler: Handler, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    """The garbage collector runs anywhere: what the program's objects log then is an event."""
    logging.getLogger().handlers[:] = [root_handler]
    sink = CollectingSink()
    with asynclog.running(tmp_path / "run", sinks=[sink], level="DEBUG"):
        gc.disable()
        try:
            for number in range(3):
                Garbage(number)
            logging.getLogger("app").info("hello")
            events = sink.wait_for_sync(4)
        finally:
            gc.enable()
    assert sorted(event["event"] for event in events) == [
        "collected 0",
        "collected 1",
        "collected 2",
        "hello",
    ]
    capfd.readouterr()


def test_marks_end_with_their_thread():
    """A new thread is the program's, whatever number it gets."""
    seen: list[bool] = []

    def own() -> None:
        _own_threads.mark()
        seen.append(_own_threads.is_own())

    def other() -> None:
        seen.append(_own_threads.is_own())

    for function in (own, other):
        thread = threading.Thread(target=function)
        thread.start()
        thread.join()
    assert seen == [True, False]
    assert not _own_threads.is_own()


# Records within records on the program's threads


def test_nested_records(log: logging.Logger, events: list[dict[str, Any]]):
    """A processor that logs, three deep: all records are there, the innermost first."""

    def nest(_logger: Any, _method: str, event: Any) -> Any:
        depth = event.get("depth", 0)
        if depth < 3:
            log.info("inner", extra={"depth": depth + 1})
        return event

    use_processor(nest)
    log.info("outer", extra={"depth": 0})
    assert [event["depth"] for event in events] == [3, 2, 1, 0]


@pytest.mark.parametrize("times", [1, 2, 5])
def test_a_processor_that_always_logs(
    log: logging.Logger,
    events: list[dict[str, Any]],
    capfd: pytest.CaptureFixture[str],
    times: int,
):
    """It comes to an end, soon; the record itself and the next one are there, and it is said."""

    def chatter(_logger: Any, _method: str, event: Any) -> Any:
        for _ in range(times):
            log.info("again")
        return event

    use_processor(chatter)
    log.warning("outer")
    assert MAX_DEPTH <= len(events) <= MAX_NESTED + 1
    assert events[-1]["event"] == "outer"
    assert asynclog.stats().dropped["failed"] > 0
    shown = capfd.readouterr().err
    assert "left out a record of logger 'tests.stdlib'" in shown
    assert shown.count("\n") == 1
    asynclog.testing.default_pipeline().loggers.processors.pop(0)
    events.clear()
    log.warning("next")
    assert [event["event"] for event in events] == ["next"]


def test_our_loggers_and_those_of_logging_in_turns(
    log: logging.Logger, events: list[dict[str, Any]]
):
    """A processor that logs by both ways, a bounded number of times."""
    ours = asynclog.get_logger("ours")

    def both(_logger: Any, _method: str, event: Any) -> Any:
        if event["event"] == "outer":
            log.info("by logging")
            ours.info("by us")
        return event

    use_processor(both)
    log.info("outer")
    ours.info("outer")
    assert [event["event"] for event in events] == ["by logging", "by us", "outer"] * 2


class Loud:
    """Logs whenever it is shown."""

    def __init__(self, log: logging.Logger, deep: bool) -> None:
        self.log, self.deep = log, deep

    def __repr__(self) -> str:
        if self.deep:
            self.log.info("shown: %r", Loud(self.log, True))
        else:
            self.log.info("shown")
        return "Loud"

    __str__ = __repr__


def test_values_that_log(log: logging.Logger, events: list[dict[str, Any]]):
    """As argument and as field."""
    log.warning("outer %s", Loud(log, False), extra={"value": Loud(log, False)})
    assert [event["event"] for event in events] == ["shown", "shown", "outer Loud"]
    assert events[-1]["value"] == "Loud"


def test_values_that_log_values_that_log(
    log: logging.Logger, events: list[dict[str, Any]], capfd: pytest.CaptureFixture[str]
):
    """Without an end: it is found."""
    log.warning("outer %s", Loud(log, True))
    assert events[-1]["event"] == "outer Loud"
    assert len(events) <= MAX_NESTED + 1
    assert "left out a record" in capfd.readouterr().err


def test_a_lost_end(log: logging.Logger, events: list[dict[str, Any]]):
    """An exception from outside may keep a record's end from being noted: no thread suffers."""
    handler_module._nesting._depth = 1000
    log.info("hello")
    assert len(events) == 1
    assert handler_module._nesting._depth == 0


def test_a_factory_that_logs(log: logging.Logger, events: list[dict[str, Any]]):
    """A record factory and a filter that log, as long as they do not do so for ever."""
    made: list[str] = []
    before = logging.getLogRecordFactory()

    def factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
        if len(made) < 3:
            made.append("x")
            log.info("made")
        return before(*args, **kwargs)

    logging.setLogRecordFactory(factory)
    try:
        log.info("hello")
    finally:
        logging.setLogRecordFactory(before)
    assert [event["event"] for event in events] == ["made", "made", "made", "hello"]


@pytest.mark.parametrize("frames", [5, 20, 50, 100])
def test_near_the_end_of_the_stack(
    log: logging.Logger,
    events: list[dict[str, Any]],
    frames: int,
    capfd: pytest.CaptureFixture[str],
):
    """Where the stack has hardly any room left: at most RecursionError from logging itself."""

    def dive(dive: Callable[..., None]) -> None:
        try:
            dive(dive)
        except RecursionError:
            pass

    def down(depth: int) -> None:
        if depth:
            down(depth - 1)
            return
        log.info("deep")

    import inspect
    import sys

    room = sys.getrecursionlimit() - len(inspect.stack()) - frames
    try:
        down(room)
    except RecursionError:
        # logging's own frames had no room
        pass
    dive(dive)
    log.info("after")
    assert events[-1]["event"] == "after"
    capfd.readouterr()
