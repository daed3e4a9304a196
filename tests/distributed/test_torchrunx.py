"""torchrunx's records in a run: its handlers, and its jobs as the documentation has them."""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import re
import signal
import socketserver
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import pytest

import asynclog
from asynclog.distributed.torchrunx import NotStartedError, handlers
from asynclog.exceptions import SettingError

GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "torchrunx.md"


def _received(
    text: str, hostname: str = "localhost", local_rank: int | None = 0, **more: Any
) -> logging.LogRecord:
    """Return a record as torchrunx's log process gets it: one that was pickled, then renamed."""
    record = logging.LogRecord("app", logging.INFO, "train.py", 7, text, None, None)
    sent = {**record.__dict__, "hostname": hostname, "local_rank": local_rank, **more}
    found = logging.makeLogRecord(pickle.loads(pickle.dumps(sent)))
    found.msg = f"{found.name}:{found.msg}"
    found.name = f"torchrunx.{hostname}" + ("" if local_rank is None else f".{local_rank}")
    return found


def _log_process(count: int) -> None:
    """Do what torchrunx's log process does, to its end."""
    [handler] = handlers()
    for number in range(count):
        handler.handle(_received(str(number)))
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_log_process_is_killed(job: Any) -> None:
    """What torchrunx's log process has taken is in the run, though it ends by SIGKILL."""
    with asynclog.running(job.run_dir):
        process = multiprocessing.get_context("fork").Process(target=_log_process, args=(500,))
        process.start()
        process.join()
        process.close()
    found = job.events()
    assert [event["event"] for event in found] == [f"app:{number}" for number in range(500)]
    assert {event["logger"] for event in found} == {"torchrunx.localhost.0"}


def test_place(job: Any) -> None:
    """A record says which process of the job it comes from; an agent has no rank."""
    with asynclog.running(job.run_dir):
        for handler in handlers():
            handler.handle(_received("one", local_rank=3))
            handler.handle(_received("two", local_rank=None))
    worker, agent = job.events()
    place = {"rank": 3, "local_rank": 3, "host": "localhost"}
    assert {name: worker.get(name) for name in place} == place
    assert (worker["file"], worker["line"], worker["pid"]) == ("train.py", 7, os.getpid())
    assert (agent["host"], agent["logger"]) == ("localhost", "torchrunx.localhost")
    assert not {"rank", "local_rank", "hostname"} & agent.keys()


def test_ranks_of_several_machines(job: Any) -> None:
    """With machines and their numbers of workers given, ranks are those of the whole job."""
    with asynclog.running(job.run_dir):
        [handler] = handlers(["node1", "node2"], [2, 3])
        for hostname in ("node1", "node2", "node3"):
            handler.handle(_received("hello", hostname, 1))
    assert [event.get("rank") for event in job.events()] == [1, 3, None]


def test_in_the_run_already(job: Any) -> None:
    """A record of a worker that logs into this run itself is left out, of another run it is not."""
    with asynclog.running(job.run_dir):
        [handler] = handlers()
        handler.handle(_received("twice", _asynclog_run=str(job.run_dir)))
        handler.handle(_received("once", _asynclog_run=str(job.run_dir / "other")))
    [event] = job.events()
    assert event["event"] == "app:once"
    assert not [name for name in event if name.startswith("_")]


def test_other_handlers_see_the_record_as_it_was(job: Any) -> None:
    """A handler after ours in the list finds what torchrunx has put into the record."""
    record = _received("hello", local_rank=None)
    before = dict(record.__dict__)
    with asynclog.running(job.run_dir):
        handlers()[0].handle(record)
    assert record.__dict__ == before


def test_no_run() -> None:
    """Without a run the handlers say what to do."""
    with pytest.raises(NotStartedError, match="start one before"):
        handlers()


def test_machines_are_checked(job: Any) -> None:
    """Names and numbers that do not fit together are refused."""
    with (
        asynclog.running(job.run_dir),
        pytest.raises(SettingError, match="workers_per_host must be"),
    ):
        handlers(["node1", "node2"], [8])


def test_sent_and_in_the_run(job: Any) -> None:
    """Under `asynclog run`, a record that a program also sends elsewhere says that it is there."""
    with socketserver.TCPServer(("localhost", 0), _Receiver) as server:
        server.timeout = 60
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        done = job.python(
            f"""
            import logging.handlers
            root = logging.getLogger()
            root.addHandler(logging.handlers.SocketHandler("localhost", {server.server_address[1]}))
            root.setLevel("INFO")
            logging.info("plain")
            import asynclog.stdlib
            root.addHandler(asynclog.stdlib.Handler())
            logging.info("by the program itself")
            """
        )
        thread.join()
    assert done.returncode == 0, done.stderr
    assert _Receiver.runs == [str(job.run_dir)] * 2
    assert [event["event"] for event in job.events()] == ["plain", "by the program itself"]
    assert not [name for event in job.events() for name in event if name.startswith("_")]


class _Receiver(socketserver.StreamRequestHandler):
    """Notes of each record that arrives which run it is in."""

    runs: ClassVar[list[str | None]] = []

    def handle(self) -> None:
        while size := self.rfile.read(4):
            record = pickle.loads(self.rfile.read(int.from_bytes(size, "big")))
            self.runs.append(record.get("_asynclog_run"))


def _documented(job: Any) -> str:
    code = re.search(r"```\{code-block\} python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert code is not None
    return job.program(code[1], "job.py")


def _steps(events: list[dict[str, Any]], *fields: str) -> Counter[Any]:
    return Counter(
        tuple(event.get(field) for field in fields) for event in events if "loss" in event
    )


# its log process may live a moment longer than the run; its ring, read to the end, stays then
@pytest.mark.leaks("rings")
@pytest.mark.slow
def test_documented_job(job: Any) -> None:
    """The job of the guide runs, and its workers' records are in the run, each with its rank."""
    pytest.importorskip("torchrunx")
    done = subprocess.run(
        [sys.executable, _documented(job)],
        cwd=job.directory,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "sum: 1.0\n"), done.stderr
    job.run_dir = job.directory / "runs" / "exp1"
    steps = _steps(job.events(), "rank", "event", "logger")
    # torchrunx kills its log process at the end, and the last records with it if it is slow
    assert set(steps.values()) == {1}
    for rank in range(2):
        assert steps[rank, "train:step 0", f"torchrunx.localhost.{rank}"] == 1


@pytest.mark.faults
def test_documented_job_under_the_launcher(job: Any) -> None:
    """Under `asynclog run` each record of the job is there once, by its worker's logger."""
    pytest.importorskip("torchrunx")
    program = _documented(job)
    done = subprocess.run(
        job.command(sys.executable, program),
        cwd=job.directory,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    expected = {(rank, f"step {n}", "train"): 1 for rank in range(2) for n in range(10)}
    assert _steps(job.events(), "rank", "event", "logger") == expected
    printed = [event for event in job.events() if event["event"].startswith("before:")]
    assert Counter(event["event"] for event in printed) == {"before: 0.0": 1, "before: 1.0": 1}
    assert "sum: 1.0" in done.stdout
