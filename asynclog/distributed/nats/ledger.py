"""The receiver's ledger: up to where the stream is in the file, and which parts have ever come.

An SQLite database in the run directory. What was written to the file since the last entry never
happened: see :mod:`.store`.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ...exceptions import AsynclogError
from ...sinks.journal import Place
from ...sinks.rotation import make_directories
from .spans import Spans, read

PATH: Final = Path(".asynclog") / "received.db"
"""Where in the run directory it lies."""
VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE entry (
    receiver TEXT, stream TEXT, sequence INTEGER, mark TEXT, offset INTEGER
);
CREATE TABLE seen (source TEXT PRIMARY KEY, spans TEXT) WITHOUT ROWID;
"""


class LedgerError(AsynclogError):
    """The ledger of a run directory cannot be read."""

    def __init__(self, path: Path, problem: object) -> None:
        super().__init__(f"{path} cannot be used ({problem}): collect into a new run directory")


class Ledger:
    """Reads and writes the ledger; used by one thread at a time.

    Args:
        run_dir: The run directory.

    Attributes:
        receiver: Names this receiver on the server.
        stream: Tells the stream from another of the same name; empty before the first one.
        sequence: The last message of it that was dealt with.
        place: Up to where the files hold what was received.
        seen: Parts that have come, by source.
    """

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / PATH
        self._database: sqlite3.Connection | None = None
        self.receiver: str = ""
        self.stream: str = ""
        self.sequence: int = 0
        self.place: Place = Place()
        self.seen: dict[str, Spans] = {}

    def exists(self) -> bool:
        """Say whether something was received already."""
        return self._path.exists()

    def open(self) -> None:
        """Read what there is; make a new one where there is nothing.

        Raises:
            LedgerError: It cannot be read.
            OSError: It cannot be made.
        """
        make_directories(self._path.parent)
        # closed to others, as the cursors are; SQLite's own files get the same rights
        self._path.touch(0o600)
        try:
            # checked by whoever runs the calls one after the other
            database = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
            self._database = database
            # so that it needs no shared memory, which network disks have not
            database.execute("PRAGMA locking_mode=EXCLUSIVE")
            # survives a kill at any instant; a power cut may undo the last entries
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=NORMAL")
            self._load(database)
        except (sqlite3.Error, ValueError, TypeError) as error:
            self.close()
            raise LedgerError(self._path, error) from error

    def enter(self, stream: str, sequence: int, place: Place, seen: Mapping[str, Spans]) -> None:
        """Enter what has been written; all of it is known afterwards, or nothing.

        Raises:
            OSError: It cannot be written.
        """
        assert self._database is not None
        database = self._database
        try:
            database.execute("BEGIN IMMEDIATE")
            database.execute(
                "UPDATE entry SET stream = ?, sequence = ?, mark = ?, offset = ?",
                (stream, sequence, place.mark, place.offset),
            )
            database.executemany(
                "REPLACE INTO seen VALUES (?, ?)",
                [(source, json.dumps(spans)) for source, spans in seen.items()],
            )
            database.execute("COMMIT")
        except sqlite3.Error as error:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise OSError(f"{self._path}: {error}") from error
        self.stream, self.sequence, self.place = stream, sequence, place
        self.seen.update(seen)

    def close(self) -> None:
        """Close it."""
        database, self._database = self._database, None
        if database is not None:
            database.close()

    def _load(self, database: sqlite3.Connection) -> None:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version == 0:
            database.executescript(
                f"BEGIN; {_SCHEMA}"
                f"INSERT INTO entry VALUES ('{secrets.token_hex(4)}', '', 0, '', 0);"
                f"PRAGMA user_version = {VERSION}; COMMIT;"
            )
        elif version != VERSION:
            raise ValueError(f"it has version {version}, this asynclog reads {VERSION}")
        row = database.execute("SELECT receiver, stream, sequence, mark, offset FROM entry")
        self.receiver, self.stream, self.sequence, mark, offset = row.fetchone()
        self.place = Place(mark, offset)
        rows = database.execute("SELECT source, spans FROM seen")
        self.seen = {source: read(json.loads(spans)) for source, spans in rows}
