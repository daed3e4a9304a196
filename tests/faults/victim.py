"""A program that logs numbered records until it is told to end, or dies of what is done to it.

``python victim.py BOARD RUN_DIR '{"threads": 2, ...}'``; prints what its stop has reported.
"""

from __future__ import annotations

import faulthandler
import gc
import itertools
import json
import os
import resource
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Final

from board import CALLS, FLUSHED, Board

import asynclog

Step = Callable[[], object]


class Source:
    """Logs numbered records, from wherever it is called, and counts the calls that returned.

    Args:
        board: Where it counts them.
        at: Its place there.
        name: What its records say of it.

    Attributes:
        over: Whether all sources are silent from now on.
    """

    over: ClassVar[bool] = False

    def __init__(self, board: Board, at: int, name: int) -> None:
        self._board = board
        self._at = at
        self._log = asynclog.get_logger("victim").bind(source=name)
        self._numbers = itertools.count()
        self._returned: list[None] = []

    def __call__(self, *_: object) -> None:
        """Log one record."""
        if self.over:
            return
        self._log.info("working", n=next(self._numbers))
        self._returned.append(None)
        self.settle()

    def settle(self) -> None:
        """Note the calls that have returned: one that interrupted another may be missing yet."""
        self._board.acknowledge(self._at, CALLS, len(self._returned))


class Cycle:
    """Something that only the garbage collector removes."""

    def __init__(self) -> None:
        self.me = self


def in_signal_handlers(source: Source) -> None:
    """Log from a signal handler, a thousand times a second."""
    depth = 0

    def handle(*_: object) -> None:
        nonlocal depth
        # on a busy machine a handler takes longer than until the next signal
        if depth < 5:
            depth += 1
            source()
            depth -= 1

    signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)


def in_finalisers(source: Source) -> Step:
    """Log from ``__del__`` of what is collected at any instant."""
    finalised = type("Finalised", (Cycle,), {"__del__": source})
    return lambda: [finalised() for _ in range(3)]


def in_weakref_callbacks(source: Source) -> Step:
    """Log from the callbacks of weak references, and from finalisers of weakref."""
    # by identity: what a reference leads to may be gone before it could be hashed
    references: dict[int, weakref.ref[Cycle]] = {}

    def gone(reference: weakref.ref[Cycle]) -> None:
        references.pop(id(reference), None)
        source()

    def step() -> None:
        reference = weakref.ref(Cycle(), gone)
        references[id(reference)] = reference
        weakref.finalize(Cycle(), source)

    return step


def in_audit_hooks(source: Source) -> Step:
    """Log whenever any thread, the collector's too, opens, renames or cuts a file."""
    inside = threading.local()

    def hook(event: str, _: object) -> None:
        if event in ("open", "os.rename", "os.truncate") and not hasattr(inside, "hook"):
            inside.hook = True
            source()
            del inside.hook

    sys.addaudithook(hook)
    return lambda: Path(os.devnull).read_bytes()


def at_shutdown(source: Source) -> None:
    """Log when the interpreter takes the modules apart, after all functions at exit."""
    last = type("Last", (), {"__del__": source})
    # gone when this module is
    globals()["last_of_all"] = last()


HABITS: Final[dict[str, Callable[[Source], Step | None]]] = {
    "signal handler": in_signal_handlers,
    "finaliser": in_finalisers,
    "weakref callback": in_weakref_callbacks,
    "audit hook": in_audit_hooks,
    "shutdown": at_shutdown,
}


def main() -> None:
    """Be a victim."""
    path, run_dir, text = sys.argv[1:]
    options: dict[str, Any] = json.loads(text)
    faulthandler.enable()
    board = Board(Path(path), options["threads"] + len(options["habits"]))
    if options["file_size"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (options["file_size"], resource.RLIM_INFINITY))
    sinks = [asynclog.JsonlFile(**options["file"])]
    asynclog.start_sync(run_dir, sinks=sinks, **options["settings"])
    sources = [Source(board, at, options["first"] + at) for at in range(board.ranks)]
    stops = options["leaves"] == "by a stop"
    gc.set_threshold(50)
    habits = zip(options["habits"], sources[options["threads"] :], strict=True)
    steps = [step for name, source in habits if (step := HABITS[name](source)) is not None]

    def work(source: Source, steps: list[Step]) -> None:
        for number in itertools.count(1):
            if board.over and (source is sources[0] or stops):
                return
            source()
            for step in steps:
                step()
            if options["flushes"] and source is sources[0] and not number % 20:
                before = board.acknowledged(0, CALLS)
                if asynclog.flush_sync():
                    board.acknowledge(0, FLUSHED, before)
            time.sleep(options["pace"])

    others = [
        threading.Thread(target=work, args=(source, []), daemon=True)
        for source in sources[1 : options["threads"]]
    ]
    for thread in others:
        thread.start()
    board.come(0, os.getpid())
    work(sources[0], steps)
    if options["leaves"] == "by an exception":
        raise RuntimeError("as it was told")
    if not stops:
        return
    for thread in others:
        thread.join()
    Source.over = True
    report = asynclog.stop_sync()
    for source in sources:
        source.settle()
    print(json.dumps([report.accepted, report.written, report.dropped]), flush=True)


if __name__ == "__main__":
    main()
