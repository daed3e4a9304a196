"""Children of a process that logs: however they are made, their records arrive, with their pid."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import asynclog
from asynclog._invitation import VARIABLE, Invitation

METHODS = ["fork", "spawn", "forkserver"]
PROGRAM = [sys.executable, "-c"]


def _events(run_dir: Path) -> list[dict[str, Any]]:
    lines = b"".join(path.read_bytes() for path in run_dir.glob("events*.jsonl*")).splitlines()
    return [json.loads(line) for line in lines]


def _numbers(run_dir: Path) -> Counter[int]:
    return Counter(event["number"] for event in _events(run_dir) if "number" in event)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the module with what the children do, which spawned ones can import, too."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    return importlib.import_module("children_work")


@pytest.fixture(autouse=True)
def _own_forkserver() -> Iterator[None]:
    """Give each test a forkserver of its own, which knows its environment."""
    yield
    server = sys.modules.get("multiprocessing.forkserver")
    if server is not None:
        server._forkserver._stop()  # type: ignore[attr-defined]


@pytest.mark.parametrize("method", METHODS)
def test_process(run_dir: Path, method: str, work: Any) -> None:
    """Records of a multiprocessing child arrive once each, with the child's own pid."""
    context: Any = multiprocessing.get_context(method)
    with asynclog.running(run_dir, sinks=[asynclog.JsonlFile()]):
        asynclog.get_logger("parent").info("before")
        children = [context.Process(target=work.log_numbers, args=(at, 100)) for at in (0, 100)]
        for child in children:
            child.start()
        for child in children:
            child.join()
        assert [child.exitcode for child in children] == [0, 0]
    assert _numbers(run_dir) == Counter(range(200))
    pids = {event["number"] // 100: event["pid"] for event in _events(run_dir) if "number" in event}
    assert pids == {0: children[0].pid, 1: children[1].pid}
    [before] = [event for event in _events(run_dir) if event["event"] == "before"]
    assert "pid" not in before


@pytest.mark.parametrize("method", METHODS)
def test_pool(run_dir: Path, method: str, work: Any) -> None:
    """Records of a Pool's workers arrive, although the pool ends them with a signal."""
    with (
        asynclog.running(run_dir, sinks=[asynclog.JsonlFile()]),
        multiprocessing.get_context(method).Pool(2) as pool,
    ):
        pool.map(work.log_one, range(100))
    assert _numbers(run_dir) == Counter(range(100))


def test_subprocess(run_dir: Path) -> None:
    """A program that is started finds the run by its environment; it starts no thread."""
    code = (
        "import threading, asynclog\n"
        "asynclog.get_logger('child').warning('hello', number=1)\n"
        "assert threading.active_count() == 1\n"
    )
    with asynclog.running(run_dir, sinks=[asynclog.JsonlFile()]):
        subprocess.run([*PROGRAM, code], check=True)
    [event] = _events(run_dir)
    assert event["event"] == "hello"
    assert event["pid"] != os.getpid()


def test_structlog_in_a_child(run_dir: Path) -> None:
    """structlog's own loggers of a spawned child go to the run as well."""
    code = "import asynclog, structlog; structlog.get_logger('child').info('hello', number=1)"
    with asynclog.running(run_dir, sinks=[asynclog.JsonlFile()]):
        subprocess.run([*PROGRAM, code], check=True)
    assert _numbers(run_dir) == Counter([1])


def test_levels_go_along(run_dir: Path) -> None:
    """A child logs from the levels on that the run was started with."""
    code = (
        "import asynclog\n"
        "asynclog.get_logger('a').debug('x', number=1)\n"
        "asynclog.get_logger('b').info('x', number=2)\n"
    )
    sinks = [asynclog.JsonlFile()]
    with asynclog.running(run_dir, sinks=sinks, level="DEBUG", levels={"b": "ERROR"}):
        subprocess.run([*PROGRAM, code], check=True)
    assert _numbers(run_dir) == Counter([1])


def test_killed_child(run_dir: Path) -> None:
    """What a child logged before SIGKILL arrives."""
    code = (
        "import asynclog, os, signal\n"
        "for number in range(1000): asynclog.get_logger().info('x', number=number)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    with asynclog.running(run_dir, sinks=[asynclog.JsonlFile()]):
        done = subprocess.run([*PROGRAM, code], check=False)
    assert done.returncode == -signal.SIGKILL
    assert _numbers(run_dir) == Counter(range(1000))


def test_child_flushes_and_stops(run_dir: Path) -> None:
    """flush() in a child waits for the run's collector, stop() reports what the child logged."""
    code = (
        "import asynclog, pathlib, sys\n"
        "asynclog.get_logger().info('x', number=1)\n"
        "assert asynclog.flush_sync()\n"
        "assert b'\"number\":1' in pathlib.Path(sys.argv[1], 'events.jsonl').read_bytes()\n"
        "asynclog.get_logger().info('x', number=2)\n"
        "report = asynclog.stop_sync()\n"
        "assert (report.accepted, report.written, report.dropped) == (2, 2, {}), report\n"
    )
    with asynclog.running(run_dir, sinks=[asynclog.JsonlFile()]):
        subprocess.run([*PROGRAM, code, str(run_dir)], check=True)
    assert _numbers(run_dir) == Counter([1, 2])


def test_child_stops_before_it_logs(run_dir: Path) -> None:
    """What a child logs after stop() is counted as after any stop, and not in the run."""
    code = (
        "import asynclog\n"
        "report = asynclog.stop_sync()\n"
        "assert report == asynclog.stop_sync()\n"
        "assert (report.accepted, report.written, report.dropped) == (0, 0, {}), report\n"
        "asynclog.get_logger().info('x', number=1)\n"
        "stats = asynclog.stats('process')\n"
        "assert (stats.accepted, stats.dropped) == (1, {'stopped': 1}), stats\n"
    )
    with asynclog.running(run_dir, sinks=[asynclog.JsonlFile()]):
        subprocess.run([*PROGRAM, code], check=True)
    assert _numbers(run_dir) == Counter()


def test_child_that_starts_a_run_of_its_own(run_dir: Path, tmp_path: Path) -> None:
    """A child that calls start() logs there, and what it logged before stays in the first run."""
    code = (
        "import asynclog, sys\n"
        "asynclog.get_logger().info('x', number=1)\n"
        "with asynclog.running(sys.argv[1], sinks=[asynclog.JsonlFile()]):\n"
        "    asynclog.get_logger().info('x', number=2)\n"
    )
    with asynclog.running(run_dir, sinks=[asynclog.JsonlFile()]):
        subprocess.run([*PROGRAM, code, str(tmp_path / "other")], check=True)
    assert _numbers(run_dir) == Counter([1])
    assert _numbers(tmp_path / "other") == Counter([2])


def test_grandchildren(run_dir: Path) -> None:
    """A child's children, forked or started, log into the run, too."""
    code = (
        "import asynclog, os, subprocess, sys\n"
        "asynclog.get_logger().info('x', number=1)\n"
        "if not os.fork():\n"
        "    asynclog.get_logger().info('x', number=2)\n"
        "    os._exit(0)\n"
        "os.wait()\n"
        "again = 'import asynclog; asynclog.get_logger().info(\"x\", number=3)'\n"
        "subprocess.run([sys.executable, '-c', again], check=True)\n"
    )
    with asynclog.running(run_dir, sinks=[asynclog.JsonlFile()]):
        subprocess.run([*PROGRAM, code], check=True)
    assert _numbers(run_dir) == Counter([1, 2, 3])
    pids = [event["pid"] for event in _events(run_dir)]
    assert len(set(pids)) == 3


def test_child_that_outlives_the_run(run_dir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What a child logs after the run has ended is shown, and not lost silently."""
    code = "import asynclog, sys; sys.stdin.read(); asynclog.get_logger().info('too late')"
    with asynclog.running(run_dir, sinks=[asynclog.JsonlFile()]):
        child = subprocess.Popen([*PROGRAM, code], stdin=subprocess.PIPE)
    child.communicate(b"")
    assert child.returncode == 0
    assert "too late" in capfd.readouterr().err


def test_invitation_is_withdrawn(run_dir: Path) -> None:
    """After stop() the environment is as it was before start()."""
    assert VARIABLE not in os.environ
    with asynclog.running(run_dir, sinks=[asynclog.JsonlFile()]):
        found = Invitation.found()
        assert found is not None
        assert found.directory == run_dir
    assert VARIABLE not in os.environ


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"run_dir": 1}', '{"run_dir": "x", "level": "y"}']
)
def test_broken_invitation_is_none(text: str) -> None:
    """What is no invitation does not stop a program from starting."""
    assert Invitation.found({VARIABLE: text}) is None


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_data_loader(run_dir: Path, method: str, work: Any) -> None:
    """Records of DataLoader workers carry the worker's number; no worker_init_fn is needed."""
    data = pytest.importorskip("torch.utils.data")
    with asynclog.running(run_dir, sinks=[asynclog.JsonlFile()]):
        loader = data.DataLoader(
            work.Numbers(), num_workers=2, batch_size=5, multiprocessing_context=method
        )
        assert sum(len(batch) for batch in loader) == 40
        del loader
    assert _numbers(run_dir) == Counter(range(40))
    workers = {(event["worker"], event["pid"]) for event in _events(run_dir) if "number" in event}
    assert {worker for worker, _ in workers} == {0, 1}
    assert len(workers) == 2


def test_torch_spawn(run_dir: Path, work: Any) -> None:
    """Records of processes that torch.multiprocessing spawns arrive."""
    torch_processes = pytest.importorskip("torch.multiprocessing")
    with asynclog.running(run_dir, sinks=[asynclog.JsonlFile()]):
        torch_processes.spawn(work.log_rank, nprocs=2)
    assert _numbers(run_dir) == Counter([0, 1])


def test_ranks(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of a rank say which one, on which host, by which process; fields of the call win."""
    for name, value in {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "8"}.items():
        monkeypatch.setenv(name, value)
    assert asynclog.rank_info() == (3, 1, 8, os.uname().nodename)
    with asynclog.running(run_dir, sinks=[asynclog.JsonlFile()]):
        asynclog.get_logger().info("x")
        asynclog.get_logger().info("y", rank="mine")
    first, second = _events(run_dir)
    assert {name: first[name] for name in ("rank", "local_rank", "world_size", "host", "pid")} == {
        "rank": 3,
        "local_rank": 1,
        "world_size": 8,
        "host": os.uname().nodename,
        "pid": os.getpid(),
    }
    assert second["rank"] == "mine"


@pytest.mark.parametrize("forks", [100, pytest.param(1000, marks=pytest.mark.faults)])
def test_forks_while_threads_log(run_dir: Path, forks: int) -> None:
    """Forks while 4 threads log: no child hangs, nothing is lost or comes twice."""
    stop = threading.Event()
    counts = [0] * 4

    def chatter(at: int) -> None:
        log = asynclog.get_logger(f"thread{at}")
        while not stop.wait(0.0005):
            log.info("x", thread=at, count=counts[at])
            counts[at] += 1

    with asynclog.running(run_dir, sinks=[asynclog.JsonlFile()]):
        threads = [threading.Thread(target=chatter, args=(at,)) for at in range(4)]
        for thread in threads:
            thread.start()
        try:
            for number in range(forks):
                pid = os.fork()
                if not pid:
                    asynclog.get_logger("child").info("x", number=number)
                    os._exit(0)
                assert os.waitpid(pid, 0)[1] == 0
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    assert _numbers(run_dir) == Counter(range(forks))
    seen = Counter(event["thread"] for event in _events(run_dir) if "count" in event)
    assert [seen[at] for at in range(4)] == counts
