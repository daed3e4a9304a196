"""The thread that reads what was printed: shows it where it would have been, and makes lines of it.

Knows nothing of records.
"""

from __future__ import annotations

import fcntl
import os
import select
import sys
import termios
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from .. import _own_threads
from .._output_lines import OutputLine, OutputLines
from .divert import Diversion, StreamName

PATIENCE: Final = 0.5
"""Seconds after which a line without end is given out."""
SETTLE: Final = 0.2
"""Seconds for which a stop waits for what is just being printed, beyond what is in the pipe by
then. Children that hold the pipe never come to an end; what they print later is only shown."""
READ_BYTES: Final = 1 << 16

Take = Callable[[StreamName, list[OutputLine]], None]


class _Source:
    """One pipe.

    Attributes:
        diversion: The stream that leads into it.
        lines: Makes the lines.
        since: When the last bytes came, on the monotonic clock.
        shown: Whether the bytes still go where they would have gone.
        owed: Bytes that were in the pipe at the stop and have not been read yet.
    """

    __slots__ = ("diversion", "lines", "owed", "shown", "since")

    def __init__(self, diversion: Diversion, shown: bool) -> None:
        self.diversion = diversion
        self.lines = OutputLines()
        self.since = 0.0
        self.shown = shown
        self.owed = 0


class Reader:
    """Reads pipes in a daemon thread of its own until all ends are closed.

    Args:
        diversions: What leads into them.
        take: Gets the lines of a stream, in the thread.
        tee: Whether the bytes are shown on the original streams as well.
    """

    def __init__(self, diversions: Sequence[Diversion], take: Take, *, tee: bool) -> None:
        self._take = take
        self._sources = {each.pipe: _Source(each, tee) for each in diversions}
        self._ending = False
        self._settled = threading.Event()
        self._wake, self._waker = os.pipe()
        self._thread = threading.Thread(target=self._run, name="asynclog-capture", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def finish(self, timeout: float) -> None:
        """Wait until all that was printed before is taken; the streams lead elsewhere by now.

        Args:
            timeout: Seconds to wait at most.
        """
        os.write(self._waker, b".")
        self._settled.wait(timeout)
        if not self._sources:
            self._thread.join(timeout)

    def forget(self) -> None:
        """Close what a forked child has inherited: the thread is not in it."""
        for source in self._sources.values():
            source.diversion.forget()
        self._sources = {}
        os.close(self._wake)
        os.close(self._waker)

    def _run(self) -> None:
        _own_threads.mark()
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        for pipe in self._sources:
            poll.register(pipe, select.POLLIN)
        deadline = 0.0
        while self._sources or not self._ending:
            ready = {descriptor for descriptor, _ in poll.poll(self._pause())}
            now = time.monotonic()
            self._give_out(ready, now)
            for descriptor in ready:
                if descriptor == self._wake:
                    poll.unregister(self._wake)
                    self._ending = True
                    deadline = now + SETTLE
                    for source in self._sources.values():
                        source.owed = _waiting(source.diversion.pipe)
                elif not self._read(self._sources[descriptor], now):
                    poll.unregister(descriptor)
                    self._close(descriptor)
            if self._ending and not self._settled.is_set() and self._is_settled(deadline):
                self._settle()
        self._settled.set()
        os.close(self._wake)
        os.close(self._waker)

    def _pause(self) -> float | None:
        """Return how many milliseconds to wait for bytes, None for any time."""
        if self._ending and not self._settled.is_set():
            return SETTLE * 1000 / 4
        if any(source.lines.waiting for source in self._sources.values()):
            return PATIENCE * 1000
        return None

    def _is_settled(self, deadline: float) -> bool:
        owed = any(source.owed > 0 for source in self._sources.values())
        return not owed and time.monotonic() >= deadline

    def _read(self, source: _Source, now: float) -> bool:
        """Take what has been printed; say whether more may come."""
        try:
            data = os.read(source.diversion.pipe, READ_BYTES)
        except OSError:
            return False
        if not data:
            return False
        source.since = now
        source.owed -= len(data)
        if source.shown:
            source.shown = _show(source.diversion.saved, data)
        if not self._settled.is_set():
            self._hand_on(source, source.lines.feed(data))
        return True

    def _give_out(self, ready: set[int], now: float) -> None:
        """Give out lines without end that nothing was added to for some time."""
        for pipe, source in self._sources.items():
            idle = pipe not in ready and now - source.since >= PATIENCE
            if idle and source.lines.waiting:
                self._hand_on(source, source.lines.give_out())

    def _hand_on(self, source: _Source, lines: list[OutputLine]) -> None:
        if lines:
            try:
                self._take(source.diversion.name, lines)
            except Exception:
                # nobody is there to be told; what is printed must go on being read
                pass

    def _settle(self) -> None:
        """From now on only show what children print."""
        for source in self._sources.values():
            self._hand_on(source, source.lines.close())
            source.shown = True
        self._settled.set()

    def _close(self, pipe: int) -> None:
        source = self._sources[pipe]
        if not self._settled.is_set():
            self._hand_on(source, source.lines.close())
        source.diversion.close()
        os.close(pipe)
        del self._sources[pipe]


def _waiting(pipe: int) -> int:
    """Return how many bytes are in a pipe."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


def _show(descriptor: int, data: bytes) -> bool:
    """Write some bytes; say whether there is anybody to see more of them."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            # somebody has made the terminal non-blocking
            select.select([], [descriptor], [])
        except OSError:
            return False
    return True
