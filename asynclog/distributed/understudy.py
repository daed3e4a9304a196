"""The understudy: a process that goes on in the launcher's place when that is killed.

It is forked before anything happens, knows the launcher's end by that of a socket, and holds the
pipes that programs print into, so that these do not break. Until then it sleeps.
"""

from __future__ import annotations

import os
import signal
import socket
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from .._complain import complain
from .deaths import open_process
from .program import PASSED_ON

PATIENCE: Final = 1.0
"""Seconds to wait for an understudy that does not take in what it is told."""
_PIECE: Final = 1 << 16
_END: Final = b"\0"


class Stream(NamedTuple):
    """A pipe that somebody prints into.

    Attributes:
        pipe: Its reading end.
        number: 1 for standard output, 2 for standard error.
        pid: Who prints, as the kernel says; 0 if it is not known.
        header: What the process has told of itself, empty if nothing.
        process: Pidfd of who prints, if there is one.
    """

    pipe: int
    number: int
    pid: int
    header: str
    process: int | None = None


class Left(NamedTuple):
    """What a launcher leaves behind.

    Attributes:
        command: Process id of the command, 0 if it was not started.
        process: Its pidfd, None if it was not started.
        address: Where processes knock.
        socket: What listens there.
        streams: What they print into.
    """

    command: int
    process: int | None
    address: Path
    socket: socket.socket
    streams: list[Stream]


class Understudy:
    """The understudy as the launcher sees it; to be made before any thread.

    One that does not take in what it is told, or is killed, is done without.

    Args:
        go_on: Called in the other process, which ends with the status it returns.
    """

    def __init__(self, go_on: Callable[[Left], int]) -> None:
        # a stream: of datagrams, Linux keeps ten (net.unix.max_dgram_qlen)
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._ours.settimeout(PATIENCE)
        self._pid = os.fork()
        if not self._pid:
            self._ours.close()
            _be(theirs, go_on)
        theirs.close()

    def listens(self, listener: socket.socket, address: Path) -> None:
        """Tell where processes knock."""
        self._tell(f"listen\n0\n0\n0\n{address}", listener.fileno())

    def runs(self, command: int) -> None:
        """Tell which process the command is."""
        self._tell(f"command\n{command}\n0\n0\n")

    def opened(self, stream: Stream) -> None:
        """Tell of a pipe that is read from now on."""
        self._tell(
            f"open\n{stream.pipe}\n{stream.number}\n{stream.pid}\n{stream.header}", stream.pipe
        )

    def closed(self, pipe: int) -> None:
        """Tell of a pipe that has come to its end."""
        self._tell(f"close\n{pipe}\n0\n0\n")

    def dismiss(self) -> None:
        """End it: the launcher comes to its end by itself."""
        pid, self._pid = self._pid, 0
        if pid:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)
            # not before: it would seem that we were killed
            self._ours.close()

    def _tell(self, message: str, *descriptors: int) -> None:
        data = os.fsencode(message) + _END
        try:
            if socket.send_fds(self._ours, [data], list(descriptors)) == len(data):
                return
        except OSError:
            pass
        self.dismiss()


def _be(theirs: socket.socket, go_on: Callable[[Left], int]) -> None:
    """Be the understudy to the end of this process."""
    status = 1
    try:
        for number in PASSED_ON:
            signal.signal(number, signal.SIG_IGN)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        left = _wait(theirs)
        if left is not None:
            complain(f"the launcher was killed: process {os.getpid()} goes on in its place")
            status = go_on(left)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _wait(theirs: socket.socket) -> Left | None:
    """Return what the launcher leaves behind when it ends, None if it has not begun."""
    command, process, address = 0, None, ""
    listener: socket.socket | None = None
    streams: dict[int, Stream] = {}
    rest, pipes = b"", list[int]()
    while True:
        data, descriptors, _, _ = socket.recv_fds(theirs, _PIECE, 16)
        if not data:
            break
        pipes.extend(descriptors)
        *messages, rest = (rest + data).split(_END)
        for message in messages:
            kind, key, number, pid, text = os.fsdecode(message).split("\n", 4)
            if kind == "listen":
                listener, address = socket.socket(fileno=pipes.pop(0)), text
            elif kind == "command":
                command, process = int(key), open_process(int(key))
            elif kind == "open":
                # opened at once: how a process ended is known of those that were open before
                printer = open_process(int(pid)) if int(pid) else None
                stream = Stream(pipes.pop(0), int(number), int(pid), text, printer)
                streams[int(key)] = stream
            elif (ended := streams.pop(int(key), None)) is not None:
                os.close(ended.pipe)
                if ended.process is not None:
                    os.close(ended.process)
    if listener is None:
        return None
    return Left(command, process, Path(address), listener, list(streams.values()))
