"""The console at the very end: what is logged after the pipeline has stopped at exit is shown, too.

Other at-exit functions and finalisers log then (torch its cache statistics); the pipeline itself
only stores it in the file.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from sys import is_finalizing
from typing import Any

from .._lifecycle import call_last, default_pipeline
from ..sinks import Console
from ..sinks.escape import escape_json
from .switch import is_ours

_console: Console | None = None


def show_on(console: Console) -> None:
    """Show what comes late on this console."""
    global _console
    _console = console


def _take_over() -> None:
    pipeline = default_pipeline()
    producer = pipeline.producer
    store = producer.late
    if (
        _console is not None
        and store is not None
        and is_ours(pipeline)
        and pipeline._run is not None
        and pipeline._run.process == os.getpid()
    ):
        producer.late = _shown_and_stored(_console, store)


def _shown_and_stored(
    console: Console, store: Callable[[bytes, int], bool]
) -> Callable[[bytes, int], bool]:
    from ..collector.batch import Batch

    sink = console.make()

    def late(line: bytes, level: int) -> bool:
        stored = store(line, level)
        batch: Any = Batch(line)
        try:
            if is_finalizing():
                # No time can be formatted any more; Python 3.13 crashes when one tries.
                os.write(2, escape_json(line))
            else:
                sink.write_blocking(batch)
        except Exception:
            return stored
        return True

    return late


call_last(_take_over)
