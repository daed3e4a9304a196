"""Real Jupyter kernels for the tests: cells are run, and what they show is kept by cell."""

from __future__ import annotations

import os
import queue
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

PATIENCE = 60.0
"""Seconds that a kernel may take for anything on a machine with other things to do."""


class Cell:
    """What a cell has shown so far.

    Attributes:
        stdout: Text.
        stderr: Text.
        result: Text of the value of its last expression.
        error: Name and text of the exception that ended it, None if it did not.
    """

    def __init__(self) -> None:
        self.stdout = ""
        self.stderr = ""
        self.result: str | None = None
        self.error: tuple[str, str] | None = None


class Kernel:
    """A kernel and its client."""

    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self._manager = manager
        self._client = client
        self._cells: dict[str, Cell] = {}
        self._idle: set[str] = set()

    def run(self, code: str) -> Cell:
        """Run a cell to its end."""
        cell, name = self.begin(code)
        self.wait_until(lambda: name in self._idle)
        return cell

    def begin(self, code: str) -> tuple[Cell, str]:
        """Send a cell; return what it will show, and its id."""
        name: str = self._client.execute(code)
        cell = self._cells[name] = Cell()
        return cell, name

    def wait_until(self, condition: Callable[[], Any]) -> None:
        """Take the kernel's messages until a condition holds."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, {
                name: vars(cell) for name, cell in self._cells.items()
            }
            try:
                self._take(self._client.get_iopub_msg(timeout=0.05))
            except queue.Empty:
                continue

    def finished(self, name: str) -> bool:
        """Say whether a cell has run to its end."""
        return name in self._idle

    def interrupt(self) -> None:
        """Do what the stop button does."""
        self._manager.interrupt_kernel()

    def kill(self) -> None:
        """Kill the kernel's process with SIGKILL, and wait until it is gone."""
        self._manager.signal_kernel(signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE
        while self._manager.is_alive():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def shut_down(self) -> None:
        """Do what closing the notebook does."""
        self._manager.shutdown_kernel(now=False)

    def restart(self, *, now: bool) -> None:
        """Do what the restart button does, or the watchdog after a crash."""
        self._manager.restart_kernel(now=now)
        self._client.wait_for_ready(timeout=PATIENCE)

    def _take(self, message: dict[str, Any]) -> None:
        name = message["parent_header"].get("msg_id", "")
        cell = self._cells.get(name)
        if cell is None:
            return
        content = message["content"]
        kind = message["msg_type"]
        if kind == "stream":
            setattr(cell, content["name"], getattr(cell, content["name"]) + content["text"])
        elif kind == "execute_result":
            cell.result = content["data"]["text/plain"]
        elif kind == "error":
            cell.error = content["ename"], content["evalue"]
        elif kind == "status" and content["execution_state"] == "idle":
            self._idle.add(name)


@contextmanager
def kernel(directory: Path) -> Iterator[Kernel]:
    """Start a kernel in a directory, without settings of the user's, and end it afterwards."""
    environment = {
        **os.environ,
        "HOME": str(directory),
        "IPYTHONDIR": str(directory / ".ipython"),
        "JUPYTER_RUNTIME_DIR": str(directory / ".runtime"),
        # the debugger warns of frozen modules
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "NO_COLOR": "1",
    }
    manager = KernelManager(kernel_name="python3")
    manager.connection_file = str(directory / "connection.json")
    client: BlockingKernelClient | None = None
    with (directory / "kernel.txt").open("wb") as output:
        manager.start_kernel(cwd=str(directory), env=environment, stderr=output)
        try:
            client = manager.client()
            client.start_channels()
            client.wait_for_ready(timeout=PATIENCE)
            yield Kernel(manager, client)
        finally:
            if client is not None:
                client.stop_channels()
            manager.shutdown_kernel(now=True)
            manager.cleanup_resources()
            manager.context.destroy()
