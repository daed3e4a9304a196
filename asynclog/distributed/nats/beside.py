"""The collection of a job beside its launcher: a process of its own, which is also the server.

It is `asynclog collect --serve`, in a session of its own, so that Ctrl-C is for the job. A socket
says when it is ready and when the job is over; when all who hold it are gone, it is over as well.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from ..._complain import complain
from ...exceptions import AsynclogError, SettingError
from ...sinks.nats import Nats
from .serve import OwnServer, place_to_listen

READY: Final = b"ready\n"
PATIENCE: Final = 60.0
"""Seconds to wait for machines that still publish when the command has ended here."""
SHORT_LIFE: Final = 3.0
"""Seconds that a collection must have lived to be started again when it is killed."""
_LOOK: Final = 0.1


class NotCollectedError(AsynclogError):
    """The collection could not begin; it has said why."""


class Beside:
    """Collects a job's records, of all its machines, while its command runs on this one.

    Args:
        url: Where the machines reach the server, which is here.
        run: Name of the run.
        directory: Where to collect it.
        options: Further arguments of `asynclog collect`.
        environment: Its environment.

    Attributes:
        publisher: What this machine publishes with.

    Raises:
        SettingError: The server cannot listen there for everybody, or would be open to all.
    """

    def __init__(
        self,
        url: str,
        run: str,
        directory: Path,
        options: Sequence[str] = (),
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._environment = environment
        self._directory = directory
        server = OwnServer(url, directory)
        self.publisher: Nats = Nats(server.url)
        self._command = [sys.executable, "-m", "asynclog.cli", "collect", url, "--serve"]
        self._command += ["--run", run, "--run-dir", str(directory), "--console-level", "none"]
        self._command += options
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._sockets = ExitStack()
        # both ends are kept, for another process in its place
        self._ours: socket.socket
        self._theirs: socket.socket

    @classmethod
    def here(
        cls,
        addresses: Sequence[str],
        run_dir: Path,
        directory: Path,
        options: Sequence[str] = (),
        environment: Mapping[str, str] = os.environ,
    ) -> Beside | None:
        """Return the collection, None when the address is that of another machine.

        Args:
            addresses: Where the machines of the job reach the server.
            run_dir: The run directory of this machine, whose name is the run's.
            directory: Where to collect.
            options: Further arguments of `asynclog collect`.
            environment: Its environment.

        Raises:
            SettingError: The directory is this machine's own, or the address is none to serve.
        """
        if len(addresses) != 1:
            rule = "must be one address where records are to be collected"
            raise SettingError("--nats", rule, ",".join(addresses))
        directory = Path(os.path.abspath(directory))
        if directory == run_dir:
            rule = "must be another directory than that of this machine's own run"
            raise SettingError("--collect", rule, str(directory))
        url = place_to_listen(addresses[0])
        if url is None:
            return None
        return cls(url, run_dir.name, directory, options, environment)

    def start(self) -> None:
        """Start it; return when the server can be reached and the sinks are open.

        It has to be ended in any case.

        Raises:
            NotCollectedError: They are not.
        """
        self._ours, self._theirs = map(self._sockets.enter_context, socket.socketpair())
        self._spawn()
        while not select.select([self._ours], [], [], _LOOK)[0]:
            if not self._lives():
                raise NotCollectedError(f"nothing can be collected in {self._directory}: not run")
        self._ours.recv(len(READY))

    def tend(self) -> None:
        """Start it again if it was killed: it goes on where it was."""
        if self._process is None or self._lives() or self._process.returncode >= 0:
            return
        soon = time.monotonic() < self._started + SHORT_LIFE
        self._complain("not started again so soon" if soon else "started again")
        if soon:
            self._process = None
        else:
            self._spawn()

    def finish(self, *, hurry: bool, interrupted: Callable[[], bool]) -> None:
        """Let it take what is on its way, of other machines as well, and end.

        Args:
            hurry: Whether to wait for no other machine.
            interrupted: Says whether to wait no longer for it.
        """
        if self._process is None:
            return
        self._ours.sendall(b"%d\n" % (0 if hurry else PATIENCE))
        asked = False
        while self._lives(_LOOK):
            if interrupted():
                self._process.send_signal(signal.SIGKILL if asked else signal.SIGINT)
                asked = True
        if self._process.returncode < 0:
            self._complain("what it has not got is in the files of each machine")

    def end(self) -> None:
        """End it at once, if it still runs."""
        if self._process is not None and self._lives():
            self._process.terminate()
            self._process.wait()
        self._process = None
        self._sockets.close()

    def _spawn(self) -> None:
        self._started = time.monotonic()
        self._process = subprocess.Popen(
            [*self._command, "--beside", str(self._theirs.fileno())],
            stdin=subprocess.DEVNULL,
            env=self._environment,
            pass_fds=[self._theirs.fileno()],
            start_new_session=True,
        )

    def _lives(self, timeout: float = 0.0) -> bool:
        """Say whether it runs, after that many seconds if it does."""
        assert self._process is not None
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return True
        return False

    def _complain(self, text: str) -> None:
        assert self._process is not None
        name = signal.Signals(-self._process.returncode).name
        complain(f"the collection in {self._directory} was ended by {name}: {text}")


async def until_over(descriptor: int) -> float:
    """Say that all is ready, and wait until the job is over; the part of the process beside.

    Args:
        descriptor: The socket.

    Returns:
        Seconds to wait at most for machines that still publish.
    """
    launcher = socket.socket(fileno=descriptor)
    try:
        launcher.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(launcher, READY)
        said = await loop.sock_recv(launcher, 64)
    except ConnectionError:
        said = b""
    finally:
        # stays open: its end is that of this process
        launcher.detach()
    return float(said) if said.strip().isdigit() else PATIENCE
