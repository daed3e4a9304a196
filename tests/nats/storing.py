"""Stores a stream, the same each time, until it is killed: ``storing.py RUN_DIR BATCHES``."""

from __future__ import annotations

import os
import random
import sys
from datetime import UTC, datetime
from pathlib import Path

from asynclog import JsonlFile
from asynclog.distributed.nats.store import Received, Store
from asynclog.sinks.nats.names import Part
from asynclog.sinks.span import Span
from asynclog.typing import Run

FILES = 5
LINES = 40


def message(number: int) -> Received:
    """Return a message of the stream; each fifth repeats a part of what came before."""
    source, turn = number % FILES, number // FILES
    again = 1 if turn % 5 == 4 else 0
    lines = [
        b'{"level":"info","event":"x","source":%d,"n":%d}\n' % (source, 10_000_000 + n)
        for n in range((turn - again) * LINES, (turn + 1) * LINES)
    ]
    size = len(lines[0])
    start = (turn - again) * LINES * size
    data = b"".join(lines)
    part = Part("5f5f", Span(f"events_rank{source}.jsonl", "5f" * 16, start), start + len(data))
    return Received(number + 1, f"host{source}", part.message_id, data)


def open_store(run_dir: Path) -> Store:
    """Return the store, open; its file is rotated often."""
    run = Run(run_dir, "x", datetime.now(UTC), "here", os.getpid())
    store = Store(JsonlFile(max_bytes="50 kB", backups=9999), run)
    store.open()
    store.begin("the stream")
    return store


def main() -> None:
    """Store so many batches, from where it was on."""
    store = open_store(Path(sys.argv[1]))
    for _ in range(int(sys.argv[2])):
        count = random.randint(1, 12)
        store.take([message(store.sequence + n) for n in range(count)])


if __name__ == "__main__":
    main()
