"""What real libraries log arrives as events with its fields, once each, from everywhere."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

import asynclog
from asynclog.stdlib import setup_logging
from asynclog.testing import RecordingSink

pytestmark = pytest.mark.usefixtures("root_handler")


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer every request; say who asked."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    logging.getLogger("app").info("asked", extra={"path": scope["path"]})
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def server(sink: RecordingSink) -> Iterator[str]:
    """Yield the address of a real uvicorn server whose loggers propagate."""
    uvicorn = pytest.importorskip("uvicorn")
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, loop="asyncio")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="uvicorn")
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(60)
    assert not thread.is_alive()


def of(events: list[dict[str, Any]], logger: str) -> list[dict[str, Any]]:
    """Return the events of a logger."""
    return [event for event in events if event.get("logger") == logger]


@pytest.mark.anyio
async def test_httpx_on_event_loops(server: str, sink: RecordingSink):
    """httpx's line for each request, from asyncio, uvloop and trio."""
    httpx = pytest.importorskip("httpx")
    async with httpx.AsyncClient() as client:
        for number in range(3):
            await client.get(f"{server}/{number}")
    await asynclog.flush()
    found = of(sink.events, "httpx")
    assert [event["event"] for event in found] == [
        f'HTTP Request: GET {server}/{number} "HTTP/1.1 200 OK"' for number in range(3)
    ]
    for event in found:
        assert event["level"] == "info"
        assert event["file"].endswith("httpx/_client.py")
        assert event["function"] == "_send_single_request"
        assert event["thread"] == "MainThread"
        assert event["line"] > 0


