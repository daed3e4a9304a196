"""Tail: what comes to a run is seen once each and in order, whatever happens to its files."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asynclog
from asynclog.collector.recovery import recover
from asynclog.reading import Tail, read_run
from asynclog.sinks.rotation import RotatingFile

PATIENCE = 60.0

RANKS = """
import os, sys, time
import asynclog

children = []
for rank in range(int(sys.argv[2])):
    child = os.fork()
    if child:
        children.append(child)
        continue
    os.environ["RANK"] = str(rank)
    sinks = [asynclog.JsonlFile(max_bytes="40 kB", backups=500, compress=rank % 2 == 1)]
    asynclog.start_sync(sys.argv[1], sinks=sinks, stop_timeout=60)
    log = asynclog.get_logger("rank").bind(of=rank)
    for number in range(int(sys.argv[3])):
        log.info("step", number=number)
        if number % 100 == 0:
            time.sleep(0.02)
    report = asynclog.stop_sync()
    os._exit(0 if not report.dropped else 3)
assert all(os.waitpid(child, 0)[1] == 0 for child in children)
"""


def collected(tail: Tail, enough: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
    """Return what comes until it is enough."""
    found: list[dict[str, Any]] = []
    deadline = time.monotonic() + PATIENCE
    while not enough(found):
        assert time.monotonic() < deadline, f"only {len(found)} events came"
        found += tail.more()
        time.sleep(0.005)
    return found


def test_over_twelve_live_ranks_with_rotation_under_it(run_dir: Path):
    """`asynclog tail -f` shows each line of twelve ranks once, those of a rank in order."""
    ranks, count = 12, 1500
    with asynclog.running(run_dir, sinks=[asynclog.JsonlFile()]):
        asynclog.get_logger("before").info("before")
    command = [sys.executable, "-m", "asynclog.cli", "tail", str(run_dir), "-f", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as tail:
        assert tail.stdout is not None
        assert json.loads(tail.stdout.readline())["event"] == "before"
        program = [sys.executable, "-c", RANKS, str(run_dir), str(ranks), str(count)]
        with subprocess.Popen(program) as job:
            seen: dict[int, list[int]] = {rank: [] for rank in range(ranks)}
            for _ in range(ranks * count):
                event = json.loads(tail.stdout.readline())
                assert event.get("rank", 0) == event["of"]
                seen[event["of"]].append(event["number"])
            assert job.wait(PATIENCE) == 0
        assert seen == {rank: list(range(count)) for rank in range(ranks)}
        assert len([*run_dir.glob("events*.jsonl.*")]) > ranks
        tail.send_signal(signal.SIGINT)
        assert tail.stdout.read() == b""
        assert tail.wait(PATIENCE) == 130


def test_lines_of_several_ranks_are_put_in_order(run_dir: Path, line: Any):
    """What comes to the files within a quarter of a second comes out by time."""
    line.write(run_dir / "events.jsonl", [])
    line.write(run_dir / "events_rank1.jsonl", [])
    now = [0.0]
    events = read_run(run_dir)
    tail = Tail(events._files, events._query, events.counts, 0, clock=lambda: now[0])
    with tail:
        line.write(run_dir / "events_rank1.jsonl", [line(n, number=n) for n in (1, 3, 5)])
        assert tail.more() == []
        now[0] = 0.2
        line.write(run_dir / "events.jsonl", [line(n, number=n) for n in (0, 2, 4, 6)])
        assert tail.more() == []
        now[0] = 0.26
        assert [event["number"] for event in tail.more()] == [0, 1, 2, 3, 4, 5]
        now[0] = 0.5
        assert [event["number"] for event in tail.more()] == [6]


def test_files_that_come_later_are_followed(run_dir: Path, line: Any):
    """The files of a rank that starts later are found; nothing of them is skipped."""
    line.write(run_dir / "events.jsonl", [line(0, number=0)])
    with read_run(run_dir).tail(1) as tail:
        assert [event["number"] for event in tail.last] == [0]
        line.write(run_dir / "events_rank7.jsonl.1", [line(1, number=1)])
        line.write(run_dir / "events_rank7.jsonl", [line(2, number=2)])
        found = collected(tail, lambda events: len(events) >= 2)
    assert [(event["number"], event["rank"]) for event in found] == [(1, 7), (2, 7)]


def test_what_nobody_collects_is_shown_from_the_rings(run_dir: Path, line: Any):
    """Last words of a process that is killed are shown, and not again when they are recovered."""
    with asynclog.running(run_dir, sinks=[asynclog.JsonlFile()]):
        asynclog.get_logger().info("before")
    with read_run(run_dir).tail(5) as tail:
        assert [event["event"] for event in tail.last] == ["before"]
        line.of_a_killed_process(run_dir)
        found = collected(tail, lambda events: len(events) >= 101)
        recover(run_dir)
        with asynclog.running(run_dir, sinks=[asynclog.JsonlFile()]):
            asynclog.get_logger().info("after")
        found += collected(tail, lambda events: any(e["event"] == "after" for e in events))
    words = [event["number"] for event in found if event["event"] == "last words"]
    assert words == list(range(100))
    assert [e["event"] for e in found if e["event"] != "last words"] == [
        "wakes the collector",
        "after",
    ]


def test_what_was_in_a_ring_at_first_does_not_come_again(run_dir: Path, line: Any):
    """The last events include those of rings; when these are stored, nothing comes twice."""
    line.of_a_killed_process(run_dir, 20)
    with read_run(run_dir).tail(10) as tail:
        assert [event["number"] for event in tail.last] == list(range(10, 20))
        recover(run_dir)
        with asynclog.running(run_dir, sinks=[asynclog.JsonlFile()]):
            asynclog.get_logger().info("after")
        found = collected(tail, lambda events: bool(events))
    assert [event["event"] for event in found] == ["after"]


def test_rotation_between_two_looks(run_dir: Path, line: Any):
    """However often a file is rotated between two looks, every line comes once."""
    file = RotatingFile(run_dir / "events.jsonl", max_bytes=2000, backups=99, compress=True)
    file.write(line(0, number=0))
    with read_run(run_dir).tail(0) as tail:
        for number in range(1, 500):
            file.write(line(number, number=number))
        file.close()
        found = collected(tail, lambda events: len(events) >= 499)
    assert [event["number"] for event in found] == list(range(1, 500))


def read_so_far() -> int:
    """Return the bytes that this process has read from files."""
    text = Path("/proc/self/io").read_text()
    return int(text.split()[1])


def test_a_large_run_is_tailed_from_its_end(run_dir: Path, tmp_path: Path, line: Any):
    """Of ten gigabytes no more is read than of one megabyte."""
    lines = [line(n, number=n, padding="x" * 100) for n in range(6000)]
    small = line.write(tmp_path / "small" / "events.jsonl", lines)
    large = line.write(run_dir / "events.jsonl", lines[:10])
    with open(large, "r+b") as file:
        # a hole takes no room on the disk
        file.seek(10 << 30)
        file.write(b"\n" + b"".join(lines))
    read: dict[Path, int] = {}
    for path in (small, large):
        before = read_so_far()
        with read_run(path.parent).tail(100) as tail:
            assert [event["number"] for event in tail.last] == list(range(5900, 6000))
            with open(path, "ab") as file:
                file.write(line(6000, number=6000))
            [event] = collected(tail, bool)
            assert event["number"] == 6000
        read[path] = read_so_far() - before
    assert read[large] < 1.5 * read[small] < 3 << 20


def test_a_time_is_found_in_a_large_file(run_dir: Path, line: Any):
    """Of a large file only the end that is asked for is read."""
    lines = [line(n, number=n, padding="x" * 1000) for n in range(20_000)]
    path = line.write(run_dir / "events.jsonl", lines)
    before = read_so_far()
    found = [event["number"] for event in read_run(run_dir, since=line.stamp(19_000))]
    assert found == list(range(19_000, 20_000))
    assert read_so_far() - before < path.stat().st_size / 4
