"""logging from wherever a program can log: forks, signal handlers, finalisers, its very end."""

from __future__ import annotations

import ctypes
import json
import logging
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import asynclog
from asynclog.testing import RecordingSink

Run = Callable[..., Any]

BEGIN = """
import atexit, gc, logging, os, signal, sys, threading, time
import asynclog
from asynclog.stdlib import Handler

logging.basicConfig(level="DEBUG", handlers=[Handler()])
log = logging.getLogger("app")
"""


def lines_of(path: Path) -> list[dict[str, Any]]:
    """Return the events of a file; all of its lines are valid."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


FORK = (
    BEGIN
    + """
asynclog.start_sync("run", sinks=[asynclog.JsonlFile()])
stop = threading.Event()
counts = [0] * 4

def work(number):
    while not stop.is_set():
        log.info("parent", extra={"thread_number": number, "n": counts[number]})
        counts[number] += 1
        # leave the two cores to the children, too
        time.sleep(0.0005)

threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
for thread in threads:
    thread.start()
hung = 0
for number in range(100):
    pid = os.fork()
    if not pid:
        log.info("child", extra={"n": number})
        logging.getLogger(f"new.{number}").warning("child", extra={"n": number})
        logging.shutdown()
        os._exit(0)
    deadline = time.monotonic() + 60
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        if time.monotonic() > deadline:
            hung += 1
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            break
        time.sleep(0.001)
stop.set()
for thread in threads:
    thread.join()
report = asynclog.stop_sync(10)
assert not hung, hung
assert not report.dropped, report
print(sum(counts))
"""
)


@pytest.mark.slow
def test_fork_while_threads_log(run_python: Run, tmp_path: Path):
    """100 forks beside 4 threads: nobody hangs, and every record of every process is there once."""
    result = run_python(FORK, timeout=120)
    events = lines_of(tmp_path / "run" / "events.jsonl")
    found = Counter(event["event"] for event in events)
    assert found["parent"] == int(result.stdout)
    children = Counter(
        (event["logger"], event["n"]) for event in events if event["event"] == "child"
    )
    assert children == Counter((name, n) for n in range(100) for name in ("app", f"new.{n}"))
    assert result.stderr == ""


SIGNALS = (
    BEGIN
    + """
asynclog.start_sync("run", sinks=[asynclog.JsonlFile()])
handled = depth = 0

def handle(*_):
    global handled, depth
    # on a busy machine a handler takes longer than until the next signal
    if depth < 5:
        depth += 1
        number = handled
        handled += 1
        log.warning("signal %d", number)
        depth -= 1

signal.signal(signal.SIGALRM, handle)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
called = 0
deadline = time.monotonic() + 3
while time.monotonic() < deadline or handled < 500:
    log.info("call %d", called, extra={"values": [called] * 5})
    called += 1
    if called % 50 == 0:
        time.sleep(0.0005)
signal.setitimer(signal.ITIMER_REAL, 0)
report = asynclog.stop_sync(10)
print(called, handled, sum(report.dropped.values()))
"""
)


@pytest.mark.slow
def test_signal_handlers(run_python: Run, tmp_path: Path):
    """A signal handler that logs a thousand times a second, while the program does, too."""
    called, handled, dropped = map(int, run_python(SIGNALS).stdout.split())
    texts = Counter(event["event"] for event in lines_of(tmp_path / "run" / "events.jsonl"))
    expected = Counter(
        [f"call {n}" for n in range(called)] + [f"signal {n}" for n in range(handled)]
    )
    assert not dropped
    assert texts == expected


FINALISERS = (
    BEGIN
    + """
asynclog.start_sync("run", sinks=[asynclog.JsonlFile()])

class Loud:
    def __init__(self, number):
        self.number = number
        self.me = self
    def __del__(self):
        log.info("gone", extra={"n": self.number})

gc.set_threshold(5)
for number in range(2000):
    Loud(number)
    log.info("made %d", number, extra={"value": [object()]})
