"""AccessLog: one event for each request, on asyncio and trio, whatever becomes of the request."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
import structlog

import asynclog
from asynclog.stdlib.asgi import AccessLog
from asynclog.testing import RecordingSink

httpx = pytest.importorskip("httpx")

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

pytestmark = pytest.mark.anyio

SCOPE: Message = {
    "type": "http",
    "http_version": "1.1",
    "method": "GET",
    "path": "/a b",
    "query_string": b"x=1",
    "headers": [],
    "client": ("10.0.0.1", 5),
}
START: Message = {"type": "http.response.start", "status": 200, "headers": []}
END: Message = {"type": "http.response.body", "body": b"ok"}


@asynccontextmanager
async def recording(run_dir: Path) -> AsyncIterator[RecordingSink]:
    """Run the pipeline with a sink that keeps what it gets."""
    sink = RecordingSink()
    async with asynclog.running(run_dir, sinks=[sink]):
        yield sink


async def hello(_scope: Message, _receive: Receive, send: Send) -> None:
    """Answer."""
    await send(START)
    await send({"type": "http.response.body", "body": b"hel", "more_body": True})
    await send({"type": "http.response.body", "body": b"lo"})


async def nothing(*_args: Any) -> Message:
    """Take a message, or give one."""
    return {"type": "http.request", "body": b"", "more_body": False}


def client(app: Any) -> Any:
    """Return a client that asks an app in the same task."""
    transport = httpx.ASGITransport(app, client=("10.0.0.1", 5))
    return httpx.AsyncClient(transport=transport, base_url="http://test")


async def test_an_event_for_each_request(run_dir: Path) -> None:
    """The event says who asked for what, how it ended, how long it took and how much was sent."""
    async with recording(run_dir) as sink:
        async with client(AccessLog(hello)) as http:
            answer = await http.get("/a%20b?x=%20", headers={"x-request-id": "r-1"})
        assert answer.text == "hello"
        assert answer.headers["x-request-id"] == "r-1"
        [event] = [each for each in await sink.wait_for(1) if each.get("logger") == "access"]
    assert event.pop("timestamp")
    assert 0 <= event.pop("duration_ms") < 10_000
    assert event == {
        "level": "info",
        "event": "request",
        "logger": "access",
        "request_id": "r-1",
        "client": "10.0.0.1:5",
        "method": "GET",
        "path": "/a%20b",
        "query": "x=%20",
        "http_version": "1.1",
        "status": 200,
        "bytes": 5,
    }


@pytest.mark.parametrize("given", [None, "", "two words", "é", "x" * 129, "line\x1b[31m"])
async def test_a_new_id_where_none_can_be_taken(run_dir: Path, given: str | None) -> None:
    """What is no decent id is not taken over; the response names the new one."""
    sent: list[Message] = []

    async def keep(message: Message) -> None:
        sent.append(message)

    headers = [] if given is None else [(b"x-request-id", given.encode("latin-1"))]
    async with recording(run_dir) as sink:
        await AccessLog(hello)({**SCOPE, "headers": headers}, nothing, keep)
        [event] = await sink.wait_for(1)
    assert len(event["request_id"]) == 32
    assert (b"x-request-id", event["request_id"].encode()) in sent[0]["headers"]
    assert START["headers"] == []


async def test_the_applications_own_header_stays(run_dir: Path) -> None:
    """An application that names the id itself is left alone; another header can be chosen."""

    async def app(_scope: Message, _receive: Receive, send: Send) -> None:
        await send({**START, "headers": [(b"X-Trace", b"mine")]})
        await send(END)

    async with recording(run_dir) as sink:
        async with client(AccessLog(app, header="X-Trace")) as http:
            answer = await http.get("/", headers={"x-trace": "theirs"})
        events = await sink.wait_for(1)
    assert answer.headers.get_list("x-trace") == ["mine"]
    assert [event["request_id"] for event in events if event.get("logger") == "access"] == [
        "theirs"
    ]


@pytest.mark.parametrize("header", ["", "two words", "x:y", 5, b"x"])
def test_the_header_must_be_a_name(header: Any) -> None:
    """What cannot be a header's name is refused at once."""
    with pytest.raises(asynclog.SettingError, match="header must be the name of a header"):
        AccessLog(hello, header=header)


async def test_everything_logged_for_a_request_names_it(run_dir: Path) -> None:
    """Tasks and threads started for a request log with its id; others, meanwhile, with theirs."""
    log = asynclog.get_logger("app")

    async def app(scope: Message, _receive: Receive, send: Send) -> None:
        number = scope["path"][1:]

        async def child() -> None:
            await anyio.lowlevel.checkpoint()
            log.info("task", number=number)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(child)
            await anyio.to_thread.run_sync(lambda: log.info("thread", number=number))
        log.info("handled", number=number)
        await send(START)
        await send(END)

    wrapped = AccessLog(app)

    async def ask(number: int) -> None:
        headers = [(b"x-request-id", f"id-{number}".encode())]
        await wrapped({**SCOPE, "path": f"/{number}", "headers": headers}, nothing, nothing)
        assert "request_id" not in structlog.contextvars.get_contextvars()

    async with recording(run_dir) as sink:
        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(ask, number)
        events = await sink.wait_for(80)
    assert len(events) == 80
    for event in events:
        assert event["request_id"] == f"id-{event.get('number') or event['path'][1:]}"


