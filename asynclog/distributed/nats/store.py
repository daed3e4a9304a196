"""The receiver's file: every line of a stream once, whatever is killed when.

The ledger says up to which message of the stream, and up to which byte of the file, all is well.
Lines are appended first and entered then; a start cuts the file back to what was entered, and the
stream is read on from there. Messages that come twice are known by the parts of files they hold.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from ..._complain import complain
from ..._json import dumps
from ..._line.encoder import timestamp
from ...exceptions import SettingError
from ...sinks import JsonlFile
from ...sinks.backups import COMPRESSED_SUFFIX, rotated_set
from ...sinks.journal import Place
from ...sinks.nats.names import Part
from ...sinks.parts import mark_of, open_part
from ...sinks.rotation import Position
from ...sinks.select import is_flat, parse
from ...typing import Run
from .ledger import Ledger
from .spans import Spans, joined, missing

_HOST: Final = b'"host":'


class Received(NamedTuple):
    """A message of the stream.

    Attributes:
        sequence: Its number in the stream.
        host: Machine that it comes from.
        message_id: What the sender calls it, None when it has not said.
        data: What it holds.
    """

    sequence: int
    host: str
    message_id: str | None
    data: bytes


class Store:
    """Writes what is received; used by one thread at a time, but for :meth:`written`.

    Args:
        durable: The file to write.
        run: The run that is received.

    Attributes:
        path: The current file.
        records: Lines that were written.
        repeated: Bytes of lines that had come before.
        foreign: Messages that are none of ours.
        lost: Messages that the stream had given up before they were received.
        hosts: Machines that were heard of.
    """

    def __init__(self, durable: JsonlFile, run: Run) -> None:
        self._file = durable.file(run)
        self._backups = durable.backups
        self._run = run
        self._ledger = Ledger(run.directory)
        self._stream = ""
        self._position = Position(0, 0, 0)
        self.path: Path = self._file.path
        self.sequence: int = 0
        self.records: int = 0
        self.repeated: int = 0
        self.foreign: int = 0
        self.lost: int = 0
        self.hosts: set[str] = set()

    @property
    def receiver(self) -> str:
        """A name for this receiver that no other has."""
        return self._ledger.receiver

    def open(self) -> None:
        """Find out what was received before, and undo what was not finished.

        Raises:
            SettingError: The run directory holds files of another run.
            LedgerError: The ledger cannot be read.
            OSError: A file cannot be read or cut.
        """
        if not self._ledger.exists() and any(
            path.stat().st_size for path in rotated_set(self.path)
        ):
            raise _others(self.path)
        self._ledger.open()
        self._stream, self.sequence = self._ledger.stream, self._ledger.sequence
        self._cut()

    def begin(self, stream: str) -> None:
        """Note which stream the next messages are from.

        Args:
            stream: Tells it from another of the same name, whose messages have other numbers.
        """
        if stream != self._stream:
            self._stream, self.sequence = stream, 0

    def take(self, messages: Sequence[Received]) -> bytes:
        """Write what has come; return the lines that are new.

        Args:
            messages: In the order of their numbers. Numbers that are missing are lost for good.

        Raises:
            OSError: It cannot be written; the same messages may be given again.
        """
        seen: dict[str, Spans] = {}
        hosts: set[str] = set()
        lines: list[bytes] = []
        sequence, lost, foreign, repeated = self.sequence, 0, 0, 0
        for message in messages:
            if message.sequence <= sequence:
                continue
            gone = message.sequence - sequence - 1
            if gone:
                lost += gone
                lines.append(self._note("evicted", gone, self.lost + lost))
            sequence = message.sequence
            part = _part(message)
            if part is None:
                foreign += 1
                continue
            before = seen.get(part.source, self._ledger.seen.get(part.source, ()))
            start = part.span.start
            new = missing(before, start, part.end)
            repeated += part.end - start - sum(end - begin for begin, end in new)
            for begin, end in new:
                lines += _with_host(message.data[begin - start : end - start], message.host)
            seen[part.source] = joined(before, start, part.end)
            hosts.add(message.host)
        content = b"".join(lines)
        self._write(content, sequence, seen)
        self.sequence = sequence
        self.records += content.count(b"\n")
        self.lost += lost
        self.foreign += foreign
        self.repeated += repeated
        self.hosts |= hosts
        return content

    def written(self) -> Position:
        """Return how far the current file holds what was entered; may be called from any thread."""
        return self._position

    def close(self) -> None:
        """Close file and ledger."""
        self._file.close()
        self._ledger.close()

    def _write(self, content: bytes, sequence: int, seen: dict[str, Spans]) -> None:
        try:
            place = self._ledger.place
            if content:
                position = self._file.prepare(len(content))
                if position[:2] != self._position[:2]:
                    # a new file: nothing in it counts yet
                    self._position = position
                self._file.append((content,))
                place = Place(place.mark if position.offset else _mark(self.path), 0)
                place = place._replace(offset=position.offset + len(content))
            self._ledger.enter(self._stream, sequence, place, seen)
        except OSError:
            self._cut()
            raise
        if content:
            self._position = self._file.written()

    def _cut(self) -> None:
        """Bring the files back to what was entered last.

        Raises:
            SettingError: They are not those that were written.
            OSError: They cannot be read or cut.
        """
        self._file.close()
        mark, offset = self._ledger.place
        newer: list[Path] = []
        for path in reversed(rotated_set(self.path)):
            found, size = _look(path)
            if mark and found == mark:
                _shorten(path, size, offset)
                break
            newer.append(path)
        else:
            # the file itself may be gone: removed by hand, or by rotation without backups
            if mark and newer and (self._backups or newer != [self.path]):
                raise _others(self.path)
        for path in newer:
            _shorten(path, _look(path)[1], 0)
        try:
            status = os.stat(self.path, follow_symlinks=False)
        except FileNotFoundError:
            self._position = Position(0, 0, 0)
        else:
            self._position = Position(status.st_dev, status.st_ino, status.st_size)

    def _note(self, reason: str, count: int, total: int) -> bytes:
        """Return a record of what was lost, as a collector writes it."""
        record: dict[str, Any] = {
            "timestamp": timestamp().decode(),
            "kind": "note",
            "level": "warning",
            "event": "asynclog.dropped",
            "logger": "asynclog",
            "where": "nats",
            "dropped": {reason: count},
            "total": total,
            "host": self._run.host,
            "pid": self._run.pid,
        }
        return dumps(record) + b"\n"


def _part(message: Received) -> Part | None:
    """Return which part of which file a message holds, None when it is none of ours."""
    part = None if message.message_id is None else Part.read(message.message_id)
    if part is None or part.end - part.span.start != len(message.data):
        return None
    return part if message.data.endswith(b"}\n") else None


def _with_host(content: bytes, host: str) -> Iterable[bytes]:
    """Return whole lines, those that do not say where they come from with their host."""
    field = b',"host":%b}\n' % dumps(host)
    for line in content.split(b"\n")[:-1]:
        named = _HOST in line and (is_flat(line) or "host" in parse(line))
        yield line + b"\n" if named else line[:-1] + field


def _look(path: Path) -> tuple[str, int]:
    """Return what tells a file from others, and its size."""
    part = open_part(path)
    try:
        return mark_of(part), part.size()
    finally:
        part.close()


def _mark(path: Path) -> str:
    return _look(path)[0]


def _shorten(path: Path, size: int, wanted: int) -> None:
    if size < wanted:
        complain(f"{path} has lost its last {wanted - size} bytes, by a power cut or by hand")
    # a compressed one was whole before it was compressed
    if size > wanted and not path.name.endswith(COMPRESSED_SUFFIX):
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            os.ftruncate(descriptor, wanted)
        finally:
            os.close(descriptor)


def _others(path: Path) -> SettingError:
    return SettingError(
        "run_dir",
        f"must be a directory of its own, and holds other lines in {path.name}",
        str(path.parent),
        "Collect into a new one; it gets everything that the stream has",
    )