gc.collect()
report = asynclog.stop_sync(10)
print(sum(report.dropped.values()))
"""
)


def test_finalisers(run_python: Run, tmp_path: Path):
    """``__del__`` logs whenever the garbage collector runs, which is in the middle of records."""
    assert run_python(FINALISERS).stdout == "0\n"
    events = lines_of(tmp_path / "run" / "events.jsonl")
    gone = Counter(event["n"] for event in events if event["event"] == "gone")
    assert gone == Counter(range(2000))
    assert len(events) == 4000


END = (
    BEGIN
    + """
class Late:
    def __del__(self):
        log.info("finaliser")

late = Late()

@atexit.register
def at_exit():
    log.info("at exit")

if START:
    asynclog.start_sync("run", sinks=[asynclog.JsonlFile()])
log.info("last words")
"""
)


def test_the_end_without_stop(run_python: Run, tmp_path: Path):
    """A program that just ends: everything is in the file, at-exit functions' records included."""
    result = run_python(END.replace("START", "True"))
    events = [event["event"] for event in lines_of(tmp_path / "run" / "events.jsonl")]
    assert events == ["last words", "at exit", "finaliser"]
    assert result.stderr == ""


HUNG = (
    BEGIN
    + """
from asynclog.testing import HangingSink
sink = HangingSink()
asynclog.start_sync("run", sinks=[sink], stop_timeout=0.5)
log.info("hello")
sink.wait_until_hanging_sync()
begin = time.monotonic()
"""
)


def test_the_end_with_a_hung_sink(run_python: Run):
    """logging's own shutdown does not wait once more for a sink that hangs."""
    result = run_python(HUNG + "print(begin)")
    assert time.monotonic() - float(result.stdout) < 60


def test_never_started(run_python: Run):
    """Without a start the records are shown at the end, rather than lost."""
    result = run_python(END.replace("START", "False"))
    assert " - INFO - last words " in result.stderr


ASYNC_EXCEPTIONS = 300


class Interrupted(BaseException):
    """Thrown into a thread from outside, as KeyboardInterrupt is."""


@pytest.mark.slow
def test_exceptions_from_outside(
    log: logging.Logger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A thread that gets exceptions at any instruction of its calls logs on as before."""
    sink = RecordingSink()
    done = threading.Event()
    calls = 0
    # one may land where even the handler below has been left
    monkeypatch.setattr(threading, "excepthook", lambda _args: None)

    def work() -> None:
        nonlocal calls
        while not done.is_set():
            try:
                while not done.is_set():
                    calls += 1
                    log.info("hello %d", calls)
            except Interrupted:
                continue

    with asynclog.running(tmp_path / "run", sinks=[sink], level="DEBUG"):
        # what is imported when it is first needed is not the point
        log.info("hello %d", "x")
        thread = threading.Thread(target=work)
        thread.start()
        thrown = 0
        deadline = time.monotonic() + 30
        while thrown < ASYNC_EXCEPTIONS and time.monotonic() < deadline:
            target = ctypes.c_ulong(thread.ident or 0)
            ctypes.pythonapi.PyThreadState_SetAsyncExc(target, ctypes.py_object(Interrupted))
            thrown += 1
            time.sleep(0.001)
        done.set()
        thread.join(60)
        assert not thread.is_alive()
        asynclog.flush_sync()
        sink.clear()
        for number in range(100):
            log.info("after %d", number)
        events = sink.wait_for_sync(100)
    assert [event["event"] for event in events] == [f"after {n}" for n in range(100)]


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/shm")
def test_last_words(run_python: Run, tmp_path: Path):
    """What logging took before kill -9 is in the file after the next start."""
    code = (
        BEGIN
        + """
asynclog.start_sync("run", sinks=[asynclog.JsonlFile()], linger="1 s")
for number in range(100):
    log.info("hello", extra={"n": number})
os.kill(os.getpid(), 9)
"""
    )
    assert run_python(code, check=False).returncode == -9
    with asynclog.running(tmp_path / "run", sinks=[asynclog.JsonlFile()]):
        pass
    events = lines_of(tmp_path / "run" / "events.jsonl")
    assert [event["n"] for event in events] == list(range(100))
