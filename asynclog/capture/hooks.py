"""Exceptions that nobody catches, of the main thread, threads, finalisers and asyncio, as records.

Each hook calls the one that was there before it. One that somebody else has put a hook of their own
over cannot be taken out: it then does nothing but that.
"""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, TextIO

from .. import _own_threads
from .._streams import aside
from .records import log_last_words

_BRIDGE: Final = "asynclog.stdlib."


class Hooks:
    """The hooks of one capture.

    Args:
        exceptions: Whether to record exceptions.
        warned: Whether to record warnings.
        shown: Whether what the hooks before ours print is shown; it is not captured.
        quiet: Whether the console leaves out the records.
    """

    def __init__(self, *, exceptions: bool, warned: bool, shown: bool, quiet: bool) -> None:
        self._exceptions = exceptions
        self._warned = warned
        self._shown = shown
        self._fields: dict[str, Any] = {"quiet": True} if quiet else {}
        self._on = False
        self._places: list[tuple[Any, str, Any, Any]] = []
        self._filter = _AsyncioFilter(self)

    def install(self) -> None:
        """Put the hooks in their places."""
        self._on = True
        if self._exceptions:
            self._put(sys, "excepthook", self._main_hook(sys.excepthook))
            self._put(threading, "excepthook", self._thread_hook(threading.excepthook))
            self._put(sys, "unraisablehook", self._unraisable_hook(sys.unraisablehook))
            logging.getLogger("asyncio").addFilter(self._filter)
        if self._warned:
            self._put(warnings, "showwarning", self._warning_hook(warnings.showwarning))

    def remove(self) -> None:
        """Put back what was there before."""
        self._on = False
        logging.getLogger("asyncio").removeFilter(self._filter)
        for module, name, before, ours in self._places:
            if getattr(module, name) is ours:
                setattr(module, name, before)
        self._places.clear()

    def _put(self, module: Any, name: str, hook: Any) -> None:
        self._places.append((module, name, getattr(module, name), hook))
        setattr(module, name, hook)

    def report(self, level: str, event: str, error: Any, **fields: Any) -> None:
        """Log an exception, unless the capture is over or it is a collector's own."""
        if self._on and not _own_threads.is_own():
            log_last_words(level, event, error, **fields, **self._fields)

    def pass_on(self, before: Callable[..., Any], *args: Any) -> None:
        """Call what was there before, and do not capture what it prints."""
        if not self._on:
            before(*args)
            return
        with aside(self._shown):
            before(*args)

    def _main_hook(self, before: Callable[..., Any]) -> Callable[..., None]:
        def excepthook(
            kind: type[BaseException], error: BaseException, traceback: TracebackType | None
        ) -> None:
            interrupted = issubclass(kind, KeyboardInterrupt)
            self.report(
                "warning" if interrupted else "critical",
                "interrupted" if interrupted else "uncaught exception",
                (kind, error, traceback),
            )
            self.pass_on(before, kind, error, traceback)

        return excepthook

    def _thread_hook(self, before: Callable[..., Any]) -> Callable[..., None]:
        def excepthook(args: threading.ExceptHookArgs) -> None:
            if args.exc_value is not None and not issubclass(args.exc_type, SystemExit):
                name = args.thread.name if args.thread is not None else None
                error = (args.exc_type, args.exc_value, args.exc_traceback)
                self.report("error", "uncaught exception in a thread", error, thread=name)
            self.pass_on(before, args)

        return excepthook

    def _unraisable_hook(self, before: Callable[..., Any]) -> Callable[..., None]:
        def unraisablehook(args: sys.UnraisableHookArgs) -> None:
            if args.exc_value is not None:
                error = (args.exc_type, args.exc_value, args.exc_traceback)
                # as text, at once: a finaliser's object must not come to life again
                where = args.err_msg or "Exception ignored in"
                self.report("error", "exception ignored", error, where=where, object=args.object)
            self.pass_on(before, args)

        return unraisablehook

    def _warning_hook(self, before: Callable[..., Any]) -> Callable[..., None]:
        def showwarning(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if file is not None or _makes_records(before):
                before(message, category, filename, lineno, file, line)
                return
            if self._on and not _own_threads.is_own():
                _log_warning(message, category, filename, lineno, self._fields)
            self.pass_on(before, message, category, filename, lineno, file, line)

        return showwarning


class _AsyncioFilter(logging.Filter):
    """Records what asyncio's event loops, uvloop's too, log of exceptions that nobody has fetched.

    They come to the loop's exception handler; a handler of the program's is asked in its place, and
    what it does with them is its own business. As a filter, because a logger with a handler no
    longer prints anything by itself.
    """

    def __init__(self, hooks: Hooks) -> None:
        super().__init__()
        self._hooks = hooks

    def filter(self, record: logging.LogRecord) -> bool:
        """Log a record, have it handled as it would have been, and end its way."""
        logger = logging.getLogger("asyncio")
        if record.levelno < logging.ERROR or not record.exc_info or _is_bridged(logger):
            return True
        try:
            event, _, details = record.getMessage().partition("\n")
        except Exception:
            return True
        fields = {"details": details} if details else {}
        self._hooks.report("error", event, record.exc_info, **fields)
        self._hooks.pass_on(logger.callHandlers, record)
        return False


def _log_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, fields: Any
) -> None:
    from .._lifecycle import default_pipeline

    try:
        logger = default_pipeline().get_logger("py.warnings")
        where = {"category": category.__name__, "file": filename, "line": lineno}
        logger.warning(str(message), **where, **fields)
    except Exception:
        # a warning whose own text raises is still shown
        pass


def _makes_records(showwarning: Any) -> bool:
    """Tell whether warnings go to ``logging`` already, and so to whoever handles them there."""
    module = getattr(showwarning, "__module__", "") or ""
    return module.startswith(_BRIDGE) and _is_bridged(logging.getLogger("py.warnings"))


def _is_bridged(logger: logging.Logger | None) -> bool:
    """Tell whether what a logger gets is made into records by a handler of ours."""
    while logger is not None:
        if any(type(handler).__module__.startswith(_BRIDGE) for handler in logger.handlers):
            return True
        logger = logger.parent if logger.propagate else None
    return False
