"""One run of one library: starts it, counts the calls, ends it in bounded time, reads back."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.adapters import Adapter, Call, Delay
from bench.drivers import make_driver
from bench.verify import Written, read_back


class Stage:
    """What a scenario works with.

    Args:
        adapter: The library.
        directory: An empty directory of its own.
        sizes: The scenario's numbers: counts and seconds.
    """

    def __init__(self, adapter: Adapter, directory: Path, sizes: Mapping[str, Any]) -> None:
        self.adapter = adapter
        self.directory = directory
        self.sizes = sizes
        self.driver = make_driver(adapter)
        self.calls = 0
        self.numbers = 0
        self.drained: int | None = None
        self.delay: Delay | None = None
        self.started = False
        self.stuck = False

    def start(self, delay: float | None = None) -> Call:
        """Start the library and return the call to measure."""
        if delay is not None:
            self.delay = Delay(delay)
        self.adapter.start(self.directory, self.delay)
        self.started = True
        return self.adapter.call()

    def made(self, count: int, numbers: int | None = None) -> None:
        """Note calls as made; ``numbers`` where more running numbers were given out."""
        self.calls += count
        self.numbers += count if numbers is None else numbers

    def drain(self) -> None:
        """Wait until the library says that all is in the file."""
        if self.adapter.logs:
            self.adapter.leave_thread()
            self.adapter.drain()

    def count_lines(self) -> int:
        """Return how many lines the files hold now."""
        return sum(path.read_bytes().count(b"\n") for path in self.adapter.files(self.directory))

    def note_drained(self) -> int:
        """Note and return what the files hold at the moment the library says that all is there."""
        self.drained = self.count_lines()
        return self.drained

    def warm_up(self, call: Call, count: int) -> int:
        """Make calls that are not measured, wait until they are written; return the next number."""
        self.driver.make(call, 0, count)
        self.made(count)
        if self.delay is None:
            self.drain()
        return self.numbers

    def finish(self, limit: float) -> dict[str, Any]:
        """Drain and stop within ``limit`` seconds, then account for every call.

        A library that does not come back is left in its thread: the process must then be ended
        with ``os._exit``, which ``stuck`` says.
        """
        if not self.started or not self.adapter.logs:
            self.driver.close()
            return {}
        if self.delay is not None:
            self.delay.seconds = 0.0
        self.driver.close()
        self.adapter.leave_thread()
        failures: list[str] = []
        self._bounded(self._end, failures, limit)
        written = (
            read_back(self.adapter, self.directory, self.calls, self.numbers)
            if self.adapter.files(self.directory)
            else Written(calls=self.calls)
        )
        if self.drained is not None:
            written.late = max(0, written.lines - self.drained)
        written.unfinished = self.stuck
        written.error = "; ".join(failures)
        if not self.stuck and not failures:
            written.dropped = self.adapter.dropped()
        missing = max(0, written.calls - written.lines - written.dropped)
        if self.stuck:
            written.unwritten = missing
        else:
            written.lost = missing
        notes = {} if self.stuck or failures else self.adapter.notes()
        return {**written.to_data(), "notes": notes}

    def _end(self, failures: list[str]) -> None:
        try:
            self.adapter.drain()
            self.adapter.stop()
        except Exception as error:
            failures.append(f"{type(error).__name__}: {error}")

    def _bounded(self, end: Callable[[list[str]], None], failures: list[str], limit: float) -> None:
        thread = threading.Thread(target=end, args=(failures,), daemon=True)
        thread.start()
        thread.join(limit)
        self.stuck = thread.is_alive()


def leave(status: int) -> None:
    """End the process at once, without the at-exit work of a library that is stuck."""
    os._exit(status)
