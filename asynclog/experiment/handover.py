"""Handover: gives an experiment's lines to a logging.Handler of the user's, in another thread."""

from __future__ import annotations

import logging
import os
import threading
from queue import SimpleQueue
from typing import Any, Final, TypeAlias

from .._complain import complain
from .._logger.chain import encode_line
from ..sinks.format import log_record
from ..sinks.select import parse
from ..typing import EventDict
from .text import NO_TEXT, shown

MAX_WAITING: Final = 10_000
"""Lines that may wait for a handler; further ones are not given to it, which is said."""
_PATIENCE: Final = 1.5
"""Seconds a handler has at the end."""

_Lines: TypeAlias = "SimpleQueue[tuple[logging.Handler, bytes] | None]"


class Handover:
    """Stands for the last processor of a chain: makes the line, and gives it to a handler as well.

    What the handler does, it does in a thread of its own: no call waits for it. A forked child
    gives it nothing.

    Attributes:
        encode: What makes the line, by which loggers know the end of a chain.
        handler: The handler, None while there is none.
    """

    def __init__(self) -> None:
        self.encode: Any = encode_line
        self.handler: logging.Handler | None = None
        self._given: list[logging.Handler] = []
        self._lines: _Lines = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._process = 0

    def __call__(self, logger: Any, method_name: str, event_dict: EventDict) -> bytes:
        """Return the line of an event."""
        line = encode_line(logger, method_name, event_dict)
        handler = self.handler
        if handler is not None and self._process == os.getpid():
            if self._lines.qsize() < MAX_WAITING:
                self._lines.put((handler, line))
            else:
                complain("log_handler is too slow: it does not get all lines", kind="slow handler")
        return line

    def assign(self, handler: logging.Handler | None) -> None:
        """Give the lines from now on to this handler; None for no handler."""
        if handler is not None:
            if self._process != os.getpid():
                self._start()
            if handler not in self._given:
                self._given.append(handler)
        self.handler = handler

    def close(self) -> None:
        """Let the handlers have what waits for them, and close them."""
        self.handler = None
        thread, self._thread = self._thread, None
        if thread is None or self._process != os.getpid():
            return
        self._process = 0
        self._lines.put(None)
        thread.join(_PATIENCE)
        if thread.is_alive():
            complain("log_handler hangs: it does not get the last lines")
            return
        while self._given:
            self._given.pop().close()

    def _start(self) -> None:
        self._process = os.getpid()
        self._given.clear()
        self._lines = SimpleQueue()
        self._thread = threading.Thread(
            target=_feed, args=(self._lines,), name="asynclog-log-handler", daemon=True
        )
        self._thread.start()


def _feed(lines: _Lines) -> None:
    while (item := lines.get()) is not None:
        handler, line = item
        try:
            event = parse(line)
            if event.get("kind") in NO_TEXT:
                continue
            record = log_record(shown(event))
            if record.levelno >= handler.level:
                handler.handle(record)
        except Exception as error:
            complain(f"log_handler: {type(error).__name__}: {error}", kind="log_handler")
