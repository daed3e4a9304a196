"""Faults that a file meets for real: kills, full disks, limits, immutable files."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from asynclog.sinks.backups import rotated_set
from asynclog.sinks.rotation import RotatingFile

KILL_TRIALS = 30
LINUX_ONLY = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


def numbered(*numbers: int, width: int = 49) -> bytes:
    """Return lines of fifty bytes unless told."""
    return b"".join(b"%0*d\n" % (width, number) for number in numbers)


def stored(path: Path) -> list[int]:
    """Return the numbers of the lines in a rotated set, oldest first."""
    return [int(line) for part in rotated_set(path) for line in part.read_bytes().splitlines()]


# Forks a writer for each trial, kills it at a random instant, and compares what is there with what
# the writer had acknowledged in shared memory. It runs in a process of its own because a fork wants
# a process without threads.
KILLER = r"""
import gzip, mmap, os, random, signal, struct, sys, time
from pathlib import Path
from asynclog.sinks.backups import Backups, rotated_set
from asynclog.sinks.rotation import RotatingFile

BACKUPS = 10_000

def write(path, compress, page, start):
    # small files: most of the time is spent in rotations
    file = RotatingFile(path, max_bytes=200, backups=BACKUPS, compress=compress)
    number = start
    while True:
        file.prepare(50)
        file.append([b"%024d" % number, b"%025d\n" % number])
        number += 1
        page[:8] = struct.pack("q", number)

def stored(path):
    found = []
    for part in rotated_set(path):
        content = part.read_bytes()
        if part.suffix == ".gz":
            content = gzip.decompress(content)
        assert content == b"" or content.endswith(b"\n"), f"torn: {part}"
        found += [int(line[:24]) for line in content.splitlines()]
    return found

directory, trials, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
chance = random.Random(seed)
for trial in range(trials):
    path = directory / str(trial) / "events.jsonl"
    page = mmap.mmap(-1, 4096)
    begin = 0
    for life in range(2):
        child = os.fork()
        if not child:
            write(path, trial % 2 == 1, page, begin)
        while struct.unpack("q", page[:8])[0] == begin and time.monotonic():
            time.sleep(0.0005)
        time.sleep(chance.random() * 0.02)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        acknowledged = struct.unpack("q", page[:8])[0]
        found = stored(path)
        assert found == list(range(len(found))), f"trial {trial}: {found}"
        # the last append may have been finished without being acknowledged
        assert acknowledged <= len(found) <= acknowledged + 1, (trial, acknowledged, len(found))
        begin = len(found)
        page[:8] = struct.pack("q", begin)
    file = RotatingFile(path, max_bytes=200, backups=BACKUPS)
    file.write(b"%024d%025d\n" % (begin, begin))
    file.close()
    assert stored(path) == list(range(begin + 1))
    assert not Backups.look(path).unfinished
print("all lines exactly once")
"""


@LINUX_ONLY
def test_sigkill_in_mid_rotation(tmp_path: Path) -> None:
    """SIGKILL at random instants of writing, rotating and compressing: every line exactly once."""
    done = subprocess.run(
        [sys.executable, "-c", KILLER, str(tmp_path), str(KILL_TRIALS), str(os.getpid())],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.stdout == "all lines exactly once\n", done.stdout + done.stderr


LIMITED = r"""
import errno, resource, sys
from pathlib import Path
from asynclog.sinks.rotation import RotatingFile

path = Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (1020, resource.RLIM_INFINITY))
file = RotatingFile(path, max_bytes=None, backups=3)
failures = 0
for number in range(60):
    for attempt in range(2):
        try:
            file.write(b"%049d\n" % number)
        except OSError as error:
            assert error.errno == errno.EFBIG, error
            assert path.stat().st_size == 1000, "the short write was not cut back"
            failures += 1
        else:
            break
    else:
        raise SystemExit("did not go on")
# more than a file may hold: fails every time, but harms nothing
before = path.read_bytes()
for attempt in range(3):
    try:
        file.write(b"x" * 2000 + b"\n")
    except OSError as error:
        assert error.errno == errno.EFBIG, error
