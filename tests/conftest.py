"""What every test gets: three event loops, a spool of its own, and a check that nothing is left."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
import uvloop

# Threads that libraries keep for reuse after their work is done; trio's live for ten idle seconds.
POOLED_THREADS = ("Trio thread", "Trio worker")
# How long something that is just ending may take, in seconds, before it counts as leaked.
LEAK_GRACE = 20.0
SHARED_MEMORY = Path("/dev/shm")
# Whatever the machine that runs the tests sets, the tests decide for themselves.
FOREIGN_VARIABLES = (
    "NO_COLOR",
    "FORCE_COLOR",
    "TTY_COMPATIBLE",
    "RANK",
    "LOCAL_RANK",
    "WORLD_SIZE",
    "SLURM_PROCID",
    "SLURM_LOCALID",
    "SLURM_NTASKS",
    "PMI_RANK",
    "PMI_SIZE",
    "OMPI_COMM_WORLD_RANK",
    "OMPI_COMM_WORLD_LOCAL_RANK",
    "OMPI_COMM_WORLD_SIZE",
    "MV2_COMM_WORLD_RANK",
    "MV2_COMM_WORLD_LOCAL_RANK",
    "MV2_COMM_WORLD_SIZE",
    "JSM_NAMESPACE_RANK",
    "JSM_NAMESPACE_SIZE",
    "MPI_LOCALRANKID",
)


# A shell's background jobs ignore it, and so would every process that the tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(
    params=[
        pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio"),
        pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop"),
        pytest.param(("trio", {}), id="trio"),
    ]
)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Run every async test on asyncio, on asyncio with uvloop and on trio."""
    return request.param


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """Return a run directory that does not exist yet."""
    return tmp_path / "run"


@pytest.fixture(autouse=True, scope="session")
def _first_uvloop() -> None:
    """Make one uvloop up front: libuv opens a pipe with the first and keeps it for the process."""
    uvloop.new_event_loop().close()


@pytest.fixture(autouse=True)
def _away_from_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a directory of the test's own: child processes then import the installed package."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def no_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a thread, an open descriptor or a mapped ring behind.

    ``@pytest.mark.leaks("threads", "descriptors", "rings")`` names what a test may leave, for
    tests whose point it is (the daemon thread of a hung sink cannot be ended).
    """
    threads = frozenset(threading.enumerate())
    descriptors = _descriptors()
    maps = _mapped_rings()
    yield

    def leaked() -> dict[str, list[str]]:
        return {
            "threads": [
                repr(thread)
                for thread in threading.enumerate()
                if thread not in threads and not thread.name.startswith(POOLED_THREADS)
            ],
            "descriptors": _new_descriptors(descriptors),
            "rings": sorted(_mapped_rings() - maps),
        }

    _fail_if_left_behind(request, leaked)


@pytest.fixture(autouse=True)
def spool_dir(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    no_leaks: None,
) -> Iterator[Path]:
    """Give the test a spool of its own in shared memory, which its child processes inherit.

    Fail a test that leaves a ring file there, unless it is marked ``leaks("rings")``.
    """
    del no_leaks  # asked for because it must look last
    for name in [*os.environ]:
        if name.startswith("ASYNCLOG_") or name in FOREIGN_VARIABLES:
            monkeypatch.delenv(name)
    if SHARED_MEMORY.is_dir() and os.access(SHARED_MEMORY, os.W_OK):
        path = Path(tempfile.mkdtemp(prefix=f"asynclog-test-{os.getpid()}-", dir=SHARED_MEMORY))
    else:
        path = tmp_path / "spool"
        path.mkdir(mode=0o700)
    monkeypatch.setenv("ASYNCLOG_SPOOL_DIR", str(path))
    yield path
    try:
        _fail_if_left_behind(request, lambda: {"rings": _ring_files(path)})
    finally:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(autouse=True)
def reset(spool_dir: Path) -> Iterator[None]:
    """Put structlog and the default pipeline back to the state in which importing leaves them."""
    del spool_dir  # asked for because what a pipeline still holds is not leaked yet
    yield
    put_back = getattr(sys.modules.get("asynclog._lifecycle"), "reset", None)
    if put_back is not None:
        put_back()
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def _fail_if_left_behind(
    request: pytest.FixtureRequest, leaked: Callable[[], dict[str, list[str]]]
) -> None:
    """Fail the test when something is still there after the grace for what is just ending."""
    marker = request.node.get_closest_marker("leaks")
    allowed = marker.args if marker else ()

    def found() -> dict[str, list[str]]:
        return {kind: names for kind, names in leaked().items() if names and kind not in allowed}

    if not found():
        return
    gc.collect()
    deadline = time.monotonic() + LEAK_GRACE
    while (remaining := found()) and time.monotonic() < deadline:
        time.sleep(0.01)
    if remaining:
        pytest.fail(f"left behind: {remaining}", pytrace=False)


def _descriptors() -> dict[int, str]:
    """Return this process's open descriptors and what they lead to; empty where /proc is not."""
    found: dict[int, str] = {}
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir("/proc/self/fd"):
            # the descriptor of this very listing is gone by now
            with contextlib.suppress(FileNotFoundError):
                found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    return found


def _new_descriptors(before: dict[int, str]) -> list[str]:
    """Name the descriptors that are new, but for those multiprocessing keeps for the process."""
    tracker = sys.modules.get("multiprocessing.resource_tracker")
    server = sys.modules.get("multiprocessing.forkserver")
    kept = {
        getattr(getattr(tracker, "_resource_tracker", None), "_fd", None),
        getattr(getattr(server, "_forkserver", None), "_forkserver_alive_fd", None),
    }
    return [
        f"{number} -> {target}"
        for number, target in _descriptors().items()
        if before.get(number) != target and number not in kept
    ]


def _mapped_rings() -> frozenset[str]:
    """Return the files below a spool that this process has mapped."""
    try:
        text = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return frozenset()
    paths = (line.split(None, 5)[5:] for line in text.splitlines())
    return frozenset(path[0] for path in paths if path and "/asynclog-" in path[0])


def _ring_files(spool: Path) -> list[str]:
    """Return the rings that lie in a spool, finished or half made."""
    paths = [path for pattern in ("*.ring", "*.new") for path in spool.rglob(pattern)]
    return sorted(str(path.relative_to(spool)) for path in paths)
