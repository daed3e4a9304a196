"""The thread that reads what all processes below the launcher print, each by itself.

Processes hand it the reading ends of their own pipes through a socket; see
``inject/sitecustomize.py``.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from .._complain import complain
from .._logger.bound import BoundLogger
from .deaths import Deaths
from .printed import Printed, Printer, read
from .screen import Screen
from .understudy import Stream, Understudy

PATIENCE: Final = 0.5
"""Seconds after which a line without end becomes a record."""
BACKLOG: Final = 1024
"""Processes that may knock at the same moment; the kernel may allow fewer."""
HEADER_BYTES: Final = 8192
_CREDENTIALS: Final = struct.Struct("3i")


class OutputReader:
    """Reads pipes in a daemon thread until all are closed.

    Args:
        listener: Listens where processes knock.
        path: Where that is.
        logger: Takes the records.
        screen: Where what is printed is shown, as it is.
        shows: Whether what somebody prints is passed through to the screen.
        deaths: Is told of the processes.
        understudy: Is told of the pipes, if there is one.
    """

    def __init__(
        self,
        listener: socket.socket,
        path: Path,
        logger: BoundLogger,
        screen: Screen,
        shows: Callable[[Printer], bool],
        deaths: Deaths,
        understudy: Understudy | None = None,
    ) -> None:
        self._logger = logger
        self._screen = screen
        self._shows = shows
        self._deaths = deaths
        self._understudy = understudy
        self._sources: dict[int, tuple[Printed, bool]] = {}
        self._poll = select.poll()
        self._socket = listener
        self._path = path
        self._visitors: dict[int, socket.socket] = {}
        self._wake, self._waker = os.pipe()
        self._ending = False
        self._ended = threading.Event()
        self._poll.register(self._wake, select.POLLIN)
        self._poll.register(self._socket, select.POLLIN)
        if understudy is not None:
            understudy.listens(listener, path)
        self._thread = threading.Thread(target=self._run, name="asynclog-output", daemon=True)

    @property
    def open_streams(self) -> int:
        """How many streams somebody still holds."""
        return len(self._sources)

    def add(self, stream: Stream) -> None:
        """Read a pipe; to be called before :meth:`start`."""
        printer = introduced(stream.header)[0] if stream.header else Printer.unknown()
        self._add(stream, printer)
        if stream.pid:
            self._deaths.watch(stream.pid, printer, stream.process)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def finish(self, timeout: float) -> bool:
        """Read until all streams are closed; say whether they are.

        Args:
            timeout: Seconds to wait for processes that live on.
        """
        self._ending = True
        os.write(self._waker, b".")
        return self._ended.wait(timeout)

    def abandon(self) -> None:
        """Take what is there and end, whoever may go on printing."""
        self._path.unlink(missing_ok=True)
        if not self._ended.is_set():
            os.write(self._waker, b"x")
            self._ended.wait(PATIENCE)

    def _run(self) -> None:
        abandoned = False
        while not (abandoned or (self._ending and not self._sources and not self._visitors)):
            ready = {descriptor for descriptor, _ in self._poll.poll(self._pause())}
            now = time.monotonic()
            self._give_out(ready, now)
            for descriptor in ready:
                try:
                    if descriptor == self._wake:
                        abandoned = b"x" in os.read(self._wake, 16)
                    elif descriptor == self._socket.fileno():
                        self._accept()
                    elif descriptor in self._visitors:
                        self._welcome(self._visitors.pop(descriptor))
                    elif descriptor in self._sources:
                        self._read(descriptor)
                except Exception as error:
                    complain(f"reading what is printed: {error!r}", kind="output")
        for descriptor in list(self._sources):
            while self._read(descriptor):
                pass
            if descriptor in self._sources:
                self._close(descriptor)
        self._ended.set()

    def _pause(self) -> float | None:
        waiting = any(source.lines.waiting for source, _ in self._sources.values())
        return PATIENCE * 1000 if waiting else None

    def _accept(self) -> None:
        visitor, _ = self._socket.accept()
        visitor.setblocking(False)
        self._visitors[visitor.fileno()] = visitor
        self._poll.register(visitor, select.POLLIN)

    def _welcome(self, visitor: socket.socket) -> None:
        """Take over the pipes of a process."""
        self._poll.unregister(visitor)
        with visitor:
            header, pipes, _, _ = socket.recv_fds(visitor, HEADER_BYTES, 2)
            text = os.fsdecode(header)
            try:
                printer, streams = introduced(text)
                if len(pipes) != len(streams):
                    raise ValueError("not as many pipes as streams")
            except ValueError:
                for pipe in pipes:
                    os.close(pipe)
                return
            peer = visitor.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            pid: int = _CREDENTIALS.unpack(peer)[0]
            for number, pipe in zip(streams, pipes, strict=True):
                self._add(Stream(pipe, number, pid, text), printer)
            self._deaths.watch(pid, printer)

    def _add(self, stream: Stream, printer: Printer) -> None:
        pipe = stream.pipe
        os.set_blocking(pipe, False)
        shown = self._shows(printer)
        source = Printed(printer, stream.number, self._logger, quiet=shown)
        self._sources[pipe] = source, shown
        self._poll.register(pipe, select.POLLIN)
        if self._understudy is not None:
            self._understudy.opened(stream)

    def _read(self, descriptor: int) -> bool:
        """Take what has been printed; say whether there was anything."""
        source, shown = self._sources[descriptor]
        data = read(descriptor)
        if data is None:
            return False
        if not data:
            self._close(descriptor)
            return False
        if shown:
            self._screen.pass_through(source.number, data)
        source.waiting_since = time.monotonic()
        source.log(source.lines.feed(data))
        if source.last_error:
            self._deaths.note_error(source.printer, source.last_error)
            source.last_error = ""
        return True

    def _close(self, descriptor: int) -> None:
        source, _ = self._sources.pop(descriptor)
        self._poll.unregister(descriptor)
        os.close(descriptor)
        if self._understudy is not None:
            self._understudy.closed(descriptor)
        source.log(source.lines.close())
        if source.last_error:
            self._deaths.note_error(source.printer, source.last_error)

    def _give_out(self, ready: set[int], now: float) -> None:
        """Give out lines without end that nothing was added to for some time."""
        for descriptor, (source, _) in self._sources.items():
            idle = descriptor not in ready and now - source.waiting_since >= PATIENCE
            if idle and source.lines.waiting:
                source.log(source.lines.give_out())


def introduced(header: str) -> tuple[Printer, list[int]]:
    """Return who knocks, and the numbers of the streams that it brings.

    Raises:
        ValueError: The header is of another version, or makes no sense.
    """
    version, pid, numbers, *told = header.split("\n")
    streams = [int(number) for number in numbers.split(",")]
    if version != "1" or not {1, 2} >= {*streams}:
        raise ValueError("not of this version")
    pairs = (pair.partition("=") for pair in told)
    return Printer.told(int(pid), {name: value for name, _, value in pairs}), streams


def listen(path: Path) -> socket.socket:
    """Return a socket at which processes of this user can knock."""
    path.unlink(missing_ok=True)
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    found.setblocking(False)
    found.bind(str(path))
    found.listen(BACKLOG)
    return found
