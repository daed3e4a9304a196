"""One capture from start to stop, and the one that is on in this process."""

from __future__ import annotations

import os
import threading
from types import TracebackType
from typing import Any, Final, Literal, Self, cast

from .._complain import complain
from .._launched import is_read_by_launcher
from .._lifecycle import before_stop, no_longer_before_stop
from ..exceptions import SettingError
from .divert import NUMBERS, Diversion, StreamName
from .endings import Endings
from .faults import Faults
from .hooks import Hooks
from .reader import Reader
from .records import OutputRecords

STOP_TIMEOUT: Final = 5.0
"""Seconds a stop waits for what was printed to be shown: a terminal may be held by Ctrl-S."""
EXIT_TIMEOUT: Final = 1.0
"""The same for a process that ends itself at once, as with ``os._exit``."""

_changing = threading.RLock()
_on: list[Capture] = []
"""The captures that were started and not stopped; the first one does the work."""


class Capture:
    """Captures what the process prints, from :meth:`start` to :meth:`stop`; see :func:`capture`.

    One capture at a time does the work: one that is started while another is on changes nothing,
    and that other one goes on until all are stopped.
    """

    def __init__(
        self,
        *,
        stdout: bool = True,
        stderr: bool = True,
        warnings: bool = True,
        exceptions: bool = True,
        faults: bool = True,
        tee: bool = True,
    ) -> None:
        given = {
            "stdout": stdout,
            "stderr": stderr,
            "warnings": warnings,
            "exceptions": exceptions,
            "faults": faults,
            "tee": tee,
        }
        for name, value in given.items():
            if cast("Any", value) is not True and cast("Any", value) is not False:
                raise SettingError(name, "must be True or False", value)
        self._wanted = given
        self._work: _Work | None = None

    def start(self) -> Self:
        """Begin; a no-op when it is on already.

        Raises:
            OSError: There are no descriptors left; nothing was started.
        """
        with _changing:
            if self not in _on:
                if not _on:
                    self._work = _Work(self._wanted)
                    self._work.start()
                elif self._work is None:
                    self._work = _on[0]._work
                _on.append(self)
        return self

    def stop(self) -> None:
        """Take in what was printed so far, and put everything back; a no-op when it is off."""
        with _changing:
            if self in _on:
                _on.remove(self)
                work, self._work = self._work, None
                if not _on and work is not None:
                    work.stop(STOP_TIMEOUT)

    def __enter__(self) -> Self:
        """Begin."""
        return self.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> Literal[False]:
        """End."""
        self.stop()
        return False


def capture(
    *,
    stdout: bool = True,
    stderr: bool = True,
    warnings: bool = True,
    exceptions: bool = True,
    faults: bool = True,
    tee: bool = True,
) -> Capture:
    """Record what the process prints, warns of and dies of, in the default pipeline.

    Everything is put back at the end of the block, and at the latest when the default pipeline
    stops. Start that first: its run takes the records, and crash dumps need its spool.

    Args:
        stdout: Record what is written to file descriptor 1: by Python, by native code, by child
            processes that inherit it. Each line is a record of kind ``output``.
        stderr: The same for file descriptor 2.
        warnings: Record what :mod:`warnings` shows, by logger ``py.warnings``.
        exceptions: Record exceptions that nobody has caught: of the main thread (critical), of
            threads, of finalisers, and of asyncio tasks whose result nobody has fetched (error).
            The hooks that were there before are still called.
        faults: Have :mod:`faulthandler` dump fatal errors (segmentation faults, aborts) into the
            run's spool; whoever collects the run makes a record of them.
        tee: Whether what is printed still appears where it would have appeared. The records are
            ``quiet`` then: the console does not show them a second time.

    Returns:
        A context manager, which also has ``start()`` and ``stop()``.

    Raises:
        SettingError: An argument is neither True nor False.

    Example::

        with asynclog.running("runs/exp1"), capture():
            print("hello")
    """
    return Capture(
        stdout=stdout,
        stderr=stderr,
        warnings=warnings,
        exceptions=exceptions,
        faults=faults,
        tee=tee,
    )


class _Work:
    """All that a capture changes in the process.

    Args:
        wanted: The arguments of :func:`capture` by name.
    """

    def __init__(self, wanted: dict[str, bool]) -> None:
        tee = wanted["tee"]
        self._process = os.getpid()
        self._names: list[StreamName] = [
            name
            for name in NUMBERS
            # each line would be two records
            if wanted[name] and Diversion.possible(name) and not is_read_by_launcher(NUMBERS[name])
        ]
        self._diversions: list[Diversion] = []
        self._hooks = Hooks(
            exceptions=wanted["exceptions"],
            warned=wanted["warnings"],
            shown=tee,
            # the hooks before ours show it, where it can be seen
            quiet=tee or "stderr" not in self._names,
        )
        self._faults = Faults() if wanted["faults"] else None
        self._endings = Endings(self._leave, self._stay)
        self._records = OutputRecords(quiet=tee)
        self._tee = tee
        self._reader: Reader | None = None

    def start(self) -> None:
        self._divert_streams()
        self._hooks.install()
        if self._faults is not None:
            self._faults.install()
        if self._diversions:
            self._endings.install()
        before_stop(_stop_all)

    def stop(self, timeout: float) -> None:
        no_longer_before_stop(_stop_all)
        self._endings.remove()
        self._hooks.remove()
        if self._faults is not None:
            self._faults.remove()
        self._restore_streams(timeout)

    def after_fork(self) -> None:
        """Go on in a forked child: what it prints is read by its parent."""
        if self._reader is not None:
            self._reader.forget()
        if self._faults is not None:
            self._faults.after_fork()

    def _divert_streams(self) -> None:
        started: list[Diversion] = []
        try:
            for name in self._names:
                diversion = Diversion(name)
                diversion.start()
                started.append(diversion)
            if started:
                reader = Reader(started, self._records.take, tee=self._tee)
                self._diversions, self._reader = started, reader
                reader.start()
        except BaseException:
            for diversion in started:
                diversion.stop()
                diversion.close()
            if self._reader is not None:
                self._reader.forget()
                self._reader = None
            else:
                for diversion in started:
                    diversion.forget()
            raise

    def _restore_streams(self, timeout: float) -> None:
        for diversion in self._diversions:
            try:
                diversion.stop()
            except OSError as error:
                complain(f"{diversion.name} could not be put back: {error}")
        reader, self._reader = self._reader, None
        if reader is None:
            return
        if os.getpid() == self._process:
            reader.finish(timeout)
        else:
            for diversion in self._diversions:
                diversion.close()

    def _leave(self) -> None:
        if os.getpid() == self._process:
            self._restore_streams(EXIT_TIMEOUT)

    def _stay(self) -> None:
        if os.getpid() == self._process and self._reader is None:
            try:
                self._divert_streams()
            except Exception as error:
                complain(f"what is printed is not captured any more: {error}")


def _stop_all() -> None:
    """End the capture, whoever has started it."""
    with _changing:
        while _on:
            _on[-1].stop()


def _after_fork_in_child() -> None:
    global _changing
    _changing = threading.RLock()
    if _on:
        work = _on[0]._work  # pyright: ignore[reportPrivateUsage]
        try:
            if work is not None:
                work.after_fork()
        except Exception as error:
            complain(f"capture in a forked child: {error}")


os.register_at_fork(after_in_child=_after_fork_in_child)
