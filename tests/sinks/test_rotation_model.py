"""RotatingFile against a list of what must be where, through all that can happen in any order."""

from __future__ import annotations

import gzip
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from asynclog.sinks.backups import Backups, rotated_set
from asynclog.sinks.rotation import RotatingFile

MAX_BYTES = 100
BACKUPS = 3


class RotationModel(RuleBasedStateMachine):
    """The model: the files from the oldest to the current one, each a list of lines."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.path = self.directory / "logs" / "events.jsonl"
        self.now = 0.0
        self.number = 0
        self.backups: list[list[bytes]] = []
        self.current: list[bytes] = []
        self.compress = False
        self.file = self._new()

    def _new(self) -> RotatingFile:
        return RotatingFile(
            self.path,
            max_bytes=MAX_BYTES,
            backups=BACKUPS,
            compress=self.compress,
            clock=lambda: self.now,
        )

    def _lines(self, sizes: list[int]) -> list[bytes]:
        lines: list[bytes] = []
        for size in sizes:
            self.number += 1
            lines.append(b"%0*d\n" % (max(size - 1, 6), self.number))
        return lines

    @rule(sizes=st.lists(st.integers(7, 60), min_size=1, max_size=4), pieces=st.booleans())
    def append(self, sizes: list[int], pieces: bool) -> None:
        """Append lines; they rotate the file when they do not fit behind what is there."""
        lines = self._lines(sizes)
        content = b"".join(lines)
        position = self.file.prepare(len(content))
        self.file.append(lines if pieces else [content])
        if self.current and len(b"".join(self.current)) + len(content) > MAX_BYTES:
            self.backups.append(self.current)
            self.current = []
            # only numbers 1 to BACKUPS exist, and a gap is filled before anything is removed
            self.backups = self.backups[-BACKUPS:]
        assert position.offset == len(b"".join(self.current))
        self.current += lines

    @rule(compress=st.booleans())
    def restart(self, compress: bool) -> None:
        """End the process and start another."""
        self.file.close()
        self.compress = compress
        self.file = self._new()

    @rule()
    def kill(self) -> None:
        """Leave the file open, as a process that was killed does, and start another."""
        self.file._drop()
        if self.file._compressor is not None:
            self.file._compressor.wait()
        self.file = self._new()

    @rule()
    @precondition(lambda self: self.path.exists())
    def remove(self) -> None:
        """Remove the current file."""
        self.path.unlink()
        self.current = []

    @rule()
    @precondition(lambda self: self.path.exists())
    def move(self) -> None:
        """Move the current file away, and let a second pass."""
        self.path.rename(self.directory / f"moved{self.number}")
        self.current = []
        self.now += 1

    @rule()
    @precondition(lambda self: self.path.exists())
    def truncate(self) -> None:
        """Copy and truncate."""
        with self.path.open("r+b") as file:
            file.truncate()
        self.current = []

    @rule()
    def remove_directory(self) -> None:
        """Remove everything."""
        if self.file._compressor is not None:
            self.file._compressor.wait()
        shutil.rmtree(self.path.parent, ignore_errors=True)
        self.backups, self.current = [], []

    @rule(which=st.integers(0, BACKUPS - 1))
    @precondition(lambda self: self.backups)
    def remove_backup(self, which: int) -> None:
        """Remove a backup: a gap."""
        if self.file._compressor is not None:
            self.file._compressor.wait()
        paths = Backups.look(self.path).paths()
        which %= len(paths)
        paths[which].unlink()
        del self.backups[which]

    @rule()
    def foreign_line(self) -> None:
        """Let another program append."""
        if self.path.exists():
            [line] = self._lines([20])
            with self.path.open("ab") as file:
                file.write(line)
            self.current.append(line)

    @invariant()
    def everything_is_where_the_model_says(self) -> None:
        """Every line is there exactly once, in order, none torn."""
        if self.file._compressor is not None:
            self.file._compressor.wait()
        found: list[list[bytes]] = []
        for part in rotated_set(self.path):
            content = part.read_bytes()
            if part.suffix == ".gz":
                content = gzip.decompress(content)
            found.append(content.splitlines(keepends=True))
        expected = [*self.backups, self.current] if self.path.exists() else self.backups
        assert found == expected
        assert len(found) <= BACKUPS + 1

    def teardown(self) -> None:
        """Remove what the machine has made."""
        self.file.close()
        shutil.rmtree(self.directory)


TestRotationModel = RotationModel.TestCase
TestRotationModel.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
