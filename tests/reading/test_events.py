"""read_run: one ordered stream out of all that a run has left, with nothing changed."""

from __future__ import annotations

import gzip
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import asynclog
from asynclog.collector.recovery import recover
from asynclog.reading import NoRunError, read_run


def numbers(events: Any) -> list[int]:
    """Return the numbers of some events."""
    return [event["number"] for event in events if "number" in event]


def test_ranks_and_rotated_parts_are_one_stream(run_dir: Path, line: Any):
    """Current files, backups and compressed backups of all ranks come in the order of time."""
    lines = {rank: [line(n / 10 + rank / 100, number=n) for n in range(300)] for rank in range(3)}
    for rank, of_rank in lines.items():
        path = run_dir / ("events.jsonl" if rank == 0 else f"events_rank{rank}.jsonl")
        line.write(path, of_rank[200:])
        line.write(path.with_name(f"{path.name}.1"), of_rank[100:200])
        line.write(path.with_name(f"{path.name}.2.gz"), [gzip.compress(b"".join(of_rank[:100]))])
    events = read_run(run_dir)
    found = list(events)
    assert len(found) == 900
    assert [event["timestamp"] for event in found] == sorted(e["timestamp"] for e in found)
    assert {event.get("rank") for event in found} == {None, 1, 2}
    assert events.counts.as_dict() == {
        "foreign": 0,
        "gaps": 0,
        "late": 0,
        "lines": 900,
        "torn": 0,
    }
    assert list(events) == found


def test_spans_of_processes_in_one_file_are_put_in_order(run_dir: Path, line: Any):
    """Where processes take turns with one file, some lines at a time, the stream is in order."""
    spans = [
        b"".join(line(second + n / 1000, number=n, process=process) for n in range(1000))
        for second in range(5)
        for process in range(4)
    ]
    line.write(run_dir / "events.jsonl", spans)
    stamps = [event["timestamp"] for event in read_run(run_dir)]
    assert len(stamps) == 20_000
    assert stamps == sorted(stamps)


def test_last_words_in_rings_belong_to_the_run(run_dir: Path, spool_dir: Path, line: Any):
    """What a killed process has in its ring is read, in its place, and stays where it is."""
    line.of_a_killed_process(run_dir)
    before = {path: path.read_bytes() for path in spool_dir.rglob("*") if path.is_file()}
    stored = (run_dir / "events.jsonl").read_bytes()
    assert stored.count(b"last words") < 100
    assert numbers(read_run(run_dir)) == list(range(100))
    assert numbers(read_run(run_dir).last(10)) == list(range(90, 100))
    after = {path: path.read_bytes() for path in spool_dir.rglob("*") if path.is_file()}
    assert (after, (run_dir / "events.jsonl").read_bytes()) == (before, stored)
    recover(run_dir)
    assert numbers(read_run(run_dir)) == list(range(100))


CRASHES = """
import ctypes, sys
import asynclog
from asynclog.capture import capture
asynclog.start_sync(sys.argv[1], sinks=[asynclog.JsonlFile()], linger=60)
capture().start()
asynclog.get_logger().info("before")
ctypes.string_at(0)
"""


def test_crash_dumps_belong_to_the_run(run_dir: Path):
    """What a process wrote as it crashed is read before a collector has seen it, and once after."""
    command = [sys.executable, "-c", CRASHES, str(run_dir)]
    crashed = subprocess.run(command, timeout=60, check=False, stderr=subprocess.DEVNULL)
    assert crashed.returncode == -signal.SIGSEGV

    def crash() -> list[str]:
        found = read_run(run_dir, level="critical", logger="faulthandler")
        return [event["event"] for event in found]

    assert crash() == ["Fatal Python error: Segmentation fault"]
    recover(run_dir)
    assert crash() == ["Fatal Python error: Segmentation fault"]


