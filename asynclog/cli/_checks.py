"""What `asynclog doctor` looks at: each check says what it found, and what to do about it.

Nothing is changed. The places that are looked at are parameters, so that tests can have their own.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias

from .. import __version__
from .._json import codec
from .._rank import (
    LOCAL_RANK_VARIABLES,
    RANK_VARIABLES,
    WORLD_SIZE_VARIABLES,
    local_rank_from_environment,
    rank_from_environment,
)
from .._settings import Settings
from ..exceptions import SettingError, SpoolError
from ..intake.spool import check_ownership, settings_in, spool_root
from ..reading.summary import RingState, rings_in
from ._table import size

Grade: TypeAlias = Literal["ok", "note", "warning", "problem"]
"""``note``: worth knowing, nothing to do. ``warning``: will hurt. ``problem``: does not work."""

LITTLE_SHARED: Final = 256 << 20
LITTLE_DISK: Final = 1 << 30
CORE: Final = ("structlog", "anyio", "orjson", "click")
EXTRAS: Final[Mapping[str, Sequence[str]]] = {
    "rich": ("rich",),
    "torch": ("torch",),
    "wandb": ("wandb", "pillow"),
    "tensorboard": ("tensorboardX",),
    "mlflow": ("mlflow-skinny",),
    "nats": ("nats-py",),
    "otlp": ("opentelemetry-proto",),
    "prometheus": ("prometheus-client",),
    "plot": ("plotext",),
    "pandas": ("pandas",),
    "polars": ("polars",),
    "arrow": ("pyarrow",),
}
_ON_DISK: Final = ("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "overlay")
_NETWORK: Final = ("nfs", "nfs4", "cifs", "smb3", "lustre", "ceph", "beegfs", "gpfs", "fuse")
_SYSTEM_USERS: Final = 1000
_REMOVE_IPC: Final = re.compile(r"^\s*RemoveIPC\s*=\s*(\S+)", re.MULTILINE)


class Check(NamedTuple):
    """One thing that was looked at.

    Attributes:
        name: What.
        grade: How it is.
        found: What was found.
        advice: What to do about it; empty when there is nothing to do.
    """

    name: str
    grade: Grade
    found: str
    advice: str = ""


def versions() -> Iterator[Check]:
    """Look at the versions of Python and of what asynclog needs."""
    from ..intake.producer import lines_are_atomic

    python = f"{platform.python_implementation()} {platform.python_version()}"
    if lines_are_atomic():
        yield Check("python", "ok", python)
    else:
        found = f"{python}: records are put into the ring under a lock, which costs some 0.2 us"
        yield Check("python", "note", found)
    parts = [f"asynclog {__version__}"]
    missing: list[str] = []
    for package in CORE:
        version = _version(package)
        if version is None:
            missing.append(package)
        else:
            parts.append(f"{package} {version}")
    if "orjson" in missing:
        # has no wheels for free-threaded builds
        yield Check(
            "versions",
            "note",
            f"{', '.join(parts)}; JSON by {codec.name}",
            "orjson is faster where it can be installed: python -m pip install orjson",
        )
    else:
        yield Check("versions", "ok", ", ".join(parts))


def extras() -> Iterator[Check]:
    """Look which optional packages are there."""
    there = [
        f"{extra} ({', '.join(f'{package} {_version(package)}' for package in packages)})"
        for extra, packages in EXTRAS.items()
        if all(_version(package) is not None for package in packages)
    ]
    missing = [
        extra
        for extra, packages in EXTRAS.items()
        if any(_version(package) is None for package in packages)
    ]
    yield Check("extras", "ok", f"installed: {', '.join(there) or 'none'}")
    if missing:
        yield Check(
            "extras",
            "note",
            f"not installed: {', '.join(missing)}",
            f"Where you need one: python -m pip install 'asynclog[{missing[0]}]'",
        )


def settings(environment: Mapping[str, str]) -> Iterator[Check]:
    """Look at the settings in the environment."""
    names = sorted(name for name in environment if name.startswith("ASYNCLOG_"))
    try:
        Settings.read(default_sinks=(), environment=environment)
    except SettingError as error:
        yield Check("settings", "problem", str(error), "Correct the variable, or unset it")
        return
    yield Check("settings", "ok", f"from the environment: {', '.join(names) or 'none'}")


def ranks(environment: Mapping[str, str]) -> Iterator[Check]:
    """Look at what launchers have said of ranks."""
    rank = rank_from_environment(environment)
    set_here = {name: environment[name] for name in RANK_VARIABLES if environment.get(name)}
    local = [name for name in LOCAL_RANK_VARIABLES if environment.get(name)]
    sizes = [name for name in WORLD_SIZE_VARIABLES if environment.get(name)]
    said = ", ".join(f"{name}={value}" for name, value in set_here.items())
    differ = len({*set_here.values()}) > 1
    if differ and "RANK" in set_here:
        # torchrun within srun: Slurm counts the nodes, torchrun the workers
        yield Check("ranks", "note", f"{said} differ: RANK is used, which torchrun sets")
    elif differ:
        used = next((name for name, value in set_here.items() if value == str(rank)), "none")
        yield Check(
            "ranks",
            "warning",
            f"{said} differ: {used} is used",
            "Unset those that a surrounding job has left, or set RANK",
        )
    elif rank is not None:
        where = local_rank_from_environment(environment)
        found = f"rank {rank} ({said})"
        yield Check("ranks", "ok", found if where is None else f"{found}, local rank {where}")
    elif set_here:
        yield Check("ranks", "warning", f"{said} is no number", "Unset it, or give a rank")
    elif local or sizes:
        yield Check(
            "ranks",
            "note",
            f"{', '.join([*local, *sizes])} set, but no rank: this counts as no distributed job",
        )
    else:
        yield Check("ranks", "ok", "no distributed job")


def shared_memory(
    spool_dir: Path | None,
    environment: Mapping[str, str] = os.environ,
    mounts: str | None = None,
) -> Iterator[Check]:
    """Look at the place where rings lie: what it is, and how much room it has.

    Args:
        spool_dir: Where the user wants it, None for shared memory.
        environment: Says how large rings are.
        mounts: Text in the form of ``/proc/self/mountinfo``, None for that file.
    """
    place = spool_root(spool_dir).parent
    if not place.is_dir():
        yield Check(
            "shared memory", "problem", f"{place} does not exist", "Make it, or unset spool_dir"
        )
        return
    kind = _filesystem(place, mounts)
    status = os.statvfs(place)
    whole, free = status.f_frsize * status.f_blocks, status.f_frsize * status.f_bavail
    found = f"{place}: {kind}, {size(whole)}, {size(free)} free"
    try:
        ring = Settings.read(default_sinks=(), environment=environment).ring_size
    except SettingError:
        ring = 4 << 20
    if not os.access(place, os.W_OK | os.X_OK):
        yield Check(
            "shared memory",
            "problem",
            f"{found}; it cannot be written: records do not survive their process",
            "Give a place that can: ASYNCLOG_SPOOL_DIR, or spool_dir",
        )
    elif kind.startswith(_NETWORK):
        yield Check(
            "shared memory",
            "problem",
            f"{found}; on a network disk that stalls every thread of a program stops",
            "Put the spool into memory, or on a local disk",
        )
    elif free < 4 * ring:
        yield Check(
            "shared memory",
            "warning",
            f"{found}: room for {free // ring} processes of {size(ring)}",
            "Give it more (docker run --shm-size=1g; in Kubernetes an emptyDir with medium: "
            "Memory), or set ASYNCLOG_RING_SIZE=1MiB",
        )
    elif kind in _ON_DISK:
        yield Check(
            "shared memory",
            "warning",
            f"{found}; while this disk stalls every thread of a program stops",
            "Fine for a local disk that has to keep last words; else unset spool_dir",
        )
    elif whole < LITTLE_SHARED:
        yield Check(
            "shared memory",
            "note",
            f"{found}: room for {free // ring} processes of {size(ring)}, as containers have it",
            "Where torch's DataLoader uses it as well: docker run --shm-size=1g",
        )
    else:
        yield Check("shared memory", "ok", found)


def spool_rights(spool_dir: Path | None) -> Iterator[Check]:
    """Look whether nobody else can touch the rings."""
    root = spool_root(spool_dir)
    if not os.path.lexists(root):
        yield Check("spool", "ok", f"{root} is made at the first start")
        return
    try:
        check_ownership(root)
        for place in sorted(root.iterdir()):
            check_ownership(place)
    except SpoolError as error:
        yield Check("spool", "problem", str(error), "As it says: asynclog refuses to use it")
        return
    except OSError as error:
        yield Check("spool", "problem", f"{root}: {error}", "Remove it")
        return
    yield Check("spool", "ok", f"{root} is closed to others")


def remove_ipc(
    spool_dir: Path | None,
    user: int | None = None,
    etc: Path = Path("/etc/systemd"),
    running: Path = Path("/run/systemd/system"),
    lingering: Path = Path("/var/lib/systemd/linger"),
) -> Iterator[Check]:
    """Look whether systemd removes the shared memory of users who log out.

    See ``RemoveIPC=`` in https://www.freedesktop.org/software/systemd/man/latest/logind.conf.html.

    Args:
        spool_dir: Where the user wants the spool; outside of ``/dev/shm`` nothing is removed.
        user: User id, None for this one's.
        etc: Settings of systemd.
        running: Is there where systemd runs.
        lingering: Holds a file for each user whose processes stay.
    """
    user = os.getuid() if user is None else user
    if spool_dir is not None and not spool_dir.is_relative_to("/dev/shm"):
        yield Check("RemoveIPC", "ok", "does not touch this spool")
    elif not running.is_dir():
        yield Check("RemoveIPC", "ok", "no systemd here")
    elif user < _SYSTEM_USERS:
        yield Check("RemoveIPC", "ok", "does not touch system users")
    elif (name := _user_name(user)) and (lingering / name).exists():
        yield Check("RemoveIPC", "ok", f"{name} lingers")
    elif _removes_ipc(etc):
        yield Check(
            "RemoveIPC",
            "warning",
            "systemd removes the rings of a user who logs out: what killed processes left is gone",
            f"loginctl enable-linger {name or user}, or RemoveIPC=no in /etc/systemd/logind.conf",
        )
    else:
        yield Check("RemoveIPC", "ok", "switched off")


def stale_rings(spool_dir: Path | None) -> Iterator[Check]:
    """Look for rings of ended processes that nobody collects."""
    root = spool_root(spool_dir)
    living = 0
    stale = False
    try:
        places = sorted(root.iterdir()) if root.is_dir() else []
    except OSError:
        places = []
    for place in places:
        states = rings_in(place)
        living += sum(state.alive for state in states)
        ended = [state for state in states if not state.alive]
        if ended and not _collected(place):
            stale = True
            yield _stale(place, ended, spool_dir)
    if not stale:
        yield Check("rings", "ok", f"{living} of living processes, none left behind")


def run_directory(run: Path) -> Iterator[Check]:
    """Look at a run directory: that it can be written, and how much room its disk has."""
    if not run.exists():
        parent = next(place for place in run.absolute().parents if place.exists())
        writable = os.access(parent, os.W_OK | os.X_OK)
        yield Check(
            "run",
            "ok" if writable else "problem",
            f"{run} does not exist yet" + ("" if writable else f", and {parent} is not writable"),
            "" if writable else "Give another run directory",
        )
        run = parent
    elif not os.access(run, os.W_OK | os.X_OK):
        yield Check("run", "problem", f"{run} is not writable", f"chown or chmod {run}")
    status = os.statvfs(run)
    free = status.f_frsize * status.f_bavail
    if free < LITTLE_DISK:
        yield Check(
            "disk",
            "warning",
            f"{size(free)} free for {run}; a run takes up to 600 MB in its files",
            "Make room: while a disk is full, records wait in the ring, and then calls wait",
        )
    else:
        yield Check("disk", "ok", f"{size(free)} free for {run}")
    aside = run / "quarantine.log"
    if aside.is_file():
        yield Check(
            "quarantine",
            "warning",
            f"{aside} holds {size(aside.stat().st_size)} that were no JSON in a killed "
            "process's ring",
            "Look at it, then remove it",
        )


def _stale(place: Path, ended: list[RingState], spool_dir: Path | None) -> Check:
    waiting = sum(state.waiting for state in ended)
    taken = sum(state.size for state in ended)
    found = f"{len(ended)} of ended processes in {place}: {size(waiting)} not stored"
    told = (settings_in(place) or {}).get("run_dir")
    advice = "Start the run again, or asynclog recover with its run directory"
    if isinstance(told, str):
        option = "" if spool_dir is None else f" --spool-dir {spool_dir}"
        advice = f"asynclog recover {told}{option}"
    return Check("rings", "warning" if waiting else "note", f"{found}, {size(taken)} taken", advice)


def _collected(place: Path) -> bool:
    """Say whether a living collector looks after a spool: it will take in what is there."""
    from ..intake.locks import is_held

    return is_held(place / "lock")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _filesystem(path: Path, mounts: str | None) -> str:
    """Return the type of the file system that a path is on."""
    if mounts is None:
        try:
            mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return sys.platform
    real = Path(os.path.realpath(path))
    best, kind = -1, "unknown"
    for line in mounts.splitlines():
        # https://www.kernel.org/doc/html/latest/filesystems/proc.html, 3.5
        front, _, back = line.partition(" - ")
        fields = front.split()
        if len(fields) < 5 or not back:
            continue
        point = Path(fields[4].replace("\\040", " "))
        # of mounts on one place, the later one counts
        if real.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), back.split()[0]
    return kind


def _removes_ipc(etc: Path) -> bool:
    value = "yes"
    for path in [etc / "logind.conf", *sorted((etc / "logind.conf.d").glob("*.conf"))]:
        try:
            found = _REMOVE_IPC.findall(path.read_text(encoding="utf-8", errors="replace"))
        except OSError:
            continue
        value = found[-1] if found else value
    return value.lower() not in ("no", "false", "off", "0")


def _user_name(user: int) -> str | None:
    import pwd

    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return None
