"""The disk fails in every way that could be made to happen: nothing is lost, and it goes on."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from .trial import Trial, wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="injects with what Linux has"),
]

Enter = Callable[[str, Counter[str]], None]

TROUBLE: Final = "cannot write the log file"
FREEZE, THAW, SHUT_DOWN = 0xC0045877, 0xC0045878, 0x8004587D
ROOMY: Final[dict[str, Any]] = {"ring_size": "16 MiB"}
"""More room in the ring than any fault here lasts."""
QUICK: Final = (1, 2, 3)
WHOLE: Final = range(1, 41)


def ran(*command: object) -> bool:
    """Say whether a command went well."""
    try:
        done = subprocess.run([*map(str, command)], capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return not done.returncode


@contextmanager
def mounted(path: Path, *options: object) -> Generator[Path, None, None]:
    """Mount something for a while; skip the test where that is not allowed."""
    path.mkdir(exist_ok=True)
    if os.geteuid() or not ran("mount", *options, path):
        pytest.skip("mounting needs root, and a kernel that allows it")
    try:
        yield path
    finally:
        assert ran("umount", path) or ran("umount", "-l", path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Generator[Path, None, None]:
    """Mount a file system of two megabytes in memory."""
    options = ("-t", "tmpfs", "-o", "size=2M", "asynclog-test")
    with mounted(tmp_path / "disk", *options) as disk:
        yield disk


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Make an ext4 file system in a file."""
    path = tmp_path / "image"
    with path.open("wb") as file:
        file.truncate(16 << 20)
    if not ran("mkfs.ext4", "-q", path):
        pytest.skip("mkfs.ext4 is not installed")
    return path


def loop(image: Path, *options: str) -> list[object]:
    """Return how an image is mounted."""
    return ["-o", ",".join(["loop", *options]), image]


def fill(path: Path) -> None:
    """Write into a file until the disk is full."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


def control(path: Path, request: int, argument: bytes | int = 0) -> None:
    """Ask a file system for something."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, request, argument)
    finally:
        os.close(descriptor)


@pytest.mark.usefixtures("ten_times")
@pytest.mark.root
@pytest.mark.parametrize(
    "freed", ["by its owner", pytest.param("by a remount", marks=pytest.mark.faults)]
)
def test_full_and_freed(small_disk: Path, tmp_path: Path, enter: Enter, freed: str) -> None:
    """Nothing is lost, callers go on meanwhile, and it goes on by itself once there is room."""
    ballast = small_disk / "ballast"
    with Trial(tmp_path / "trial", run_dir=small_disk / "run", **ROOMY) as trial:
        trial.stored()
        fill(ballast)
        trial.complains(TROUBLE)
        trial.goes_on(200)
        if freed == "by its owner":
            ballast.unlink()
        else:
            assert ran("mount", "-o", "remount,size=32M", small_disk)
        trial.stored()
        trial.goes_on()
        counts = trial.end()
    assert not counts["dropped"]
    enter("disk full, then freed", counts)


@pytest.mark.usefixtures("ten_times")
@pytest.mark.root
def test_full_for_longer_than_the_ring_lasts(
    small_disk: Path, tmp_path: Path, enter: Enter
) -> None:
    """What finds no room in the ring any more is counted, all else is written."""
    ballast = small_disk / "ballast"
    with Trial(tmp_path / "trial", run_dir=small_disk / "run", ring_size="64 KiB", pace=0) as trial:
        fill(ballast)
        trial.goes_on(5000)
        ballast.unlink()
        counts = trial.end()
    assert counts["dropped"]
    enter("disk full for longer than the ring lasts", counts)


def shut_down(disk: Path) -> None:
    """Let every write to an ext4 file system end in EIO, once all is on the disk."""
    control(disk, SHUT_DOWN, struct.pack("I", 0))


def cut_power(disk: Path) -> None:
    """Let every write to an ext4 file system end in EIO; pages that were not synced are lost."""
    control(disk, SHUT_DOWN, struct.pack("I", 2))


def make_read_only(disk: Path) -> None:
    """Let an ext4 file system find an error, for which it takes no writes any more."""
    device = disk.stat().st_dev
    name = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve().name
    trigger = Path("/sys/fs/ext4", name, "trigger_fs_error")
    if not trigger.exists():
        pytest.skip("this kernel lets no file system fail on request")
    trigger.write_text("1")


