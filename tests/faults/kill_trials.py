"""Kills processes of a run at random instants, recovers, and compares with what was acknowledged.

Run as a program of its own, since it forks: ``python kill_trials.py '{"trials": 20, ...}'``; prints
one JSON object. Nothing is started in this process, so that every fork is a clean one.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from board import CALLS, Board, compare

import asynclog
from asynclog.collector.recovery import recover

TARGETS = ("process", "collector", "both", "rotation", "recovery")


def victim(run_dir: Path, board: Board, options: dict[str, Any]) -> None:
    """Log numbered records from some threads for ever."""
    sink = asynclog.JsonlFile(max_bytes=options["max_bytes"], backups=1000)
    # A dropped record would count as lost here: wait for room as long as a new collector needs.
    asynclog.start_sync(
        run_dir,
        sinks=[sink],
        collector=options["collector"],
        ring_size="256 KiB",
        overflow_timeout="1 min",
    )

    def work(thread: int) -> None:
        log = asynclog.get_logger("victim").bind(thread=thread)
        number = 0
        while True:
            log.info("working", n=number)
            number += 1
            board.acknowledge(thread, CALLS, number)
            if number % 50 == 0:
                time.sleep(0.0005)

    threads = [
        threading.Thread(target=work, args=(number,), daemon=True)
        for number in range(1, options["threads"])
    ]
    for thread in threads:
        thread.start()
    work(0)


def fork(work: Any, *arguments: Any) -> int:
    """Run something in a forked child that ends with it; return its pid."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        work(*arguments)
        status = 0
    finally:
        os._exit(status)


def collectors_of(run_dir: Path) -> list[int]:
    """Return the collector processes that work for a run."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            if b"asynclog.collector" not in (entry / "cmdline").read_bytes():
                continue
            links = [os.readlink(link) for link in (entry / "fd").iterdir()]
            if any(link.startswith(str(run_dir)) for link in links):
                found.append(int(entry.name))
    return found


def kill(pid: int) -> None:
    """Kill a process that may be gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def wait_gone(pids: list[int]) -> None:
    """Wait until processes that are no children of ours are gone."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if not any(alive(pid) for pid in pids):
            return
        time.sleep(0.002)
    raise TimeoutError(f"still there: {pids}")


def alive(pid: int) -> bool:
    """Say whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for_work(board: Board, pid: int) -> None:
    """Wait until every thread of the victim logs."""
    deadline = time.monotonic() + 30
    while not all(board.acknowledged(thread, CALLS) for thread in range(board.ranks)):
        if time.monotonic() > deadline or not alive(pid):
            raise TimeoutError("the victim does not log")
        time.sleep(0.001)


def one_trial(directory: Path, options: dict[str, Any], randomness: random.Random) -> Counter[str]:
    """Start a victim, kill what is to be killed, recover, count."""
    run_dir = directory / "run"
    board = Board.make(directory / "board", options["threads"])
    pid = fork(victim, run_dir, board, options)
    target = options["target"]
    counts: Counter[str] = Counter(trials=1)
    collectors: list[int] = []
    try:
        wait_for_work(board, pid)
        time.sleep(randomness.uniform(0, 0.06))
        if options["collector"] == "process":
            collectors = collectors_of(run_dir)
        if target == "collector":
            for collector in collectors:
                kill(collector)
            counts["collectors_killed"] += len(collectors)
            # Another one takes over while the victim goes on.
            time.sleep(randomness.uniform(0.2, 0.5))
            collectors = collectors_of(run_dir)
        first, second = [pid], collectors
        if randomness.random() < 0.5:
            first, second = second, first
        for each in [*first, *second] if target == "both" else [pid]:
            kill(each)
    finally:
        kill(pid)
        os.waitpid(pid, 0)
    wait_gone(collectors)
    if target == "recovery":
        for _ in range(randomness.randint(1, 4)):
            rescuer = fork(recover, run_dir)
            time.sleep(randomness.uniform(0, 0.008))
            kill(rescuer)
            os.waitpid(rescuer, 0)
            counts["recoveries_killed"] += 1
    deadline = time.monotonic() + 60
    # A collector that was just being started sees to it by itself.
    while recover(run_dir).collected_elsewhere and time.monotonic() < deadline:
        time.sleep(0.01)
    said = {thread: board.acknowledged(thread, CALLS) for thread in range(board.ranks)}
    board.close()
    return counts + compare(run_dir.glob("events*.jsonl*"), said, identify)


def identify(event: dict[str, Any]) -> tuple[int, int] | None:
    """Return thread and number of a record of the victim."""
    return (event["thread"], event["n"]) if event.get("logger") == "victim" else None


def main() -> None:
    """Run the trials that the first argument asks for."""
    options: dict[str, Any] = {
        "trials": 10,
        "threads": 1,
        "target": "process",
        "collector": "thread",
        "max_bytes": "100 MB",
        "seed": 0,
        **json.loads(sys.argv[1]),
    }
    randomness = random.Random(options["seed"])
    total: Counter[str] = Counter()
    for _ in range(options["trials"]):
        with tempfile.TemporaryDirectory() as directory:
            total += one_trial(Path(directory), options, randomness)
    print(json.dumps(dict(total)))


if __name__ == "__main__":
    main()
