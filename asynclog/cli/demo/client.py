"""The client that puts the demo's service under load, in a process of its own.

Run as ``python -m asynclog.cli.demo.client URL``. It says ``ready`` on stdout when all connections
have had an answer, goes on until stdin brings a line or its end, and then prints its counts as one
line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from itertools import count
from typing import Any

from .needs import need
from .tally import Tally

CONNECTIONS = 8
PAUSE = 0.02
"""Seconds between two requests of one connection: 400 requests/s when answers are quick."""
TIMEOUT = 10.0


class Client:
    """Asks the service to classify one digit after the other, on several connections at once."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.times: Tally = Tally()
        self.failed: int = 0
        self.right: int = 0
        self._waiting = CONNECTIONS
        self._ready = asyncio.Event()
        self._numbers = count()

    async def connection(self, http: Any, stop: asyncio.Event) -> None:
        """Ask at a steady rate until ``stop``."""
        due = time.perf_counter()
        await self._request(http)
        self._waiting -= 1
        if not self._waiting:
            self._ready.set()
        while not stop.is_set():
            await self._request(http)
            due = max(due + PAUSE, time.perf_counter())
            await asyncio.sleep(due - time.perf_counter())

    async def _request(self, http: Any) -> None:
        began = time.perf_counter_ns()
        try:
            response = await http.get(f"{self.url}/digits/{next(self._numbers)}")
            response.raise_for_status()
            answer = response.json()
        except (OSError, ValueError, need("httpx").HTTPError):
            self.failed += 1
            return
        self.times.add(time.perf_counter_ns() - began)
        self.right += answer["answer"] == answer["label"]

    async def run(self) -> None:
        """Run until stdin brings a line or its end."""
        httpx = need("httpx")
        stop = asyncio.Event()
        async with httpx.AsyncClient(timeout=TIMEOUT, trust_env=False) as http:
            tasks = [asyncio.create_task(self.connection(http, stop)) for _ in range(CONNECTIONS)]
            await self._ready.wait()
            print("ready", flush=True)
            await asyncio.to_thread(sys.stdin.readline)
            stop.set()
            await asyncio.gather(*tasks)
        print(
            json.dumps(
                {
                    "requests": self.times.count,
                    "failed": self.failed,
                    "right": self.right,
                    "p50_ms": self.times.quantile(0.5) / 1e6,
                    "p99_ms": self.times.quantile(0.99) / 1e6,
                }
            )
        )


if __name__ == "__main__":
    asyncio.run(Client(sys.argv[1]).run())
