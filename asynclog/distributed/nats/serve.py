"""A nats-server of our own, for a job on machines where nobody runs one.

It is a child of the receiver, ends with it, and keeps its streams in the run directory.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import anyio

from ..._complain import complain
from ...exceptions import AsynclogError, SettingError
from ...sinks.rotation import make_directories

DIRECTORY: Final = Path(".asynclog") / "nats"
"""Where in the run directory it keeps its streams and its log."""
START_TIMEOUT: Final = 30.0
STOP_TIMEOUT: Final = 10.0
NAME_TIMEOUT: Final = 60.0
"""Seconds to wait until a machine's name is known: where pods come and go, it may come late."""
FREE_TIMEOUT: Final = 3.0
"""Seconds to wait until nobody listens there: one that was ended may take a moment."""
LOOK: Final = 1.0
"""Seconds between looks whether it still runs."""
_END_WITH_PARENT: Final = (
    # PR_SET_PDEATHSIG, from prctl(2)
    "import ctypes, os, signal, sys; ctypes.CDLL(None).prctl(1, signal.SIGTERM); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)
"""What sees to it in the process that becomes the server; between fork and exec, nothing may run
in a process with threads."""


class ServeError(AsynclogError):
    """The server cannot be started."""


class OwnServer:
    """Runs a server.

    Args:
        url: Where it listens; ``0.0.0.0`` for all of this machine's addresses.
        run_dir: The run directory.
        environment: Holds what its users must know: ``NATS_TOKEN``, or ``NATS_USER`` and
            ``NATS_PASSWORD``.

    Attributes:
        url: How it is reached from this machine.

    Raises:
        SettingError: It would be open to everybody, or the address is none of one server.
    """

    def __init__(
        self, url: str, run_dir: Path, environment: Mapping[str, str] = os.environ
    ) -> None:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 4222
        if parts.scheme != "nats" or "," in url:
            rule = "must be one address nats://HOST:PORT where the server is to listen"
            raise SettingError("server", rule, url)
        self._access = _access(environment)
        if not self._access and not _is_loopback(host):
            raise SettingError(
                "server",
                "must not be open to everybody",
                url,
                "Set NATS_TOKEN to a secret, the same on all machines",
            )
        self._address = host, port
        self._directory = run_dir / DIRECTORY
        self._process: subprocess.Popen[bytes] | None = None
        everywhere = host in ("0.0.0.0", "::")
        local = "127.0.0.1" if everywhere else f"[{host}]" if ":" in host else host
        self.url: str = f"nats://{local}:{port}"

    def start(self) -> None:
        """Start it; return when it can be connected to.

        Raises:
            ServeError: It is not installed, cannot listen, or ends at once.
            OSError: Its directory cannot be made.
        """
        program = shutil.which("nats-server")
        if program is None:
            raise ServeError(
                "nats-server is not installed: take your system's package nats-server, or the "
                "program from https://nats.io/download"
            )
        self._see_that_it_is_free()
        make_directories(self._directory)
        # in memory alone: it holds the password
        config = os.memfd_create("nats-server.conf")
        try:
            os.write(config, self._config().encode())
            command = [program, "-c", f"/dev/fd/{config}"]
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _END_WITH_PARENT, *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[config],
                # Ctrl-C is for us: what comes until then is still received
                start_new_session=True,
            )
            self._wait()
        except BaseException:
            self.stop()
            raise
        finally:
            os.close(config)

    async def keep_up(self) -> None:
        """Start it again whenever it has ended, until cancelled.

        To be called in the thread that has started it, with which it ends.
        """
        while True:
            await anyio.sleep(LOOK)
            if self._process is None or self._process.poll() is not None:
                complain("nats-server has ended, and is started again", kind="server")
                try:
                    self.start()
                except (ServeError, OSError) as error:
                    complain(str(error), kind="no server")

    def stop(self) -> None:
        """End it; its streams stay."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _config(self) -> str:
        host, port = self._address
        listen = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = [
            f"listen: {json.dumps(listen)}",
            f"jetstream {{ store_dir: {json.dumps(str(self._directory))} }}",
            f"log_file: {json.dumps(str(self._directory / 'server.log'))}",
            "logfile_size_limit: 10MB",
        ]
        if self._access:
            settings = " ".join(f"{name}: {json.dumps(v)}" for name, v in self._access.items())
            lines.append(f"authorization {{ {settings} }}")
        return "\n".join([*lines, ""])

    def _see_that_it_is_free(self) -> None:
        """Find out whether others listen there: they would be taken for the server.

        Raises:
            ServeError: They do, or nobody can.
        """
        host, port = self._address
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        deadline = time.monotonic() + FREE_TIMEOUT
        while True:
            try:
                return socket.create_server((host, port), family=family).close()
            except OSError as error:
                if error.errno == errno.EADDRINUSE and time.monotonic() < deadline:
                    time.sleep(0.1)
                    continue
                # Python says here what it was about
                reason = str(error.strerror).partition(" (")[0]
                text = f"nats-server cannot listen on {host} port {port}: {reason}"
                raise ServeError(text) from None

    def _wait(self) -> None:
        assert self._process is not None
        parts = urlsplit(self.url)
        deadline = time.monotonic() + START_TIMEOUT
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                with socket.create_connection((parts.hostname, parts.port), 1.0) as connection:
                    if connection.recv(5) == b"INFO ":
                        break
            except OSError:
                time.sleep(0.02)
        if self._process.poll() is not None:
            log = self._directory / "server.log"
            raise ServeError(f"nats-server cannot serve {self.url}: see {log}")


def place_to_listen(url: str, patience: float = NAME_TIMEOUT) -> str | None:
    """Return where a server listens that others reach at an address, None on another machine.

    A name stands for all addresses of the machine: its own name often leads to the loopback alone.

    Args:
        url: What the others connect to.
        patience: Seconds to wait until the machine is known.

    Raises:
        SettingError: There is no such machine, or any could be meant.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 4222
    if _is_address(host) and ip_address(host).is_unspecified:
        rule = "must be the address at which other machines reach this one"
        raise SettingError("server", rule, url)
    found = _addresses(host, url, patience)
    ours = [family for family, address in found if _is_ours(family, address)]
    if not ours:
        return None
    if host == "localhost" or _is_address(host):
        return url
    return f"nats://{'0.0.0.0' if socket.AF_INET in ours else '[::]'}:{port}"


def _addresses(host: str, url: str, patience: float) -> list[tuple[int, str]]:
    deadline = time.monotonic() + patience
    waiting = False
    while True:
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            return [(family, str(address[0])) for family, _, _, _, address in found]
        except OSError as error:
            if time.monotonic() >= deadline:
                rule = f"must name a machine ({error.strerror})"
                raise SettingError("server", rule, url) from None
            if not waiting:
                complain(f"{host}: {error.strerror}; trying for {patience:.0f} s")
                waiting = True
        time.sleep(LOOK)


def _is_ours(family: int, address: str) -> bool:
    """Say whether an address is one of this machine: only to such can a socket be bound."""
    with socket.socket(family) as found:
        try:
            found.bind((address, 0))
        except OSError:
            return False
    return True


def _is_address(host: str) -> bool:
    try:
        return bool(ip_address(host))
    except ValueError:
        return False


def _access(environment: Mapping[str, str]) -> dict[str, str]:
    if token := environment.get("NATS_TOKEN"):
        return {"token": token}
    user, password = environment.get("NATS_USER"), environment.get("NATS_PASSWORD")
    return {"user": user, "password": password} if user and password else {}


def _is_loopback(host: str) -> bool:
    return ip_address(host).is_loopback if _is_address(host) else host == "localhost"