async def test_the_event_is_there_before_the_client_has_all(run_dir: Path) -> None:
    """The event is logged when the last part is handed to the server, not with those before."""
    seen: list[int] = []

    async with recording(run_dir) as sink:

        async def send(_message: Message) -> None:
            await asynclog.flush()
            seen.append(len(sink.events))

        await AccessLog(hello)(SCOPE, nothing, send)
        assert len(await sink.wait_for(1)) == 1
    assert seen == [0, 0, 1]


@pytest.mark.parametrize("started", [False, True])
async def test_an_exception(run_dir: Path, started: bool) -> None:
    """The exception is in the event, and goes on to the server."""

    async def app(_scope: Message, _receive: Receive, send: Send) -> None:
        if started:
            await send(START)
        raise ValueError("broken")

    async with recording(run_dir) as sink:
        with pytest.raises(ValueError, match="broken"):
            await AccessLog(app)(SCOPE, nothing, nothing)
        [event] = await sink.wait_for(1)
    assert event["level"] == "error"
    assert event["exception"]["type"] == "ValueError"
    assert event["exception"]["frames"][-1]["function"].endswith("app")
    assert event.get("status") == (200 if started else None)
    assert event["path"] == "/a%20b"


async def test_an_exception_after_the_response(run_dir: Path) -> None:
    """What fails after the response is the server's to log: there is one event."""

    async def app(_scope: Message, _receive: Receive, send: Send) -> None:
        await send(START)
        await send(END)
        raise ValueError("background")

    async with recording(run_dir) as sink:
        with pytest.raises(ValueError, match="background"):
            await AccessLog(app)(SCOPE, nothing, nothing)
        await asynclog.flush()
        [event] = sink.events
    assert event["level"] == "info"
    assert "exception" not in event


async def test_a_client_that_goes_away(run_dir: Path) -> None:
    """That the client is gone is seen when it is told, and when the server says so."""

    async def listens(_scope: Message, receive: Receive, send: Send) -> None:
        await send(START)
        assert (await receive())["type"] == "http.disconnect"

    async def streams(_scope: Message, _receive: Receive, send: Send) -> None:
        await send(START)
        await send({"type": "http.response.body", "body": b"x", "more_body": True})

    async def gone() -> Message:
        return {"type": "http.disconnect"}

    async def broken(message: Message) -> None:
        if message["type"] == "http.response.body":
            raise BrokenPipeError

    async with recording(run_dir) as sink:
        await AccessLog(listens)(SCOPE, gone, nothing)
        with pytest.raises(BrokenPipeError):
            await AccessLog(streams)(SCOPE, nothing, broken)
        first, second = await sink.wait_for(2)
    assert first["disconnected"] is second["disconnected"] is True
    assert (first["level"], first["bytes"]) == ("info", 0)
    assert (second["level"], second["bytes"]) == ("error", 1)


async def test_cancelled(run_dir: Path) -> None:
    """A request that the server cancels has its event; the cancellation goes on."""

    async def app(_scope: Message, _receive: Receive, send: Send) -> None:
        await send(START)
        await anyio.sleep_forever()

    async with recording(run_dir) as sink:
        with anyio.move_on_after(0.01) as scope:
            await AccessLog(app)(SCOPE, nothing, nothing)
        assert scope.cancelled_caught
        [event] = await sink.wait_for(1)
    assert (event["level"], event["cancelled"], event["status"]) == ("info", True, 200)


async def test_no_answer(run_dir: Path) -> None:
    """An application that returns without an answer has its event, without a status."""
    async with recording(run_dir) as sink:
        await AccessLog(nothing)(SCOPE, nothing, nothing)
        [event] = await sink.wait_for(1)
    assert "status" not in event


async def test_other_connections(run_dir: Path) -> None:
    """A websocket has its id bound and no event of its own; a lifespan is passed through."""
    seen: list[tuple[str, Any]] = []

    async def app(scope: Message, _receive: Receive, _send: Send) -> None:
        seen.append((scope["type"], structlog.contextvars.get_contextvars().get("request_id")))

    headers = [(b"x-request-id", b"w-1")]
    async with recording(run_dir) as sink:
        await AccessLog(app)({"type": "websocket", "headers": headers}, nothing, nothing)
        await AccessLog(app)({"type": "lifespan"}, nothing, nothing)
        await asynclog.flush()
        assert sink.events == []
    assert seen == [("websocket", "w-1"), ("lifespan", None)]


async def test_httpx_is_logged_as_well(run_dir: Path) -> None:
    """What httpx logs of its own request arrives once, beside the event of the request."""
    import logging

    from asynclog.stdlib import Handler

    logger = logging.getLogger("httpx")
    handler = Handler()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        async with recording(run_dir) as sink, client(AccessLog(hello)) as http:
            await http.get("/")
            events = await sink.wait_for(2)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
    assert sorted(event["logger"] for event in events) == ["access", "httpx"]
    [of_httpx] = [event for event in events if event["logger"] == "httpx"]
    assert of_httpx["event"].startswith("HTTP Request: GET http://test/")
