"""The collection of a job beside its launcher: a process of its own, which is also the server.

It is `asynclog collect --serve`, in a session of its own, so that Ctrl-C is for the job. A socket
says when it is ready and when the job is over; at its end, whoever held it being gone, it is over
as well.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from ..._complain import complain
from ...exceptions import AsynclogError, SettingError
from ...sinks.nats import Nats
from .serve import OwnServer, place_to_listen

READY: Final = b"ready\n"
PATIENCE: Final = 60.0
"""Seconds to wait for machines that still publish when the command has ended here."""
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
        self._socket: socket.socket | None = None

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

        Raises:
            NotCollectedError: They are not.
        """
        self._socket, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [*self._command, "--beside", str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    env=self._environment,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
            if self._socket.recv(len(READY)) != READY:
                raise NotCollectedError(f"nothing can be collected in {self._directory}: not run")
        except BaseException:
            self.end()
            raise

    def finish(self, *, hurry: bool, interrupted: Callable[[], bool]) -> None:
        """Let it take what is on its way, of other machines as well, and end.

        Args:
            hurry: Whether to wait for no other machine.
            interrupted: Says whether to wait no longer for it.
        """
        if self._process is None or self._socket is None:
            return
        if self._process.poll() is None:
            try:
                self._socket.sendall(b"%d\n" % (0 if hurry else PATIENCE))
            except OSError:
                pass
            asked = False
            while not select.select([self._socket], [], [], _LOOK)[0]:
                if interrupted():
                    self._process.send_signal(signal.SIGKILL if asked else signal.SIGINT)
                    asked = True
        self._process.wait()
        if self._process.returncode < 0:
            name = signal.Signals(-self._process.returncode).name
            complain(
                f"the collection in {self._directory} was ended by {name}: what it has not got is "
                "in the files of each machine"
            )
        self.end()

    def end(self) -> None:
        """End it at once, if it still runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait()
        if self._socket is not None:
            self._socket.close()
        self._process = self._socket = None


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
