"""Files that whole lines are appended to, one for each rank, and that can be taken back.

A sink that is fed from a cursor saves with it how long its files are. After a kill the files are
cut to that, and what came after is fed again: every line is there once. What is in the lines is the
sink's business.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, cast

from ..typing import Run
from .rotation import FILE_MODE, make_directories
from .template import expand, matching

MAX_RANK: Final = 1_000_000
MAX_FILES: Final = 1024
"""Files of one sink; ranks beyond write into the file of rank 0. A machine has some 16 ranks."""
_FLAGS: Final = (
    os.O_RDWR
    | os.O_APPEND
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    # a FIFO in the file's place is refused instead of waited for
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_BINARY", 0)
)
_BLOCK: Final = 64 * 1024


def rank_of(event: Mapping[str, Any]) -> int:
    """Return the rank a record comes from, 0 when it names none that makes sense."""
    rank = event.get("rank")
    return rank if type(rank) is int and 0 < rank <= MAX_RANK else 0


class RankFiles:
    """The files of one sink; used by one thread at a time.

    They are opened for each write only: whoever moves or removes one, finds it made anew.

    Args:
        template: Path in the run directory; ranks above 0 get ``_rank1`` and so on before the
            extension, unless it holds ``{rank}``.
        header: First line of each file, with its end.
    """

    def __init__(self, template: str, header: bytes = b"") -> None:
        self._template = template
        self._header = header
        self._run: Run | None = None
        self._paths: dict[int, Path] = {}
        # how much of each file is ours to keep, as far as we know
        self._sizes: dict[Path, int] = {}
        self._proven: set[Path] = set()
        self._torn: set[Path] = set()
        self._followed = False

    def open(self, run: Run) -> None:
        """Make the file of the run's own rank, so that what is wrong with it shows at start.

        Raises:
            OSError: It cannot be written.
            SettingError: Its path leads out of the run directory.
        """
        self._run = run
        for known in (self._paths, self._sizes, self._proven, self._torn):
            known.clear()
        descriptor = _open(self.path(rank_of({"rank": run.rank})), create=True)
        try:
            if self._header and not os.fstat(descriptor).st_size:
                _write(descriptor, self._header)
        finally:
            os.close(descriptor)

    def path(self, rank: int) -> Path:
        """Return the file of a rank.

        Raises:
            SettingError: It would lie outside of the run directory.
        """
        path = self._paths.get(rank)
        if path is None:
            if rank and len(self._paths) >= MAX_FILES:
                return self.path(0)
            path = self._paths[rank] = self._expanded(rank)
        return path

    def append(self, lines: Mapping[int, bytes]) -> None:
        """Append whole lines to the files of some ranks: all of them or, when it raises, none.

        Raises:
            OSError: It did not work; the same lines may be appended again.
        """
        begun: dict[Path, int | None] = {}
        try:
            for rank, content in lines.items():
                self._append(self.path(rank), content, begun)
        except OSError:
            for path, size in begun.items():
                if size is None:
                    self._proven.discard(path)
                else:
                    self._sizes[path] = size
                    self._torn.add(path)
            raise

    def state(self) -> dict[str, Any]:
        """Return what :meth:`restore` needs to bring the files back to what they are now."""
        assert self._run is not None
        directory = self._run.directory
        return {"sizes": {os.path.relpath(path, directory): n for path, n in self._sizes.items()}}

    def restore(self, state: Mapping[str, Any] | None) -> None:
        """Cut the files to what they were when the state was taken.

        Args:
            state: What :meth:`state` gave; None when the sink has no past, then the files stay.

        Raises:
            OSError: One of them cannot be cut.
        """
        assert self._run is not None
        self._followed = True
        sizes: object = None if state is None else state.get("sizes")
        if not isinstance(sizes, Mapping):
            for path in matching(self._template, self._run.directory, self._run.suffix):
                if not path.is_symlink():
                    self._sizes[path] = _cut_to(path, None)
            return
        for name, size in cast("Mapping[object, object]", sizes).items():
            if type(name) is not str or type(size) is not int or size < 0:
                continue
            if os.path.isabs(name) or ".." in Path(name).parts:
                continue
            path = self._run.directory / name
            try:
                self._sizes[path] = _cut_to(path, size)
            except FileNotFoundError:
                continue
            self._proven.add(path)

    def _expanded(self, rank: int) -> Path:
        assert self._run is not None
        return expand(self._template, replace(self._run, rank=rank))

    def _append(self, path: Path, content: bytes, begun: dict[Path, int | None]) -> None:
        descriptor = _open(path, create=True)
        try:
            size = os.fstat(descriptor).st_size
            if path in self._torn:
                size = _cut(descriptor, self._sizes[path])
                self._torn.discard(path)
            elif path not in self._proven:
                if self._followed and self._write_rest(descriptor, path, size, content):
                    begun[path] = None
                    return
                if path not in self._sizes:
                    size = _cut(descriptor, _end_of_lines(descriptor, size))
                self._proven.add(path)
            if not size:
                content = self._header + content
            begun.setdefault(path, size)
            _write(descriptor, content)
            self._sizes[path] = size + len(content)
        finally:
            os.close(descriptor)

    def _write_rest(self, descriptor: int, path: Path, size: int, content: bytes) -> bool:
        """Write what a kill has left out of the first lines of a file; say whether that was it.

        It was written, the cursor was not saved, and here it comes again. A file that holds
        anything else is not ours to judge.
        """
        content = self._header + content
        found = _read(descriptor, 0, min(size, len(content)))
        if not content.startswith(found):
            return False
        _cut(descriptor, len(content))
        _write(descriptor, content[len(found) :])
        self._sizes[path] = len(content)
        self._proven.add(path)
        return True


def _open(path: Path, *, create: bool) -> int:
    flags = _FLAGS | os.O_CREAT if create else _FLAGS
    try:
        descriptor = os.open(path, flags, FILE_MODE)
    except FileNotFoundError:
        if not create:
            raise
        make_directories(path.parent)
        descriptor = os.open(path, flags, FILE_MODE)
    except OSError as error:
        if error.errno == errno.ELOOP:
            text = "is a symbolic link, which is refused"
            raise OSError(errno.ELOOP, text, str(path)) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is no regular file", str(path))
    return descriptor


def _cut_to(path: Path, size: int | None) -> int:
    """Cut a file that is longer than this, otherwise to its whole lines; return its size then."""
    descriptor = _open(path, create=False)
    try:
        found = os.fstat(descriptor).st_size
        if size is None or found < size:
            size = _end_of_lines(descriptor, found)
        return _cut(descriptor, size)
    finally:
        os.close(descriptor)


def _cut(descriptor: int, size: int) -> int:
    """Cut a file that is longer than this; return how long it is now."""
    found = os.fstat(descriptor).st_size
    if found > size:
        os.ftruncate(descriptor, size)
    return min(found, size)


def _write(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        count = os.write(descriptor, view)
        if count <= 0:
            raise OSError(errno.ENOSPC, "takes no more bytes")
        view = view[count:]


def _read(descriptor: int, offset: int, size: int) -> bytes:
    found = b""
    while len(found) < size:
        piece = os.pread(descriptor, size - len(found), offset + len(found))
        if not piece:
            break
        found += piece
    return found


def _end_of_lines(descriptor: int, size: int) -> int:
    """Return where the last whole line ends: a kill may have torn the one behind it."""
    end = size
    while end:
        start = max(0, end - _BLOCK)
        newline = _read(descriptor, start, end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
