"""Real servers for the tests: started, asked, killed, and read back afterwards."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

Event = dict[str, Any]
Predicate = Callable[[Event], bool]

STARTUP = 60.0
"""Seconds a server may take to start, or to end, on a machine with other things to do."""
_ADDRESS = re.compile(r"(?:running on|Listening at:) http://127\.0\.0\.1:(\d+)")

APP = """
import os

import asynclog

log = asynclog.get_logger("web")


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await asynclog.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await asynclog.stop()
        await send({"type": "lifespan.shutdown.complete"})
        return
    log.info("handled", path=scope["path"], worker=os.getpid())
    if scope["path"] == "/broken":
        raise ValueError("broken")
    body = str(os.getpid()).encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
"""
"""An ASGI application that starts and stops the pipeline, and answers with its pid."""

WSGI_APP = """
import os

import asynclog

log = asynclog.get_logger("web")


def app(environ, start_response):
    log.info("handled", path=environ["PATH_INFO"], worker=os.getpid())
    if environ["PATH_INFO"] == "/broken":
        raise ValueError("broken")
    body = str(os.getpid()).encode()
    start_response("200 OK", [("content-length", str(len(body)))])
    return [body]
"""
"""A WSGI application that leaves the pipeline to others, and answers with its pid."""


def read_events(run_dir: Path) -> list[Event]:
    """Return all events in the files of a run; every line must be whole."""
    events: list[Event] = []
    for path in sorted(run_dir.glob("events.jsonl*")):
        content = path.read_bytes()
        assert not content or content.endswith(b"\n"), f"torn: {content[-200:]!r}"
        events.extend(json.loads(line) for line in content.splitlines())
    return events


class Server:
    """A server process with its workers, in a process group of its own.

    Args:
        process: The process.
        run_dir: Where its events are.
        output: What it writes on stdout and stderr.
    """

    def __init__(self, process: subprocess.Popen[bytes], run_dir: Path, output: Path) -> None:
        self.process = process
        self.run_dir = run_dir
        self._output = output
        self.pid: int = process.pid

    @property
    def output(self) -> str:
        """All that it wrote on stdout and stderr."""
        return self._output.read_text(encoding="utf-8", errors="replace")

    @property
    def events(self) -> list[Event]:
        """What is in its files; the last line may be about to be written."""
        events: list[Event] = []
        for path in sorted(self.run_dir.glob("events.jsonl*")):
            lines = path.read_bytes().split(b"\n")[:-1]
            events.extend(json.loads(line) for line in lines)
        return events

    @property
    def port(self) -> int:
        """The port that it says it listens on, in its files or on stderr."""

        def found() -> list[str]:
            texts = [str(event["event"]) for event in self.events]
            return _ADDRESS.findall("\n".join([*texts, self.output]))

        return int(self.wait_until(found)[0])

    def wait_until(self, condition: Callable[[], Any], *, alive: bool = True) -> Any:
        """Wait until a condition holds, while the process lives; return what it returned."""
        deadline = time.monotonic() + STARTUP
        while not (result := condition()):
            assert time.monotonic() < deadline, f"waited in vain:\n{self.output}\n{self.events}"
            assert not alive or self.process.poll() is None, f"the server has ended:\n{self.output}"
            time.sleep(0.02)
        return result

    def wait_for(self, predicate: Predicate, number: int = 1) -> list[Event]:
        """Wait until so many events fit; return those that do."""

        def fitting() -> list[Event]:
            found = [event for event in self.events if predicate(event)]
            return found if len(found) >= number else []

        result: list[Event] = self.wait_until(fitting)
        return result

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
        """Ask for a path over a connection of its own, again while nobody answers."""

        def answer() -> tuple[int, bytes] | None:
            connection = HTTPConnection("127.0.0.1", port, timeout=10)
            try:
                connection.request("GET", path, headers=dict(headers or {}))
                response = connection.getresponse()
                return response.status, response.read()
            except (OSError, HTTPException):
                return None
            finally:
                connection.close()

        port = self.port
        status, body = self.wait_until(answer)
        return status, body

    def send(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def owns(self, pid: int) -> bool:
        """Say whether a process is one of its own that is still there."""
        try:
            return os.getpgid(pid) == self.pid
        except ProcessLookupError:
            return False

    def kill_worker(self, pid: int) -> None:
        """Kill a worker with SIGKILL."""
        assert self.owns(pid)
        os.kill(pid, signal.SIGKILL)

    def stop(self, number: int = signal.SIGTERM) -> list[Event]:
        """End it with a signal and return all events; nothing of it may be left."""
        if self.process.poll() is None:
            self.send(number)
        self.process.wait(STARTUP)
        deadline = time.monotonic() + STARTUP
        while _group_exists(self.pid):
            assert time.monotonic() < deadline, f"processes are left:\n{self.output}"
            time.sleep(0.02)
        return read_events(self.run_dir)


def _group_exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@contextmanager
def running(
    command: Sequence[str], directory: Path, run_dir: Path, environment: Mapping[str, str]
) -> Iterator[Server]:
    """Run ``python -m`` something in a directory, and kill what is left of it at the end."""
    output = directory / "output.txt"
    with output.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=directory,
            # gunicorn leaves a socket in the home directory
            env={**os.environ, "HOME": str(directory), **environment},
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    server = Server(process, run_dir, output)
    try:
        yield server
    finally:
        if _group_exists(server.pid):
            os.killpg(server.pid, signal.SIGKILL)
        process.wait()
