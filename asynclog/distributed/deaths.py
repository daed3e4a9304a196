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

    def watch(self, pid: int, printer: Printer) -> None:
        """Take note when a process ends; if it has, nobody knows how."""
        try:
            descriptor = os.pidfd_open(pid)
        except OSError:
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
        pid, printer = self._watched.pop(descriptor)
        status = _status_of_pidfd(descriptor)
        if status is None:
            status = _status_of_zombie(pid)
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


def wait_for_stranger(pid: int) -> int | None:
    """Wait for the end of a process that is no child of ours; return how it ended, if known."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return None
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.poll()
        status = _status_of_pidfd(descriptor)
        return _status_of_zombie(pid) if status is None else status
    finally:
        os.close(descriptor)


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
