"""The rotating file: positions, names, modes, and its return after whatever happens to it."""

from __future__ import annotations

import errno
import gzip
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from asynclog.sinks import compress
from asynclog.sinks.backups import Backups, rotated_set
from asynclog.sinks.rotation import LOOK_INTERVAL, RotatingFile


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of a file in a directory that does not exist yet."""
    return tmp_path / "logs" / "events.jsonl"


@pytest.fixture
def clock() -> Clock:
    """Return the clock that the test's files look at."""
    return Clock()


@pytest.fixture
def make_file(path: Path, clock: Clock) -> Iterator[Callable[..., RotatingFile]]:
    """Make files that are closed at the end, five lines of ten bytes each unless told."""
    made: list[RotatingFile] = []

    def make(**options: Any) -> RotatingFile:
        settings: dict[str, Any] = {"max_bytes": 50, "backups": 5, "clock": clock, **options}
        made.append(RotatingFile(path, **settings))
        return made[-1]

    yield make
    for file in made:
        file.close()


def numbered(*numbers: int) -> bytes:
    """Return lines of ten bytes."""
    return b"".join(b"%09d\n" % number for number in numbers)


def contents(path: Path) -> dict[str, bytes]:
    """Return what is in the directory of a file."""
    return {
        entry.name: gzip.decompress(entry.read_bytes())
        if entry.suffix == ".gz"
        else entry.read_bytes()
        for entry in path.parent.iterdir()
    }


def stored(path: Path) -> list[int]:
    """Return the numbers of the lines in a rotated set, oldest first, as a reader sees them."""
    found: list[int] = []
    for part in rotated_set(path):
        content = part.read_bytes()
        if part.suffix == ".gz":
            content = gzip.decompress(content)
        found += [int(text) for text in content.splitlines()]
    return found


def test_position_is_where_the_bytes_land(make_file: Callable[..., RotatingFile]) -> None:
    """prepare() names file and offset, and append() puts all pieces there in their order."""
    file = make_file()
    file.write(numbered(1))
    position = file.prepare(20)
    file.append([memoryview(numbered(2)), b"", numbered(3)])
    status = file.path.stat()
    assert (position.device, position.inode) == (status.st_dev, status.st_ino)
    assert file.path.read_bytes()[position.offset :] == numbered(2, 3)
    assert file.prepare(0).offset == file.size() == 30


def test_many_pieces(make_file: Callable[..., RotatingFile]) -> None:
    """More pieces than one system call takes are written all the same."""
    file = make_file(max_bytes=None)
    file.prepare(0)
    file.append([numbered(number) for number in range(3000)])
    assert stored(file.path) == list(range(3000))


def test_append_needs_prepare(make_file: Callable[..., RotatingFile]) -> None:
    """append() without prepare() is an error, not a guess."""
    with pytest.raises(OSError, match="prepare"):
        make_file().append([b"x\n"])


def test_rotation_by_size(make_file: Callable[..., RotatingFile], path: Path) -> None:
    """A file is renamed before it would exceed max_bytes; the oldest beyond backups goes."""
    file = make_file(backups=2)
    for number in range(18):
        file.write(numbered(number))
    assert contents(path) == {
        "events.jsonl": numbered(15, 16, 17),
        "events.jsonl.1": numbered(10, 11, 12, 13, 14),
        "events.jsonl.2": numbered(5, 6, 7, 8, 9),
    }
    assert [part.name for part in rotated_set(path)] == [
        "events.jsonl.2",
        "events.jsonl.1",
        "events.jsonl",
    ]


def test_total_size_is_bounded_over_restarts(
    make_file: Callable[..., RotatingFile], path: Path
) -> None:
    """However often a process starts anew, the set stays within max_bytes * (backups + 1)."""
    for number in range(60):
        file = make_file(backups=2)
        file.write(numbered(number))
        file.close()
        assert sum(part.stat().st_size for part in rotated_set(path)) <= 150
    assert stored(path) == list(range(45, 60))


def test_too_large_at_open(make_file: Callable[..., RotatingFile], path: Path) -> None:
    """A file that an earlier run left larger than max_bytes is rotated when it is opened."""
    path.parent.mkdir()
    path.write_bytes(numbered(*range(9)))
    make_file().prepare(0)
    assert contents(path) == {"events.jsonl": b"", "events.jsonl.1": numbered(*range(9))}


def test_no_backups(make_file: Callable[..., RotatingFile], path: Path) -> None:
    """With backups=0 a full file is removed, and a reader that has it open sees no hole."""
    file = make_file(backups=0)
    for number in range(7):
        file.write(numbered(number))
    assert contents(path) == {"events.jsonl": numbered(5, 6)}