@pytest.mark.usefixtures("ten_times")
@pytest.mark.root
@pytest.mark.parametrize(
    ("name", "breaks", "fsync"),
    [
        ("input/output error", shut_down, "never"),
        (
            "input/output error, unsynced pages lost, fsync",
            cut_power,
            "batch",
        ),
        ("read-only after an error", make_read_only, "never"),
    ],
)
def test_broken_until_it_is_mounted_again(
    image: Path,
    tmp_path: Path,
    enter: Enter,
    name: str,
    breaks: Callable[[Path], None],
    fsync: str,
) -> None:
    """A disk that breaks with the file open: all that could not be stored is brought back."""
    disk = tmp_path / "disk"
    trial = Trial(
        tmp_path / "trial",
        run_dir=disk / "run",
        stop_timeout="200 ms",
        file={"fsync": fsync},
        **ROOMY,
    )
    with contextlib.ExitStack() as stack:
        with mounted(disk, *loop(image, "errors=remount-ro")):
            stack.enter_context(trial)
            trial.stored()
            with trial.paused():
                # a kernel may say of an fsync that an error comes across that all is well
                assert fsync == "batch" or ran("sync", "-f", disk)
                breaks(disk)
            trial.complains(TROUBLE)
            trial.goes_on(200)
            accepted, written, dropped = trial.report()
            assert dropped == {"unwritten": accepted - written}
            trial.wait()
        stack.enter_context(mounted(disk, *loop(image)))
        counts = trial.ended()
    enter(f"{name}, until mounted again", counts)


@pytest.mark.root
@pytest.mark.parametrize("trials", [1, pytest.param(10, marks=pytest.mark.faults)])
def test_killed_before_the_sync(image: Path, tmp_path: Path, enter: Enter, trials: int) -> None:
    """With fsync, what a recovery has found in the file outlives a power cut, too."""
    disk = tmp_path / "disk"
    for number in range(trials):
        directory, run_dir = tmp_path / str(number), disk / f"run-{number}"
        around = strace(run_dir, f"signal=KILL:when={15 + number}", "fsync")
        trial = Trial(directory, run_dir=run_dir, around=around, file={"fsync": "batch"})
        with contextlib.ExitStack() as stack:
            with mounted(disk, *loop(image)):
                stack.enter_context(trial)
                trial.wait()
                trial.recover()
                cut_power(disk)
            stack.enter_context(mounted(disk, *loop(image)))
            counts = trial.ended()
        enter("SIGKILL between write and fsync, recovery, power cut", counts)


@pytest.mark.usefixtures("ten_times")
@pytest.mark.root
def test_frozen(image: Path, tmp_path: Path, enter: Enter) -> None:
    """Callers do not wait for a disk that hangs, nor does the stop; it is all there afterwards."""
    disk = tmp_path / "disk"
    with mounted(disk, *loop(image)):
        trial = Trial(tmp_path / "trial", run_dir=disk / "run", stop_timeout="200 ms", **ROOMY)
        with contextlib.ExitStack() as stack:
            stack.enter_context(trial)
            trial.stored()
            with frozen(disk):
                trial.goes_on(200)
                time.sleep(2)  # what the fault is: hung for two seconds
                trial.goes_on(200)
            trial.stored()
            with frozen(disk):
                trial.goes_on(200)
                accepted, written, dropped = trial.report()
                assert dropped == {"unwritten": accepted - written}
            counts = trial.ended()
    enter("disk frozen for two seconds, and at the end", counts)


@contextmanager
def frozen(disk: Path) -> Generator[None, None, None]:
    """Freeze a file system for a while."""
    control(disk, FREEZE)
    try:
        yield
    finally:
        control(disk, THAW)


@pytest.mark.usefixtures("ten_times")
@pytest.mark.root
def test_immutable(tmp_path: Path, enter: Enter) -> None:
    """A file that may not be changed for a while (EPERM) is written to when it may be again."""
    with Trial(tmp_path / "trial", **ROOMY) as trial:
        trial.stored()
        (file,) = trial.files()
        if not ran("chattr", "+i", file):
            pytest.skip("chattr +i needs root, and a file system that knows it")
        try:
            trial.complains(TROUBLE)
            trial.goes_on(200)
        finally:
            assert ran("chattr", "-i", file)
        trial.stored()
        counts = trial.end()
    enter("file immutable for a while (EPERM)", counts)


@pytest.mark.usefixtures("ten_times")
def test_file_size_limit(tmp_path: Path, enter: Enter) -> None:
    """Where a file may not grow any more, and its last write is cut short, another one goes on."""
    with Trial(tmp_path / "trial", file_size=50_011, **ROOMY) as trial:
        wait_for(lambda: len(trial.files()) > 3, "no other file is begun")
        counts = trial.end()
    enter("file size limit (RLIMIT_FSIZE), short writes", counts)


def strace(run_dir: Path, fault: str, calls: str = "write,writev") -> list[str]:
    """Return a command that injects something into system calls on a run's file."""
    if not ran("strace", "-f", "--seccomp-bpf", "-e", "inject=chdir:error=EIO", "true"):
        pytest.skip("strace is not installed, or may not trace here")
    only = ["-P", str(run_dir / "events.jsonl"), "-e", f"trace={calls}"]
    # quicker, but for signals
    filters = [] if fault.startswith("signal") else ["--seccomp-bpf"]
    options = ["-f", *filters, "-qq", "-o", os.devnull]
    return ["strace", *options, *only, "-e", f"inject={calls}:{fault}"]


