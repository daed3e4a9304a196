"""The launcher's own standard streams: what programs print passes through, our lines go between."""

from __future__ import annotations

import os
import select
import threading


class Screen:
    """Writes to standard output and error, from several threads.

    A line of ours never lands in the middle of one that a program has not ended: such a line is
    ended first on a terminal, or wiped if it is a progress bar, which will be drawn again.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open = {1: b"", 2: b""}
        # a descriptor that is closed now may be any file of ours later
        self._gone: set[int] = {number for number in (1, 2) if not _is_open(number)}
        self._terminal = {number: _is_terminal(number) for number in (1, 2)}

    def pass_through(self, number: int, data: bytes) -> None:
        """Show what a program has printed, as it is."""
        with self._lock:
            self._write(number, data)
            if self._terminal[number]:
                self._open[number] = (self._open[number] + data).rpartition(b"\n")[2][-1024:]

    def show(self, number: int, text: str) -> None:
        """Show some whole lines."""
        with self._lock:
            if self._terminal[number]:
                self._clear()
            self._write(number, text.encode(errors="backslashreplace"))

    def _clear(self) -> None:
        for number, rest in self._open.items():
            if rest.strip(b"\r"):
                self._write(number, b"\r\x1b[K" if b"\r" in rest else b"\n")
            self._open[number] = b""

    def _write(self, number: int, data: bytes) -> None:
        rest = memoryview(data)
        while rest and number not in self._gone:
            try:
                rest = rest[os.write(number, rest) :]
            except BlockingIOError:
                select.select([], [number], [])
            except OSError:
                # there is nobody to see more of it
                self._gone.add(number)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _is_terminal(number: int) -> bool:
    try:
        return os.isatty(number)
    except OSError:
        return False
