"""Which processes of a job have ended, when and how, as far as the kernel tells the launcher.

They are children of others, which alone can wait for them. Linux says how they ended nevertheless:
from 6.15 on by their pidfd, before that in ``/proc`` until their parent has looked.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from .memory import OutOfMemory
from .printed import Printer

PIDFD_GET_INFO: Final = 0xC040FF0B
"""``_IOWR(0xFF, 11, struct pidfd_info)``, linux/pidfd.h."""
PIDFD_INFO_EXIT: Final = 1 << 3
_INFO: Final = struct.Struct("Q52xi")
MAX_KEPT: Final = 10_000
"""Ends that are remembered; the first ones matter."""


@dataclass
class Death:
    """The end of a process.

    Attributes:
        printer: Which process it was.
        time: When it was seen, seconds since the epoch.
        status: Its exit status, negative for a signal; None if that is not known.
        error: The last line of a traceback that it printed.
        explanation: Why somebody may have killed it.
    """

    printer: Printer
    time: float
    status: int | None
    error: str = ""
    explanation: str = ""

    @property
    def bad(self) -> bool:
        """Whether it is known to have failed."""
        return self.status is not None and self.status != 0


class Deaths:
    """Watches processes in a thread of its own: one that is held up would mix up their order.

    Args:
        report: Is told of each end at once, in that thread; must not wait for anything.

    Attributes:
        seen: The ends in the order in which they were seen.
    """

    def __init__(self, report: Callable[[Death], None]) -> None:
        self.seen: list[Death] = []
        self._report = report
        self._watched: dict[int, tuple[int, Printer]] = {}
        self._lock = threading.Lock()
        self._errors: dict[int, str] = {}
        self._memory = OutOfMemory()
        self._poll = select.epoll()
        self._wake, self._waker = os.pipe()
        self._poll.register(self._wake, select.EPOLLIN)
        self._thread = threading.Thread(target=self._run, name="asynclog-deaths", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def finish(self) -> None:
        """Note the ends that can be seen by now, and end."""
        os.write(self._waker, b".")
        self._thread.join()
        for descriptor in (*self._watched, self._wake, self._waker):
            os.close(descriptor)
        self._poll.close()

    def watch(self, pid: int, printer: Printer, descriptor: int | None = None) -> None:
        """Take note when a process ends; if it has, nobody knows how.

        Args:
            pid: Which one.
            printer: What is known of it.
            descriptor: Its pidfd, ours from now on: of one that was opened before its end, the end
                is known afterwards.
        """
        with self._lock:
            for watched, (known, _) in self._watched.items():
                if known == pid:
                    # it brings another stream, or runs another program by now
                    self._watched[watched] = pid, printer
                    if descriptor is not None:
                        os.close(descriptor)
                    return
            descriptor = open_process(pid) if descriptor is None else descriptor
            if descriptor is None:
                return
            self._watched[descriptor] = pid, printer
        self._poll.register(descriptor, select.EPOLLIN)

    def _run(self) -> None:
        ending = False
        while not ending:
            ended: list[Death] = []
            for descriptor, _ in self._poll.poll():
                if descriptor == self._wake:
                    ending = True
                else:
                    ended.append(self._look(descriptor))
            # of those that are seen at once, what a launcher ends is not what began it
            ended.sort(key=lambda death: death.status == -signal.SIGTERM)
            self.seen.extend(ended[: MAX_KEPT - len(self.seen)])
            for death in ended:
                self._report(death)

    def _look(self, descriptor: int) -> Death:
        """Return what is known of the end of a process."""
        with self._lock:
            pid, printer = self._watched.pop(descriptor)
        status = _status(descriptor, pid)
        self._poll.unregister(descriptor)
        os.close(descriptor)
        explanation = self._memory.explanation() if status == -signal.SIGKILL else ""
        return Death(printer, time.time(), status, explanation=explanation)

    def note_error(self, printer: Printer, text: str) -> None:
        """Keep the last line of a traceback that a process has printed."""
        if printer.pid is not None:
            self._errors[printer.pid] = text

    def with_errors(self) -> list[Death]:
        """Return the ends with what the processes printed as their last error."""
        seen = list(self.seen)
        for death in seen:
            if death.printer.pid is not None:
                death.error = self._errors.get(death.printer.pid, "")
        return seen


def open_process(pid: int) -> int | None:
    """Return a pidfd, None for a process that has ended and nobody waits for."""
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def wait_for_stranger(descriptor: int, pid: int) -> int | None:
    """Wait for the end of a process that is no child of ours; return how it ended, if known.

    Args:
        descriptor: Its pidfd.
        pid: Its process id.
    """
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    poll.poll()
    return _status(descriptor, pid)


def _status(descriptor: int, pid: int) -> int | None:
    """Return how a process has ended: its pidfd tells once its parent has looked, /proc before."""
    status = _status_of_pidfd(descriptor)
    if status is None:
        status = _status_of_zombie(pid)
    # the parent may have looked between the two
    return _status_of_pidfd(descriptor) if status is None else status


def _status_of_pidfd(descriptor: int) -> int | None:
    buffer = bytearray(_INFO.size)
    _INFO.pack_into(buffer, 0, PIDFD_INFO_EXIT, 0)
    try:
        fcntl.ioctl(descriptor, PIDFD_GET_INFO, buffer)
    except OSError:
        return None
    mask, status = _INFO.unpack(buffer)
    return os.waitstatus_to_exitcode(status) if mask & PIDFD_INFO_EXIT else None


def _status_of_zombie(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
        # state and exit_code, proc_pid_stat(5)
        return os.waitstatus_to_exitcode(int(fields[49])) if fields[0] == "Z" else None
    except (OSError, ValueError, IndexError):
        return None
