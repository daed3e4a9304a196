"""The collector process as its parent sees it: started, woken, heard, left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any, Final

import anyio

from ..exceptions import AsynclogError
from ..intake.spool import Spool
from .plan import Plan
from .tally import Tally
from .worker import DaemonWorker

START_TIMEOUT: Final = 60.0
"""Seconds until the sinks are open; importing a metric backend may take a while."""


def _spawn(descriptor: int) -> subprocess.Popen[bytes]:
    try:
        # What is shown, or printed by a backend, comes out where ours does, not in its reports.
        screen = os.dup(1)
    except OSError:
        screen = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "asynclog.collector", str(descriptor), str(screen)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[descriptor, screen],
            # Ctrl-C is for the user's processes; the collector writes down what they say then.
            start_new_session=True,
        )
    finally:
        os.close(screen)


class CollectorStartError(AsynclogError):
    """The collector process could not open its sinks."""


class CollectorChild:
    """A collector in a process of its own; it outlives us as long as there is something to drain.

    It gets its plan and wake-up calls on standard input, one line of JSON each, and tells on
    standard output that it is ready, its counts, and what went wrong. Nothing is pickled.

    Args:
        spool: The run's spool, its lock held by this process.
        plan: What to do.
    """

    def __init__(self, spool: Spool, plan: Plan) -> None:
        self._spool = spool
        self._plan = plan
        self._process: subprocess.Popen[bytes] | None = None
        self._reader = DaemonWorker("asynclog-child")
        self.tally: Tally | None = None

    async def start(self) -> None:
        """Start the process; return when its sinks are open.

        Raises:
            CollectorStartError: They could not be opened.
        """
        descriptor = self._spool.lock.hand_over()
        self._process = _spawn(descriptor)
        self._send(self._plan.as_data())
        with anyio.fail_after(START_TIMEOUT):
            message = await self._hear()
        if message is None or "error" in message:
            text = "it ended" if message is None else message["error"]
            while message is not None:
                message = await self._hear()
            raise CollectorStartError(f"the collector process could not start: {text}")

    async def watch(self, deadline: Callable[[], float | None]) -> None:
        """Listen until the process ends or it is too late.

        Args:
            deadline: When to leave the process alone, on the monotonic clock; None for never.
        """
        scope = anyio.CancelScope()

        async def listen() -> None:
            while (message := await self._hear()) is not None:
                if "tally" in message:
                    self.tally = Tally.from_data(message["tally"])
            scope.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen)
            with scope:
                while (until := deadline()) is None or time.monotonic() < until:
                    await anyio.sleep(0.02)
            tasks.cancel_scope.cancel()

    def kick(self) -> None:
        """Wake the collector."""
        self._send({"kick": True})

    def close(self) -> None:
        """Close our ends of the pipes; the process goes on as long as it has to."""
        process = self._process
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None and process.poll() is not None:
                # What it did not read any more is still in the pipe's buffer.
                with suppress(BrokenPipeError):
                    pipe.close()
        self._reader.close()

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process is not None
        pipe: IO[bytes] | None = self._process.stdin
        assert pipe is not None
        try:
            pipe.write(json.dumps(message).encode() + b"\n")
            pipe.flush()
        except (BrokenPipeError, ValueError):
            # It has ended; the end of its output says so as well.
            pass

    async def _hear(self) -> dict[str, Any] | None:
        assert self._process is not None
        pipe: IO[bytes] | None = self._process.stdout
        assert pipe is not None
        line = await self._reader.run(pipe.readline)
        if not line:
            await self._reader.run(self._process.wait)
            return None
        return json.loads(line)
