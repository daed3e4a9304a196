"""A rank that logs and prints numbered records, and may die of something meanwhile.

``python rank.py BOARD RANKS RECORDS '{"rank": 2, "way": "segfault", "after": 0.03}'``. All that it
logs fits into its ring: how fast anybody collects decides nothing.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import resource
import sys
import threading
import time
from pathlib import Path
from typing import Any

from board import Board

import asynclog

STATUS = 9
STEP = 4 << 20


def fill_memory(board: Board, rank: int) -> None:
    """Take memory and use it until there is no more."""
    taken: list[bytearray] = []
    while True:
        board.dies(rank, time.time_ns())
        taken.append(bytearray(STEP))
        taken[-1][::4096] = bytes([1]) * (STEP // 4096)


def limit_by_cgroup(path: str) -> None:
    """Go into a control group with a limit."""
    Path(path, "cgroup.procs").write_text(str(os.getpid()))


def die(board: Board, rank: int, fault: dict[str, Any]) -> None:
    """End this process in the way that was asked for."""
    board.dies(rank, time.time_ns())
    way = fault["way"]
    if way == "segfault":
        ctypes.string_at(0)
    elif way == "abort":
        os.abort()
    elif way == "exit":
        os._exit(STATUS)
    elif way == "oom":
        if fault.get("cgroup"):
            limit_by_cgroup(fault["cgroup"])
        fill_memory(board, rank)
    elif way == "memory error":
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + 16 * STEP, resource.RLIM_INFINITY))
        fill_memory(board, rank)


def work(board: Board, rank: int, records: int, fault: dict[str, Any]) -> None:
    """Log and print."""
    mine = fault.get("rank") == rank
    raises = time.monotonic() + fault["after"] if mine and fault["way"] == "memory error" else None
    log = asynclog.get_logger("own")
    std = logging.getLogger("std")
    for number in range(records):
        log.info("own", n=number)
        board.acknowledge(rank, 0, number + 1)
        std.info("std", extra={"n": number})
        board.acknowledge(rank, 1, number + 1)
        sys.stdout.write(f"line {number}\n")
        board.acknowledge(rank, 2, number + 1)
        if number % 20 == 0:
            time.sleep(0.001)
        if raises is not None and time.monotonic() > raises:
            die(board, rank, fault)
    while not board.over:
        time.sleep(0.005)


def main() -> None:
    """Be a rank."""
    path, ranks, records, text = sys.argv[1:]
    fault = json.loads(text)
    rank = int(os.environ["RANK"])
    board = Board(Path(path), int(ranks))
    logging.basicConfig(level=logging.INFO)
    board.come(rank, os.getpid())
    while not all(map(board.pid, range(board.ranks))):
        time.sleep(0.001)
    if fault.get("rank") == rank and fault["way"] not in ("kill", "memory error"):
        timer = threading.Timer(fault["after"], die, (board, rank, fault))
        timer.daemon = True
        timer.start()
    work(board, rank, int(records), fault)


if __name__ == "__main__":
    main()