def test_no_limit(make_file: Callable[..., RotatingFile], path: Path) -> None:
    """max_bytes=None never rotates."""
    file = make_file(max_bytes=None)
    for number in range(50):
        file.write(numbered(number))
    assert list(contents(path)) == ["events.jsonl"]


def test_write_larger_than_a_file(make_file: Callable[..., RotatingFile], path: Path) -> None:
    """write() splits what is more than max_bytes at line ends; a long line gets its own file."""
    file = make_file()
    file.write(numbered(*range(12)))
    long = b"1" * 80 + b"\n"
    file.write(numbered(12) + long + numbered(13))
    assert contents(path) == {
        "events.jsonl": numbered(13),
        "events.jsonl.1": long,
        "events.jsonl.2": numbered(10, 11, 12),
        "events.jsonl.3": numbered(*range(5, 10)),
        "events.jsonl.4": numbered(*range(5)),
    }


def test_gap_in_the_numbers(make_file: Callable[..., RotatingFile], path: Path) -> None:
    """Only what lies below a gap moves up, and nothing is removed for it."""
    path.parent.mkdir()
    for number in (1, 2, 4, 5):
        path.with_name(f"events.jsonl.{number}").write_bytes(numbered(number))
    file = make_file(max_bytes=10)
    file.write(numbered(10))
    file.write(numbered(11))
    assert contents(path) == {
        "events.jsonl": numbered(11),
        "events.jsonl.1": numbered(10),
        "events.jsonl.2": numbered(1),
        "events.jsonl.3": numbered(2),
        "events.jsonl.4": numbered(4),
        "events.jsonl.5": numbered(5),
    }


def test_numbers_beyond_backups_are_left_alone(
    make_file: Callable[..., RotatingFile], path: Path
) -> None:
    """Files with a higher number or a like name are not ours to remove."""
    path.parent.mkdir()
    others = ["events.jsonl.9", "events.jsonl.20250101", "events.jsonl.bak", "events.jsonl.1x"]
    for name in others:
        path.with_name(name).write_bytes(b"1\n")
    file = make_file(max_bytes=10, backups=1)
    for number in range(5):
        file.write(numbered(number))
    assert set(contents(path)) == {*others, "events.jsonl", "events.jsonl.1"}


def test_find_follows_renames(make_file: Callable[..., RotatingFile]) -> None:
    """A file is found by its identity under whatever name it has now, also by another process."""
    file = make_file()
    assert file.find(1, 1) is None
    first = file.prepare(10)
    file.append([numbered(1)])
    assert file.find(first.device, first.inode) == file.path
    for number in range(2, 12):
        file.write(numbered(number))
    assert make_file().find(first.device, first.inode) == file.path.with_name("events.jsonl.2")
    assert file.find(first.device + 1, first.inode) is None
    file.path.with_name("events.jsonl.2").rename(file.path.with_name("old"))
    assert file.find(first.device, first.inode) == file.path.with_name("old")


def test_find_changes_nothing(make_file: Callable[..., RotatingFile], path: Path) -> None:
    """Looking for a file neither opens, rotates nor repairs: recovery comes before prepare()."""
    path.parent.mkdir()
    path.write_bytes(numbered(*range(9)) + b"torn")
    status = path.stat()
    assert make_file().find(status.st_dev, status.st_ino) == path
    assert contents(path) == {"events.jsonl": numbered(*range(9)) + b"torn"}


# -- killed in between ------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for a SIGKILL right before a system call."""


class KillSwitch:
    """Ends the process, as it were, at the n-th system call that changes names."""

    CALLS = ("rename", "replace", "unlink", "open")

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = -1
        for name in self.CALLS:
            monkeypatch.setattr(os, name, self._wrapped(getattr(os, name)))

    def _wrapped(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            if self.left == 0:
                raise Killed
            self.left -= 1
            return function(*arguments, **keywords)

        return call


@pytest.mark.parametrize("compressed", [False, True])
def test_killed_between_any_two_steps_of_a_rotation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compressed: bool
) -> None:
    """Whichever system call of a rotation is the last, every line is there exactly once."""
    switch = KillSwitch(monkeypatch)
    for fatal_call in range(40):
        path = tmp_path / str(fatal_call) / "events.jsonl"
        file = RotatingFile(path, max_bytes=50, backups=9, compress=compressed)
        for number in range(23):
            file.write(numbered(number))
        file.close()
        if compressed:
            assert Backups.look(path).compressed == {1, 2, 3, 4}
        file = RotatingFile(path, max_bytes=50, backups=9)
        switch.left = fatal_call
        try:
            file.write(numbered(23, 24, 25))
        except Killed:
            pass
        else:
            switch.left = -1
            file.close()
            assert fatal_call > 6, "a rotation of five files takes more steps"
            return
        finally:
            switch.left = -1
        file.close()
        assert stored(path) == list(range(23))
        again = RotatingFile(path, max_bytes=50, backups=9, compress=compressed)
        for number in range(23, 48):
            again.write(numbered(number))
        again.close()
        assert stored(path) == list(range(48))
    pytest.fail("the rotation never came to its end")