file.write(b"%049d\n" % 60)
file.close()
print(failures)
"""


@LINUX_ONLY
def test_file_size_limit(tmp_path: Path) -> None:
    """A write that the system cuts short (RLIMIT_FSIZE) leaves no torn line; a new file goes on."""
    path = tmp_path / "events.jsonl"
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("2\n", "")
    assert stored(path) == list(range(61))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of one megabyte."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounting needs root on Linux")
    mount = tmp_path / "disk"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1M", "asynclog-test", str(mount)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("cannot mount here")
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


def fill(file: RotatingFile) -> int:
    """Write lines of a thousand bytes until the disk is full; return how many fitted."""
    for number in range(2000):
        try:
            file.write(numbered(number, width=999))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            return number
    pytest.fail("the disk is larger than it should be")


@pytest.mark.root
def test_full_disk(small_disk: Path) -> None:
    """A full disk raises, tears no line and loses none; once there is room writing goes on."""
    path = small_disk / "events.jsonl"
    file = RotatingFile(path, max_bytes=None, backups=3)
    # lines that no page ends with: the last write is a short one
    number = fill(file)
    assert 1000 <= number <= 1048
    for _ in range(3):
        with pytest.raises(OSError, match="No space left"):
            file.write(numbered(number, width=3999))
        assert stored(path) == list(range(number))
    subprocess.run(["mount", "-o", "remount,size=2M", str(small_disk)], check=True)
    file.write(numbered(number, width=3999))
    file.close()
    assert stored(path) == list(range(number + 1))


@pytest.mark.root
def test_full_disk_and_rotation(small_disk: Path) -> None:
    """With a set larger than the disk, a rotation that frees room lets writing go on."""
    path = small_disk / "events.jsonl"
    file = RotatingFile(path, max_bytes=600_000, backups=1)
    number = fill(file)
    path.with_name("events.jsonl.1").unlink()
    for more in range(number, number + 900):
        with contextlib.suppress(OSError):
            file.write(numbered(more, width=999))
    file.close()
    lines = stored(path)
    assert lines == sorted(set(lines))


@pytest.mark.root
def test_disk_taken_away_and_brought_back(small_disk: Path, tmp_path: Path) -> None:
    """Another file system mounted in the file's place is noticed, as is its end."""
    path = small_disk / "events.jsonl"
    now = 0.0
    file = RotatingFile(path, max_bytes=None, backups=3, clock=lambda: now)
    file.write(numbered(1))
    subprocess.run(["mount", "-t", "tmpfs", "asynclog-test", str(small_disk)], check=True)
    try:
        now += 1
        file.write(numbered(2))
        assert stored(path) == [2]
        file.close()
    finally:
        subprocess.run(["umount", "-l", str(small_disk)], check=True)
    file.write(numbered(3))
    file.close()
    assert stored(path) == [1, 3]


@pytest.mark.root
def test_read_only_disk(small_disk: Path) -> None:
    """A disk that became read-only raises; when it can be written again, writing goes on."""
    path = small_disk / "events.jsonl"
    file = RotatingFile(path, max_bytes=None, backups=3)
    file.write(numbered(1))
    file.close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for _ in range(3):
        with pytest.raises(OSError, match="Read-only") as caught:
            file.write(numbered(2))
        assert caught.value.errno == errno.EROFS
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    file.write(numbered(2))
    file.close()
    assert stored(path) == [1, 2]


@pytest.mark.root
@pytest.mark.parametrize("attribute", ["i", "a"])
def test_immutable_file(tmp_path: Path, attribute: str) -> None:
    """A file that may not be changed (chattr +i) or renamed (+a) raises, and later goes on."""
    chattr = shutil.which("chattr")
    path = tmp_path / "events.jsonl"
    now = 0.0
    file = RotatingFile(path, max_bytes=100, backups=3, clock=lambda: now)
    file.write(numbered(1))
    file.write(numbered(2))
    if not chattr or subprocess.run([chattr, f"+{attribute}", path], check=False).returncode:
        file.close()
        pytest.skip("no such attributes here")
    try:
        for _ in range(3):
            now += 1
            with pytest.raises(PermissionError):
                file.write(numbered(3))
    finally:
        subprocess.run([chattr, f"-{attribute}", path], check=True)
    file.write(numbered(3))
    file.close()
    assert stored(path) == [1, 2, 3]


@pytest.mark.root
@pytest.mark.parametrize("error", ["ENOSPC", "EIO", "EDQUOT"])
def test_nth_write_fails(tmp_path: Path, error: str) -> None:
    """Whichever write fails, the caller hears of it and tries again: every line exactly once."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    path = tmp_path / "events.jsonl"
    script = (
        "import sys\n"
        "from asynclog.sinks.rotation import RotatingFile\n"
        "file = RotatingFile(sys.argv[1], max_bytes=200, backups=50)\n"
        "failures = 0\n"
        "for number in range(40):\n"
        "    while True:\n"
        "        try:\n"
        "            file.prepare(50)\n"
        "            file.append([b'%025d' % number, b'%024d\\n' % number])\n"
        "        except OSError:\n"
        "            failures += 1\n"
        "        else:\n"
        "            break\n"
        "file.close()\n"
        "print(failures)\n"
    )
    done = subprocess.run(
        [
            strace,
            "-f",
            "-o",
            str(tmp_path / "trace"),
            "-e",
            "trace=writev",
            "-e",
            f"inject=writev:error={error}:when=2+3",
            sys.executable,
            "-c",
            script,
            str(path),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "Operation not permitted" in done.stderr:
        pytest.skip("strace may not trace here")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 13
    found = [
        int(line[:25]) for part in rotated_set(path) for line in part.read_bytes().splitlines()
    ]
    assert found == list(range(40))