@pytest.mark.parametrize("done", [0.0, 0.3, 1.0])
def test_a_write_that_was_begun_is_not_read_twice(
    run_dir: Path, spool_dir: Path, line: Any, done: float
):
    """Killed between writing and moving the tail, a collector leaves lines in both places."""
    from asynclog.intake.ring import Intent, Ring

    line.of_a_killed_process(run_dir)
    [path] = spool_dir.rglob("*.ring")
    ring = Ring.open(path)
    content = ring.read(ring.tail, ring.head)
    status = os.stat(run_dir / "events.jsonl")
    ring.intent = Intent(status.st_dev, status.st_ino, status.st_size, len(content), 1000)
    ring.close()
    with open(run_dir / "events.jsonl", "ab") as file:
        file.write(content[: int(len(content) * done)])
    events = read_run(run_dir)
    assert numbers(events) == list(range(100))
    assert events.counts.torn == 0
    recover(run_dir)


def test_a_run_that_goes_on_is_read_up_to_now(run_dir: Path):
    """What was logged before is there, in file or ring, once each; what comes then is not."""
    with asynclog.running(run_dir, sinks=[asynclog.JsonlFile(max_bytes="20 kB", backups=99)]):
        log = asynclog.get_logger()
        for round_ in range(50):
            for number in range(20):
                log.info("x", number=round_ * 20 + number)
            events = iter(read_run(run_dir))
            first = next(events)
            log.info("later", number=-1)
            found = numbers([first, *events])
            kept = [number for number in found if number >= 0]
            assert found.count(-1) == round_
            assert kept == list(range(kept[0], (round_ + 1) * 20))
            if round_ < 2:
                assert kept[0] == 0


def test_torn_and_foreign_lines_are_counted(run_dir: Path, line: Any):
    """What is no record costs that line, not the reading."""
    torn = line(1, number=1)[:30]
    line.write(
        run_dir / "events.jsonl",
        [line(0, number=0), torn + b"\n", b'{"a":1}\n', b"\xff\xfe\n", b"\n", b"7\n"]
        + [line(2, number=2), line(3, number=3)[:-5]],
    )
    events = read_run(run_dir)
    assert numbers(events) == [0, 2]
    assert (events.counts.torn, events.counts.foreign) == (3, 1)
    assert numbers(read_run(run_dir).last(5)) == [0, 2]


