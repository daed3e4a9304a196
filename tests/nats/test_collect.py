"""`asynclog collect` against a real server: everything once, whatever came twice or was killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("nats")

from asynclog import JsonlFile, Nats, Pipeline

from .conftest import Command, Server, eventually, records_of


def _publish(run_dir: Path, server: Server, count: int, first: int = 0, **options: Any) -> None:
    """Log some records as a node does, and publish them."""
    sink = Nats(server.url, run="x", **options)
    pipeline = Pipeline(run_dir, sinks=[JsonlFile(), sink], collector="thread", stop_timeout="60 s")
    pipeline.start_sync()
    log = pipeline.get_logger("app")
    for number in range(first, first + count):
        log.info("hello", n=number)
    log.log_metrics({"loss": 0.5}, step=first)
    report = pipeline.stop_sync()
    assert report.sinks["nats"].dropped == {}


def _numbers(records: list[dict[str, Any]]) -> list[int]:
    return [record["n"] for record in records if "n" in record]


@pytest.fixture
def collect(server: Server, tmp_path: Path) -> Command:
    """Return the command, for the run x."""
    return Command(server.url, "x", tmp_path / "collected")


def test_late_and_again(run_dir: Path, server: Server, collect: Command) -> None:
    """Started late it gets all from the beginning; started again, what has come since."""
    _publish(run_dir, server, 100)
    assert "101 new records of 1 machine" in collect.once().stderr
    assert "0 new records" in collect.once().stderr
    _publish(run_dir, server, 100, first=100)
    assert "101 new records" in collect.once("--per-rank").stderr
    assert _numbers(collect.records()) == [*range(200)]
    assert all(record["host"] for record in collect.records())
    per_rank = records_of(collect.run_dir / "ranks", "rank0.jsonl")
    assert _numbers(per_rank) == [*range(100, 200)]


def test_replay_brings_nothing_twice(run_dir: Path, server: Server, collect: Command) -> None:
    """A run that is published a second time, cut otherwise, is in the files once."""
    _publish(run_dir, server, 2000)
    collect.once()
    command = [sys.executable, "-m", "asynclog.cli", "replay", str(run_dir), "--sink", "nats"]
    done = subprocess.run([*command, "--all"], capture_output=True, text=True, check=True)
    assert "2,001 records" in done.stdout
    assert "0 new records" in collect.once().stderr
    assert _numbers(collect.records()) == [*range(2000)]


def test_new_server(
    run_dir: Path, server: Server, start_server: Callable[..., Server], collect: Command
) -> None:
    """When the server has lost all and gets it again, the receiver takes only what is new."""
    _publish(run_dir, server, 100)
    collect.once()
    other = start_server()
    _publish(run_dir, other, 50, first=100)
    command = [sys.executable, "-m", "asynclog.cli", "replay", str(run_dir), "--sink", "nats"]
    subprocess.run([*command, "--all"], capture_output=True, check=True)
    assert "51 new records" in Command(other.url, "x", collect.run_dir).once().stderr
    assert _numbers(collect.records()) == [*range(150)]


def test_what_the_server_gave_up(run_dir: Path, server: Server, collect: Command) -> None:
    """Messages that the bounded stream has given up are counted, in the files as well."""
    _publish(run_dir, server, 5000, max_bytes="300 kB")
    said = collect.once(status=1).stderr
    assert "messages were gone before they were received" in said
    records = collect.records()
    assert records[0]["event"] == "asynclog.dropped"
    assert records[0]["dropped"]["evicted"] == records[0]["total"] > 0
    numbers = _numbers(records)
    assert numbers == [*range(numbers[0], 5000)]


def test_rotation(run_dir: Path, server: Server, collect: Command) -> None:
    """The file is rotated like any other, and what reads on in it misses nothing."""
    sink = json.dumps({"kind": "jsonl", "max_bytes": "20 kB", "backups": 99})
    for first in range(0, 600, 200):
        _publish(run_dir, server, 200, first=first)
        collect.once("--sink", sink, "--sink", "metrics_csv", "--per-rank")
    assert len([*collect.run_dir.glob("events.jsonl.*")]) > 1
    assert _numbers(collect.records()) == [*range(600)]
    assert _numbers(records_of(collect.run_dir / "ranks", "rank0.jsonl")) == [*range(600)]
    assert len((collect.run_dir / "metrics.csv").read_text().splitlines()) == 1 + 3


def test_stays_until_it_is_told(run_dir: Path, server: Server, collect: Command) -> None:
    """It waits for a run that nobody has begun, takes it up, and ends at Ctrl-C."""
    process = collect.start()
    try:
        assert process.stderr is not None
        assert "nobody has published the run x yet" in process.stderr.readline()
        _publish(run_dir, server, 10)
        eventually(lambda: len(collect.records()) == 11)
    finally:
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "11 new records of 1 machine" in said


def test_refused(run_dir: Path, server: Server, collect: Command, tmp_path: Path) -> None:
    """A run that is not there, a directory that is not its own or in use: one line, exit code 2."""
    said = collect.once(status=2).stderr
    assert "run must be one that the server has (it has none), got: 'x'" in said
    _publish(run_dir, server, 1)
    said = Command(server.url, "y", tmp_path / "y").once(status=2).stderr
    assert "run must be one that the server has (x), got: 'y'" in said
    said = Command(server.url, "x", run_dir).once(status=2).stderr
    assert "run_dir must be a directory of its own" in said
    said = Command("nats://127.0.0.1:9", "x", tmp_path / "y").once(status=2).stderr
    assert "no connection to nats://127.0.0.1:9" in said
    process = collect.start()
    try:
        eventually(collect.records)
        assert "must not be in use" in collect.once(status=2).stderr
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def test_messages_of_others(run_dir: Path, server: Server, collect: Command) -> None:
    """What others publish on the run's subjects is left out, and counted."""
    import asyncio

    import nats

    async def publish() -> None:
        client = await nats.connect(server.url)
        stream = client.jetstream()
        await stream.publish("logs.x.h.0", b"hello")
        await stream.publish("logs.x.h.0", b"{}\n", headers={"Nats-Msg-Id": "a.b.c.0-9"})
        await client.close()

    _publish(run_dir, server, 1)
    asyncio.run(publish())
    assert "2 messages of others left out" in collect.once().stderr
    assert len(collect.records()) == 2