@pytest.mark.parametrize(
    "numbers", [QUICK, pytest.param(WHOLE, marks=pytest.mark.faults)], ids=["quick", "whole"]
)
def test_nth_write_fails(tmp_path: Path, enter: Enter, numbers: Sequence[int]) -> None:
    """Whichever write fails, and for however long, nothing is lost, doubled or torn."""
    for number in numbers:
        error = ("ENOSPC", "EIO", "EDQUOT", "EROFS")[number % 4]
        directory = tmp_path / str(number)
        fault = f"error={error}:when={number}..{number + number % 3}"
        around = strace(directory / "run", fault)
        with Trial(directory, around=around, file={"max_bytes": 20_000, "backups": 999}) as trial:
            trial.complains(TROUBLE)
            trial.stored()
            counts = trial.end()
        enter("n-th write fails (ENOSPC, EIO, EDQUOT, EROFS)", counts)


@pytest.mark.usefixtures("ten_times")
def test_slow(tmp_path: Path, enter: Enter) -> None:
    """Writes that take 50 ms each hold nobody up."""
    around = strace(tmp_path / "run", "delay_enter=50000")
    with Trial(tmp_path, around=around, pace=0, **ROOMY) as trial:
        trial.goes_on(5000)
        counts = trial.end()
    assert not counts["dropped"]
    enter("slow writes", counts)


def remove_directory(trial: Trial) -> None:
    """Remove the run directory and all in it; what had been written is kept elsewhere."""
    kept = trial.directory / f"kept-{len(trial.places)}"
    kept.mkdir()
    for path in trial.files():
        if path.parent == trial.run_dir:
            with contextlib.suppress(FileNotFoundError):
                os.link(path, kept / path.name)
    trial.places.append(kept)
    shutil.rmtree(trial.run_dir)


def move(trial: Trial) -> None:
    """Move the file away."""
    move_as_logrotate(trial, create=False)


def move_as_logrotate(trial: Trial, *, create: bool = True) -> None:
    """Do what logrotate does with ``create``: rename the file, and make an empty one."""
    file = trial.run_dir / "events.jsonl"
    file.rename(trial.run_dir / f"events-{len(trial.files())}.jsonl")
    if create:
        with contextlib.suppress(FileExistsError):
            os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o640))


def copy_and_truncate(trial: Trial) -> None:
    """Do what logrotate does with ``copytruncate``.

    The victim stands still meanwhile: what it writes between the two is lost, as logrotate says.
    """
    file = trial.run_dir / "events.jsonl"
    with trial.paused():
        (trial.run_dir / f"events-{len(trial.files())}.jsonl").write_bytes(file.read_bytes())
        os.truncate(file, 0)


@pytest.mark.parametrize("rounds", [2, pytest.param(50, marks=pytest.mark.faults)])
@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("directory removed", remove_directory),
        ("file moved", move),
        ("external logrotate, create", move_as_logrotate),
        ("external logrotate, copytruncate", copy_and_truncate),
    ],
)
def test_files_are_taken_away(
    tmp_path: Path, enter: Enter, name: str, fault: Callable[[Trial], None], rounds: int
) -> None:
    """A new file is made or the old one gone on with; all that is not destroyed is there."""
    with Trial(tmp_path / "trial", **ROOMY) as trial:
        for _ in range(rounds):
            wait_for((trial.run_dir / "events.jsonl").exists, "no file is made")
            trial.goes_on()
            fault(trial)
        trial.stored()
        counts = trial.end()
    counts["trials"] = rounds
    enter(name, counts)


@pytest.mark.usefixtures("ten_times")
@pytest.mark.parametrize("spools", ["one", "two"])
def test_two_programs_on_one_directory(tmp_path: Path, enter: Enter, spools: str) -> None:
    """Both are stored, whether they see each other's rings or not; one is killed meanwhile."""
    run_dir = tmp_path / "run"
    other_spool = tmp_path / "spool"
    other_spool.mkdir(mode=0o700)
    environment = {"ASYNCLOG_SPOOL_DIR": str(other_spool)} if spools == "two" else {}
    first = Trial(tmp_path / "first", run_dir=run_dir)
    second = Trial(tmp_path / "second", run_dir=run_dir, first=2, environment=environment)
    with first, second:
        first.stored()
        second.stored()
        first.kill()
        second.goes_on(100)
        second.stored()
        counts = second.end() + first.ended()
    counts["trials"] = 1
    enter("two programs on one directory", counts)
