"""W&B's transaction logs, read to know what W&B has: it answers no call by "it is written".

A log is one of LevelDB's (https://github.com/google/leveldb/blob/main/doc/log_format.md): blocks
of 32 KiB with pieces of records, behind a header of 7 bytes (``:W&B``, magic number, version). Each
record is a Protocol Buffer, ``wandb_internal.Record``.
"""

from __future__ import annotations

import glob
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

HEADER: Final = 7
BLOCK: Final = 32 * 1024
_FULL, _LAST = 1, 4


class TransactionLog:
    """Reads a log that may still be written to; used by one thread at a time.

    Args:
        path: The log, ``run-....wandb``; it may come later.
        parse: Makes a ``Record`` of its bytes.
    """

    def __init__(self, path: Path, parse: Callable[[bytes], Any]) -> None:
        self._path = path
        self._parse = parse
        self._position = HEADER
        self._begun = b""
        self.found: Counter[str] = Counter()
        """Number of records that were read, by type."""

    def read_on(self) -> None:
        """Count what has come since the last call.

        Raises:
            OSError: The log cannot be read.
        """
        for record in self.records():
            self.found[record.WhichOneof("record_type")] += 1

    def records(self) -> Iterator[Any]:
        """Yield the records that have come since the last call.

        Raises:
            OSError: The log cannot be read.
        """
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return
        with file:
            file.seek(self._position)
            while block := file.read(BLOCK - self._position % BLOCK):
                for record in self._pieces(block):
                    yield self._parse(record)
                if self._position % BLOCK:
                    # the rest is not there yet
                    return

    def _pieces(self, block: bytes) -> Iterator[bytes]:
        """Yield the records that end in a block, or in the part of it that is there."""
        at = 0
        while (end := at + HEADER) <= len(block):
            kind = block[at + 6]
            end += int.from_bytes(block[at + 4 : at + 6], "little")
            if not kind or end > len(block):
                return
            self._begun += block[at + HEADER : end]
            self._position += end - at
            at = end
            if kind in (_FULL, _LAST):
                record, self._begun = self._begun, b""
                yield record
        room = BLOCK - self._position % BLOCK
        if room < HEADER and len(block) - at == room:
            # too little for another piece: zeros
            self._position += room


class Row(NamedTuple):
    """A row of a run's history.

    Attributes:
        number: W&B's number of it, from 0.
        items: What is in it, as W&B has it.
        files: Directory of the files that it refers to.
    """

    number: int
    items: Any
    files: Path

    def values(self) -> dict[str, Any]:
        """Return what is in it as data for JSON."""
        values: dict[str, Any] = {}
        for item in self.items:
            *around, last = list(item.nested_key) or [item.key]
            place = values
            for key in around:
                place = place.setdefault(key, {})
            place[last] = json.loads(item.value_json)
        return values


def rows(directory: Path, run_id: str, parse: Callable[[bytes], Any]) -> Iterator[Row]:
    """Yield the rows of a run that are in the logs of all its starts, the oldest start first.

    Args:
        directory: Where the logs are, ``wandb`` in the run directory.
        run_id: W&B's identifier of the run.
        parse: Makes a ``Record`` of its bytes.

    Raises:
        OSError: A log cannot be read.
    """
    pattern = f"*run-*/run-{glob.escape(run_id)}.wandb"
    for path in sorted(directory.glob(pattern), key=lambda path: path.stat().st_mtime_ns):
        for record in TransactionLog(path, parse).records():
            if record.WhichOneof("record_type") == "history":
                history = record.history
                yield Row(history.step.num, history.item, path.parent / "files")
