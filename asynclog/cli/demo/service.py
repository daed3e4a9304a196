"""The demo's HTTP service: an ASGI app on uvicorn, in a thread with an asyncio loop of its own."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any

from .needs import installed, need
from .source import Late, Source
from .tally import Journal

Message = dict[str, Any]
PROBE = 0.005
"""Seconds between two looks at the lateness of the loop."""


class Classifier:
    """ASGI app: ``GET /digits/17`` finds the image most like number 17 among the others.

    Args:
        images: One row of numbers for each image.
        labels: Which digit each image shows.
        journal: Where requests are logged.
    """

    def __init__(self, images: Any, labels: Any, journal: Journal) -> None:
        self.images = images
        self.labels = labels
        self.journal = journal
        self.requests: int = 0
        self._norms = (images**2).sum(axis=1)

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """Answer one request; see the ASGI specification."""
        began = time.perf_counter()
        self.requests += 1
        log = self.journal.bind(
            request_id=f"{self.requests:08x}", method=scope["method"], path=scope["path"]
        )
        log.debug("request received", client=scope["client"][1])
        head, _, number = scope["path"].rpartition("/")
        if head == "/digits" and number.isdecimal():
            status, answer = 200, self._classify(int(number) % len(self.labels))
            log.debug("digit classified", **answer)
        else:
            status, answer = 404, {"error": "ask for /digits/NUMBER"}
        body = json.dumps(answer).encode()
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [
                    (b"content-type", b"application/json"),
                    (b"content-length", str(len(body)).encode()),
                ],
            }
        )
        await send({"type": "http.response.body", "body": body})
        elapsed = (time.perf_counter() - began) * 1e3
        log.debug("request handled", status=status, elapsed_ms=round(elapsed, 3))

    def _classify(self, at: int) -> Message:
        distances = self._norms - 2 * (self.images @ self.images[at])
        distances[at] = float("inf")
        nearest = int(distances.argmin())
        return {
            "index": at,
            "nearest": nearest,
            "answer": int(self.labels[nearest]),
            "label": int(self.labels[at]),
        }


class Service(Source):
    """Runs the app and measures how late its event loop is.

    Args:
        images: One row of numbers for each image.
        labels: Which digit each image shows.
        journal: Where requests are logged.
    """

    def __init__(self, images: Any, labels: Any, journal: Journal) -> None:
        self.loop = "uvloop" if installed("uvloop") else "asyncio"
        super().__init__(f"HTTP service ({self.loop})", journal)
        self.lateness: Late = Late(journal.switch)
        self.app: Classifier = Classifier(images, labels, journal)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url: str = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._server = need("uvicorn").Server(
            need("uvicorn").Config(
                self.app, lifespan="off", log_config=None, log_level="error", access_log=False
            )
        )

    def work(self) -> None:
        """Serve until the switch says stop."""
        factory = need("uvloop").new_event_loop if self.loop == "uvloop" else None
        with self._socket, asyncio.Runner(loop_factory=factory) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        serving = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        while not self.switch.stopping and not serving.done():
            due = time.perf_counter() + PROBE
            await asyncio.sleep(PROBE)
            self.lateness.add(time.perf_counter() - due)
        self._server.should_exit = True
        await serving