def test_a_damaged_backup_is_a_gap(run_dir: Path, line: Any):
    """A compressed part that was cut off is read as far as it goes, and counted."""
    lines = [line(n, number=n, salt=random.Random(n).random()) for n in range(2000)]
    packed = gzip.compress(b"".join(lines[:1900]))
    line.write(run_dir / "events.jsonl.1.gz", [packed[: len(packed) // 2]])
    line.write(run_dir / "events.jsonl", lines[1900:])
    events = read_run(run_dir)
    found = numbers(events)
    assert found[-100:] == list(range(1900, 2000))
    assert events.counts.gaps == 1
    assert numbers(read_run(run_dir).last(50)) == list(range(1950, 2000))


def test_the_last_of_each_file_make_the_last_of_the_run(run_dir: Path, line: Any):
    """The last events are those of all ranks by time, however they are spread over the parts."""
    shuffle = random.Random(7)
    everything = []
    for rank in range(4):
        path = run_dir / ("events.jsonl" if rank == 0 else f"events_rank{rank}.jsonl")
        times = sorted(shuffle.random() * 100 for _ in range(400))
        lines = [line(time, number=rank * 1000 + n) for n, time in enumerate(times)]
        everything += [(time, rank * 1000 + n) for n, time in enumerate(times)]
        line.write(path.with_name(f"{path.name}.2.gz"), [gzip.compress(b"".join(lines[:150]))])
        line.write(path.with_name(f"{path.name}.1"), lines[150:300])
        line.write(path, lines[300:])
    wanted = [number for _, number in sorted(everything)]
    for count in (0, 1, 10, 500, 1500, 5000):
        assert numbers(read_run(run_dir).last(count)) == wanted[len(wanted) - min(count, 1600) :]


def test_runs_of_expmate_have_our_names(run_dir: Path, line: Any):
    """Its keys become ours, as the table in the docs says."""
    old = [
        {"timestamp": 1769860800.5, "level": "INFO", "message": "hello", "run_id": "unknown"},
        {
            "timestamp": 1769860801.5,
            "level": "WARNING",
            "message": "slow",
            "run_id": "r",
            "rank": 0,
        },
        {"timestamp": 1769860802.5, "level": "INFO", "message": "Timer", "section": "load"}
        | {"elapsed": 0.5},
        {"timestamp": 1769860803.5, "level": "INFO", "message": "Stage", "stage": "epoch/train"}
        | {"stage_event": "start", "epoch": 1},
    ]
    line.write(run_dir / "events.jsonl", [json.dumps(each).encode() + b"\n" for each in old])
    front = "2026-01-31T12:00:0"
    assert list(read_run(run_dir)) == [
        {"timestamp": f"{front}0.500000Z", "level": "info", "event": "hello"},
        {"timestamp": f"{front}1.500000Z", "level": "warning", "event": "slow"}
        | {"run_id": "r", "rank": 0},
        {"timestamp": f"{front}2.500000Z", "kind": "timer", "level": "info", "event": "Timer"}
        | {"elapsed": 0.5, "timer": "load"},
        {"timestamp": f"{front}3.500000Z", "kind": "stage", "level": "info", "event": "Stage"}
        | {"stage": "epoch/train", "stage_event": "start", "epoch": 1},
    ]
    assert [event["event"] for event in read_run(run_dir, level="warning")] == ["slow"]


def test_time_stamps_of_other_makes_are_put_in_order(run_dir: Path, line: Any):
    """Other zones and forms count as the times they mean; without one a line keeps its place."""
    line.write(
        run_dir / "events.jsonl",
        [
            line(0, number=0),
            b'{"timestamp":"2026-01-31T13:00:02+01:00","level":"info","event":"x","number":2}\n',
            b'{"level":"info","event":"x","number":3}\n',
            line(1, number=1),
        ],
    )
    assert numbers(read_run(run_dir)) == [0, 1, 2, 3]


class TestWhichFiles:
    """Which files of a directory are the run's."""

    def test_a_single_file(self, tmp_path: Path, line: Any):
        """A file stands for itself and its rotated parts, whatever it is called."""
        path = line.write(tmp_path / "app.log", [line(1, number=1)])
        line.write(tmp_path / "app.log.1", [line(0, number=0)])
        line.write(tmp_path / "other.log", [line(2, number=2)])
        assert numbers(read_run(path)) == [0, 1]

    def test_a_file_of_another_name(self, run_dir: Path, line: Any):
        """The one name that holds events is found, with the ranks'; metrics are not taken twice."""
        line.write(run_dir / "app.jsonl", [line(0, number=0)])
        line.write(run_dir / "app_rank1.jsonl", [line(1, number=1)])
        line.write(run_dir / "metrics.jsonl", [line(1, number=2)])
        assert numbers(read_run(run_dir)) == [0, 1]

    def test_several_names_are_refused(self, run_dir: Path, line: Any):
        """Where two files may be meant, none is guessed."""
        line.write(run_dir / "app.jsonl", [line(0)])
        line.write(run_dir / "errors.jsonl", [line(0)])
        with pytest.raises(NoRunError, match=r"app\.jsonl, errors\.jsonl"):
            read_run(run_dir)

    def test_the_run_says_which(self, run_dir: Path):
        """While a run lives, and after it where a sink follows its files, the run says which."""
        sinks = [asynclog.JsonlFile("all/{rank}.jsonl"), asynclog.JsonlFile("errors.jsonl")]
        with asynclog.running(run_dir, sinks=[*sinks, asynclog.Best()]):
            asynclog.get_logger().info("x", number=1)
            assert numbers(read_run(run_dir)) == [1]
        assert numbers(read_run(run_dir)) == [1]

    @pytest.mark.parametrize("made", [False, True])
    def test_no_run(self, run_dir: Path, made: bool):
        """A directory without events, or none at all, is refused with what to do."""
        if made:
            run_dir.mkdir()
        with pytest.raises(NoRunError, match=r"Give (a|the) run directory"):
            read_run(run_dir)

    def test_the_current_file_may_be_missing(self, run_dir: Path, line: Any):
        """Between a rotation and the next line there are backups only."""
        line.write(run_dir / "events.jsonl.1", [line(0, number=0)])
        assert numbers(read_run(run_dir)) == [0]
        assert numbers(read_run(run_dir).last(3)) == [0]
