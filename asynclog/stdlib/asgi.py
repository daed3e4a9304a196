"""AccessLog: an ASGI middleware that logs each request and binds what belongs to it.

Pure ASGI: works with every framework and server, on asyncio and trio.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final, TypeAlias
from urllib.parse import quote

import anyio
from structlog.contextvars import bound_contextvars

from .._lifecycle import get_logger
from .._logger.bound import BoundLogger
from ..exceptions import SettingError
from .access import EVENT

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
# each framework has types of its own for what it is called with
App: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]

LOGGER_NAME: Final = "access"
DEFAULT_HEADER: Final = "x-request-id"

# What a client may choose as an id: printable ASCII without spaces, not too long.
_ID: Final = re.compile(r"[!-~]{1,128}")


class AccessLog:
    """Logs one event ``request`` for each HTTP request, with how long it took.

    Put it outermost, around all other middleware. While a request is handled, ``request_id`` is
    bound by :mod:`structlog.contextvars`: every record that is made for it names it, in tasks and
    threads that it starts, too. So with websockets, which have no event of their own.

    The event is logged by logger ``access``, before the last part of the response is handed to
    the server: a client that has got a whole response finds its event in the log, whatever happens
    to the process then. Its fields are ``client``, ``method``, ``path`` (percent-encoded),
    ``query``, ``http_version``, ``status`` (missing if the application sent none), ``duration_ms``
    and ``bytes`` (of the body). It has the level info. If the application raises before that, the
    level is error and the exception is there; it goes on to the server. ``disconnected`` is true
    if the client was seen to go away, ``cancelled`` if the server cancelled the application.

    Args:
        app: The ASGI application.
        header: Header with the id of a request. One that the client sends is taken over, if it is
            printable ASCII without spaces, at most 128 characters; otherwise a new one is made.
            The response names it in the same header, unless the application does.

    Raises:
        SettingError: The header is no name of a header.
    """

    def __init__(self, app: App, header: str = DEFAULT_HEADER) -> None:
        # a user's setting, whatever the annotation says
        given: Any = header
        if not isinstance(given, str) or not given.replace("-", "").replace("_", "").isalnum():
            raise SettingError("header", "must be the name of a header", given)
        self._app = app
        self._header: bytes = header.lower().encode("ascii", "replace")
        self._log = get_logger(LOGGER_NAME)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection; see the ASGI specification."""
        kind = scope["type"]
        if kind not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope["headers"], self._header)
        with bound_contextvars(request_id=request_id):
            if kind == "websocket":
                await self._app(scope, receive, send)
                return
            named = (self._header, request_id.encode())
            request = _Request(self._log, scope, receive, send, named)
            try:
                await self._app(scope, request.receive, request.send)
            except Exception as error:
                request.log(error=error)
                raise
            except BaseException as error:
                if isinstance(error, anyio.get_cancelled_exc_class()):
                    request.log(cancelled=True)
                else:
                    request.log(error=error)
                raise
            request.log()


class _Request:
    """One request on its way; passes messages on and notes what they say.

    Args:
        log: Where its event goes.
        scope: Its connection scope.
        receive: The server's.
        send: The server's.
        named: Header that names the request's id.
    """

    __slots__ = (
        "_began",
        "_bytes",
        "_disconnected",
        "_log",
        "_logged",
        "_named",
        "_receive",
        "_scope",
        "_send",
        "_status",
    )

    def __init__(
        self,
        log: BoundLogger,
        scope: Scope,
        receive: Receive,
        send: Send,
        named: tuple[bytes, bytes],
    ) -> None:
        self._began = time.perf_counter()
        self._log = log
        self._scope = scope
        self._receive = receive
        self._send = send
        self._named = named
        self._status: int | None = None
        self._bytes = 0
        self._disconnected = False
        self._logged = False

    async def receive(self) -> Message:
        """Return the next message from the client."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._disconnected = True
        return message

    async def send(self, message: Message) -> None:
        """Send a message to the client."""
        kind = message["type"]
        if kind == "http.response.start":
            self._status = message["status"]
            message = self._with_name(message)
        elif kind == "http.response.body":
            self._bytes += len(message.get("body", b""))
            if not message.get("more_body", False):
                self.log()
        try:
            await self._send(message)
        except OSError:
            # how servers tell that the client is gone
            self._disconnected = True
            raise

    def log(self, *, error: BaseException | None = None, cancelled: bool = False) -> None:
        """Log the event, the first time only."""
        if self._logged:
            return
        self._logged = True
        scope = self._scope
        fields: dict[str, Any] = {}
        client: Any = scope.get("client")
        if client:
            fields["client"] = f"{client[0]}:{client[1]}"
        fields["method"] = scope["method"]
        fields["path"] = _path(scope)
        query: bytes = scope.get("query_string", b"")
        if query:
            fields["query"] = query.decode("latin-1")
        fields["http_version"] = scope.get("http_version")
        if self._status is not None:
            fields["status"] = self._status
        fields["duration_ms"] = round((time.perf_counter() - self._began) * 1e3, 3)
        fields["bytes"] = self._bytes
        if self._disconnected:
            fields["disconnected"] = True
        if cancelled:
            fields["cancelled"] = True
        if error is None:
            self._log.info(EVENT, **fields)
        else:
            self._log.error(EVENT, exc_info=error, **fields)

    def _with_name(self, message: Message) -> Message:
        headers = list(message.get("headers", ()))
        if not any(name.lower() == self._named[0] for name, _ in headers):
            headers.append(self._named)
        return {**message, "headers": headers}


def _request_id(headers: Iterable[tuple[bytes, bytes]], header: bytes) -> str:
    for name, value in headers:
        if name == header:
            text = value.decode("latin-1")
            if _ID.fullmatch(text):
                return text
            break
    return uuid.uuid4().hex


def _path(scope: Scope) -> str:
    raw: Any = scope.get("raw_path")
    # as it was sent; some test clients leave it out, some put the query there as well
    return raw.partition(b"?")[0].decode("latin-1") if raw else quote(scope["path"])