def test_httpx_in_threads(server: str, sink: RecordingSink):
    """From many threads at once: each request once, with its thread."""
    httpx = pytest.importorskip("httpx")

    def work(worker: int) -> None:
        with httpx.Client() as client:
            for number in range(10):
                client.get(f"{server}/{worker}/{number}")

    threads = [threading.Thread(target=work, args=(n,), name=f"worker-{n}") for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asynclog.flush_sync()
    found = Counter((event["thread"], event["event"]) for event in of(sink.events, "httpx"))
    assert found == Counter(
        (f"worker-{worker}", f'HTTP Request: GET {server}/{worker}/{n} "HTTP/1.1 200 OK"')
        for worker in range(4)
        for n in range(10)
    )


def test_uvicorn(server: str, sink: RecordingSink):
    """uvicorn's own loggers and its access log, and what the application logs in between."""
    httpx = pytest.importorskip("httpx")
    httpx.get(f"{server}/hello")
    asynclog.flush_sync()
    deadline = time.monotonic() + 60
    while not of(sink.events, "uvicorn.access") and time.monotonic() < deadline:
        asynclog.flush_sync()
    [access] = of(sink.events, "uvicorn.access")
    assert '"GET /hello HTTP/1.1" 200' in access["event"]
    [asked] = of(sink.events, "app")
    assert asked["path"] == "/hello"
    assert asked["thread"] == "uvicorn"
    texts = [event["event"] for event in of(sink.events, "uvicorn.error")]
    assert any(text.startswith("Started server process") for text in texts)
    assert any(text.startswith("Uvicorn running on http://127.0.0.1") for text in texts)
    assert not any("color_message" in event for event in sink.events)
    assert len(texts) == len(set(texts))


@pytest.mark.parametrize("use_uvloop", [False, True])
def test_asyncio_debug(sink: RecordingSink, use_uvloop: bool):
    """asyncio's note of a callback that took too long."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_debug(True)
        loop.slow_callback_duration = 0.02
        # blocking is the point
        loop.call_soon(time.sleep, 0.05)
        await asyncio.sleep(0.1)
        loop.set_debug(False)

    if use_uvloop:
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main())
    else:
        asyncio.run(main())
    asynclog.flush_sync()
    slow = [event for event in of(sink.events, "asyncio") if " took " in event["event"]]
    assert len(slow) == 1
    assert slow[0]["level"] == "warning"
    assert slow[0]["event"].startswith("Executing <")


def test_exceptions_nobody_retrieved(sink: RecordingSink):
    """asyncio logs the exception of a task that was thrown away, when it is collected."""

    async def fail() -> None:
        raise LookupError("lost")

    async def main() -> None:
        task = asyncio.create_task(fail())
        await asyncio.sleep(0.01)
        del task

    asyncio.run(main())
    asynclog.flush_sync()
    [event] = [event for event in of(sink.events, "asyncio") if event["level"] == "error"]
    assert event["event"].startswith("Task exception was never retrieved")
    assert event["exception"]["type"] == "LookupError"


@pytest.mark.anyio
async def test_logging_from_everywhere(sink: RecordingSink):
    """Tasks and the worker threads they wait for, at once: each record once."""
    log = logging.getLogger("everywhere")

    async def work(name: str) -> None:
        for number in range(50):
            log.info("task", extra={"who": name, "n": number})
            await anyio.lowlevel.checkpoint()
            await anyio.to_thread.run_sync(
                lambda number=number: log.info("thread", extra={"who": name, "n": number})
            )

    async with anyio.create_task_group() as tasks:
        for number in range(4):
            tasks.start_soon(work, f"task-{number}")
    await asynclog.flush()
    found = Counter(
        (event["event"], event["who"], event["n"]) for event in of(sink.events, "everywhere")
    )
    assert found == Counter(
        (event, f"task-{task}", n)
        for event in ("task", "thread")
        for task in range(4)
        for n in range(50)
    )


TORCH = """
import logging
import torch
from asynclog.stdlib import setup_logging
import asynclog

setup_logging(log_file="log.jsonl", use_json=True, logger_levels={"torch": "INFO"})
torch._logging.warning_once(logging.getLogger("torch.nn"), "only once")
torch._logging.warning_once(logging.getLogger("torch.nn"), "only once")
logging.getLogger("torch.distributed").info("hello %s", "x", extra={"a": 1})
torch.compile  # its logger is one of those that torch configures
logging.getLogger("torch._dynamo").warning("graph break")
# torch sets its loggers up anew whenever it is told to
torch._logging.set_logs(all=logging.INFO)
setup_logging(log_file="log.jsonl", use_json=True, logger_levels={"torch": "INFO"})
logging.getLogger("torch._inductor").warning("again")
"""


@pytest.mark.slow
def test_torch(run_python: Callable[..., Any], tmp_path: Path):
    """Torch's loggers have handlers of their own and do not propagate: set-up sees to that."""
    pytest.importorskip("torch")
    result = run_python(TORCH)
    text = (tmp_path / "log.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    expected = [
        ("torch.nn", "only once"),
        ("torch.distributed", "hello x"),
        ("torch._dynamo", "graph break"),
        ("torch._inductor", "again"),
    ]
    assert [(line["logger"], line["event"]) for line in lines[:4]] == expected
    assert lines[1]["a"] == 1
    # what torch says of its caches at exit, perhaps
    assert all(line["logger"].startswith("torch.") for line in lines[4:])
    # on the console the same, as JSON, and nothing else
    assert result.stderr == text


def test_a_library_with_a_console_of_its_own(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    """As torch, transformers and sqlalchemy do it: shown once, and in the file."""
    library = logging.getLogger("tests.library")
    library.addHandler(logging.StreamHandler())
    library.propagate = False
    other = logging.getLogger("tests.library.files")
    file = logging.FileHandler(tmp_path / "own.log")
    other.addHandler(file)
    other.propagate = False
    setup_logging(log_file=tmp_path / "log.jsonl")
    library.warning("hello")
    other.warning("in its own file only")
    asynclog.stop_sync()
    file.close()
    shown = capfd.readouterr().err
    assert shown.count("hello") == 1
    assert "WARNING - hello" in shown
    text = (tmp_path / "log.jsonl").read_text()
    assert text.count("hello") == 1
    assert "in its own file only" not in text
    assert (tmp_path / "own.log").read_text() == "in its own file only\n"