def test_killed_between_any_two_steps_of_a_compression(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever system call is the last, exactly one of the two files counts, and it is whole."""
    switch = KillSwitch(monkeypatch)
    for fatal_call in range(20):
        path = tmp_path / str(fatal_call) / "events.jsonl"
        path.parent.mkdir()
        path.write_bytes(numbered(5))
        backup = path.with_name("events.jsonl.1")
        backup.write_bytes(numbered(*range(5)))
        switch.left = fatal_call
        try:
            compress.compress_file(backup)
        except Killed:
            # what a real kill leaves: the clean-up did not happen either
            pass
        else:
            switch.left = -1
            assert fatal_call > 3
            assert set(contents(path)) == {"events.jsonl", "events.jsonl.1.gz"}
            return
        finally:
            switch.left = -1
        assert stored(path) == list(range(6))
        file = RotatingFile(path, max_bytes=20, backups=3, compress=True)
        for number in (6, 7):
            file.write(numbered(number))
        file.close()
        assert stored(path) == list(range(8))
        assert not Backups.look(path).unfinished
    pytest.fail("the compression never came to its end")


def test_leftovers_of_a_compression(make_file: Callable[..., RotatingFile], path: Path) -> None:
    """Of a plain and a compressed file with one number the plain one counts; half ones go."""
    path.parent.mkdir()
    path.with_name("events.jsonl.1").write_bytes(numbered(2))
    path.with_name("events.jsonl.1.gz").write_bytes(b"half")
    path.with_name("events.jsonl.2.gz").write_bytes(gzip.compress(numbered(1)))
    path.with_name("events.jsonl.2.gz.tmp").write_bytes(b"half")
    assert stored(path) == [1, 2]
    file = make_file(compress=True)
    file.write(numbered(3))
    file.close()
    assert contents(path) == {
        "events.jsonl": numbered(3),
        "events.jsonl.1.gz": numbered(2),
        "events.jsonl.2.gz": numbered(1),
    }


def test_compression(make_file: Callable[..., RotatingFile], path: Path) -> None:
    """Rotated files become .gz with their content, time and mode; plain ones are gone."""
    file = make_file(compress=True, backups=3)
    for number in range(33):
        file.write(numbered(number))
    file.close()
    assert stored(path) == list(range(15, 33))
    names = {part.name for part in rotated_set(path)}
    assert names == {"events.jsonl", *(f"events.jsonl.{number}.gz" for number in (1, 2, 3))}
    assert {stat.S_IMODE(part.stat().st_mode) for part in rotated_set(path)} == {0o640}


def test_compression_beside_writing(
    make_file: Callable[..., RotatingFile], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines go on while a file is compressed; only the next rotation waits for it."""
    import threading

    may_go_on = threading.Event()
    real = compress.compress_file

    def slow(*arguments: Any) -> None:
        assert may_go_on.wait(60)
        real(*arguments)

    monkeypatch.setattr(compress, "compress_file", slow)
    file = make_file(compress=True)
    file.write(numbered(*range(5)))
    file.write(numbered(*range(5, 9)))
    assert stored(path) == list(range(9))
    waiting = threading.Thread(target=file.write, args=(numbered(9, 10),))
    waiting.start()
    waiting.join(0.05)
    assert waiting.is_alive()
    may_go_on.set()
    waiting.join(60)
    assert not waiting.is_alive()
    file.close()
    assert stored(path) == list(range(11))


def test_compression_is_given_up_at_close(tmp_path: Path) -> None:
    """A compression that takes too long for a close leaves the plain file and nothing else."""
    path = tmp_path / "events.jsonl.1"
    path.write_bytes(os.urandom(1_000_000))
    compress.compress_file(path, lambda: True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["events.jsonl.1"]


def test_compression_that_fails_leaves_the_plain_file(
    make_file: Callable[..., RotatingFile],
    path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """What cannot be compressed stays as it is, and the trouble is said."""
    file = make_file(compress=True)
    file.write(numbered(*range(5)))
    blocker = path.with_name("events.jsonl.1.gz.tmp")
    blocker.mkdir()
    file.write(numbered(5))
    file.close()
    blocker.rmdir()
    assert stored(path) == list(range(6))
    assert "cannot compress" in capfd.readouterr().err


# -- from outside -----------------------------------------------------------------------------


def test_removed(make_file: Callable[..., RotatingFile], path: Path) -> None:
    """A file that was removed is made anew by the next write."""
    file = make_file()
    file.write(numbered(1))
    path.unlink()
    file.write(numbered(2))
    assert stored(path) == [2]


def test_moved(make_file: Callable[..., RotatingFile], path: Path, clock: Clock) -> None:
    """A file that was moved away is noticed within a second; until then its lines go with it."""
    file = make_file(max_bytes=None)
    file.write(numbered(1))
    moved = path.with_name("moved")
    path.rename(moved)
    assert LOOK_INTERVAL < 1.0
    clock.now += LOOK_INTERVAL * 0.9
    file.write(numbered(2))
    clock.now += LOOK_INTERVAL * 0.2
    file.write(numbered(3))
    assert moved.read_bytes() == numbered(1, 2)
    assert path.read_bytes() == numbered(3)


def test_moved_and_made_anew(
    make_file: Callable[..., RotatingFile], path: Path, clock: Clock
) -> None:
    """After an external logrotate with "create", lines go into the new file."""
    file = make_file()
    file.write(numbered(1))
    path.rename(path.with_name("moved"))
    path.write_bytes(numbered(2))
    clock.now += 1
    file.write(numbered(3))
    assert path.read_bytes() == numbered(2, 3)


def test_moved_right_before_a_rotation(make_file: Callable[..., RotatingFile], path: Path) -> None:
    """Somebody else's file in our place is not rotated for our file's size."""
    file = make_file()
    file.write(numbered(*range(5)))
    path.rename(path.with_name("moved"))
    path.write_bytes(numbered(7))
    file.write(numbered(8))
    assert contents(path) == {"moved": numbered(*range(5)), "events.jsonl": numbered(7, 8)}


def test_directory_removed(make_file: Callable[..., RotatingFile], path: Path) -> None:
    """A directory that was removed with everything in it is made anew by the next write."""
    import shutil

    file = make_file()
    file.write(numbered(1))
    shutil.rmtree(path.parent)
    file.write(numbered(2))
    assert stored(path) == [2]
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_directory_moved(
    make_file: Callable[..., RotatingFile], path: Path, clock: Clock, tmp_path: Path
) -> None:
    """A directory that was moved is made anew within a second."""
    file = make_file()
    file.write(numbered(1))
    path.parent.rename(tmp_path / "moved")
    clock.now += 1
    file.write(numbered(2))
    assert stored(path) == [2]


def test_copytruncate(make_file: Callable[..., RotatingFile], path: Path) -> None:
    """After a truncation from outside lines go on at the front: no hole of NUL bytes."""
    file = make_file()
    file.write(numbered(1, 2, 3))
    os.truncate(path, 0)
    assert file.prepare(10).offset == 0
    file.append([numbered(4)])
    assert path.read_bytes() == numbered(4)


def test_truncated_between_prepare_and_append(
    make_file: Callable[..., RotatingFile], path: Path
) -> None:
    """Even right before the write a truncation makes no hole."""
    file = make_file()
    file.write(numbered(1, 2, 3))
    file.prepare(10)
    os.truncate(path, 0)
    file.append([numbered(4)])
    assert path.read_bytes() == numbered(4)


def test_torn_end_gets_its_line_end(make_file: Callable[..., RotatingFile], path: Path) -> None:
    """A file that a power cut has left within a line is gone on with on the next line."""
    path.parent.mkdir()
    path.write_bytes(numbered(1) + b'{"half')
    file = make_file()
    file.write(numbered(2))
    assert path.read_bytes() == numbered(1) + b'{"half\n' + numbered(2)


def test_foreign_lines_stay(make_file: Callable[..., RotatingFile], path: Path) -> None:
    """Lines that another program appends are neither overwritten nor cut."""
    file = make_file()
    file.write(numbered(1))
    with path.open("ab") as other:
        other.write(numbered(2))
    file.write(numbered(3))
    assert stored(path) == [1, 2, 3]


# -- modes and refusals -----------------------------------------------------------------------


@pytest.mark.parametrize(("umask", "mode"), [(0o000, 0o640), (0o022, 0o640), (0o077, 0o600)])
def test_modes(tmp_path: Path, umask: int, mode: int) -> None:
    """Files get 0640 and directories 0700, also where the umask takes nothing away."""
    path = tmp_path / "new" / "deep" / "events.jsonl"
    before = os.umask(umask)
    try:
        file = RotatingFile(path, max_bytes=10, backups=3, compress=True)
        for number in range(3):
            file.write(numbered(number))
        file.close()
    finally:
        os.umask(before)
    files = {stat.S_IMODE(entry.stat().st_mode) for entry in path.parent.iterdir()}
    assert files == {mode}
    for directory in (path.parent, path.parent.parent):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_symbolic_link_is_refused(make_file: Callable[..., RotatingFile], path: Path) -> None:
    """A link in the file's place is not followed; once it is gone, writing works."""
    path.parent.mkdir()
    target = path.with_name("target")
    path.symlink_to(target)
    file = make_file()
    with pytest.raises(OSError, match="symbolic link") as caught:
        file.prepare(10)
    assert caught.value.filename == str(path)
    assert not target.exists()
    path.unlink()
    file.write(numbered(1))
    assert stored(path) == [1]


def test_fifo_is_refused(make_file: Callable[..., RotatingFile], path: Path) -> None:
    """A FIFO in the file's place is refused instead of waited for."""
    path.parent.mkdir()
    os.mkfifo(path)
    with pytest.raises(OSError, match="no regular file"):
        make_file().prepare(10)


def test_directory_is_refused(make_file: Callable[..., RotatingFile], path: Path) -> None:
    """A directory in the file's place is an error that names it."""
    path.mkdir(parents=True)
    with pytest.raises(IsADirectoryError, match=r"events\.jsonl"):
        make_file().prepare(10)


def test_file_in_the_directorys_place(make_file: Callable[..., RotatingFile], path: Path) -> None:
    """A file where a directory should be is an error, and a passing one."""
    path.parent.write_bytes(b"")
    file = make_file()
    with pytest.raises(OSError, match="logs"):
        file.prepare(10)
    path.parent.unlink()
    file.write(numbered(1))
    assert stored(path) == [1]


# -- fsync ------------------------------------------------------------------------------------


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count what is synced: files, directories."""
    counts: Counter[str] = Counter()
    real = os.fsync

    def fsync(descriptor: int) -> None:
        directory = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        counts["directory" if directory else "file"] += 1
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return counts


@pytest.mark.parametrize(
    ("policy", "files", "directories"), [("never", 0, 0), ("batch", 4, 1), ("error", 2, 1)]
)
def test_fsync_policy(
    make_file: Callable[..., RotatingFile],
    make_line: Callable[..., bytes],
    synced: Counter[str],
    policy: str,
    files: int,
    directories: int,
) -> None:
    """Never, after every batch, or after one with a line of a level or above; new names too."""
    file = make_file(max_bytes=None, fsync=policy)
    for level in ("info", "error", "warning", "critical"):
        # split within the level, as at the end of a ring
        content = make_line(level=level) + b"\n"
        file.prepare(len(content))
        middle = content.index(level.encode()) + 2
        file.append([memoryview(content)[:middle], memoryview(content)[middle:]])
    assert (synced["file"], synced["directory"]) == (files, directories)


def test_fsync_that_fails(
    make_file: Callable[..., RotatingFile], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines whose fsync failed are cut back, so that the next attempt does not double them."""
    file = make_file(fsync="batch")
    file.write(numbered(1))

    def fsync(descriptor: int) -> None:
        raise OSError(errno.EIO, "input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(OSError, match="input/output"):
            file.write(numbered(2))
    file.write(numbered(2))
    assert stored(path) == [1, 2]


# -- cost and closing -------------------------------------------------------------------------


def test_close_and_go_on(make_file: Callable[..., RotatingFile], path: Path) -> None:
    """close() can be called twice, and writing opens the file again."""
    file = make_file()
    file.write(numbered(1))
    file.close()
    file.close()
    file.write(numbered(2))
    assert stored(path) == [1, 2]


def test_looks_are_rare(
    make_file: Callable[..., RotatingFile], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path is looked at twice a second at most, which matters on network disks."""
    looks = 0
    real = os.stat

    def count(*arguments: Any, **keywords: Any) -> os.stat_result:
        nonlocal looks
        looks += 1
        return real(*arguments, **keywords)

    file = make_file(max_bytes=None)
    file.prepare(0)
    monkeypatch.setattr(os, "stat", count)
    for _ in range(100):
        clock.now += 0.01
        file.write(numbered(1))
    assert looks <= 2
