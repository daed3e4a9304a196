"""`asynclog collect` against a real server: everything once, whatever came twice or was killed."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("nats")

import nats

from asynclog import JsonlFile, MetricsCsv, Nats, Pipeline, Reduced, SettingError
from asynclog.collector.replay import InUseError, replay
from asynclog.distributed.nats.ledger import LedgerError
from asynclog.exceptions import AsynclogError
from asynclog.sinks.per_rank import PerRank

from .conftest import Command, Server, collect, eventually, records_of


def _publish(run_dir: Path, url: str, count: int, first: int = 0, **options: Any) -> None:
    """Log some records as a node does, and publish them."""
    sink = Nats(url, run="x", **options)
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
def collected(tmp_path: Path) -> Path:
    """Return a directory to collect in."""
    return tmp_path / "collected"


@pytest.fixture
def command(server: Server, collected: Path) -> Command:
    """Return the command, for the run x."""
    return Command(server.url, "x", collected)


def test_late_and_again(run_dir: Path, server: Server, collected: Path) -> None:
    """Started late it gets all from the beginning; started again, what has come since."""
    _publish(run_dir, server.url, 100)
    found = collect(server.url, collected)
    assert (found.records, found.hosts, found.lost, found.foreign) == (101, 1, 0, 0)
    assert collect(server.url, collected).records == 0
    _publish(run_dir, server.url, 100, first=100)
    assert collect(server.url, collected, [PerRank()]).records == 101
    assert _numbers(records_of(collected)) == [*range(200)]
    assert all(record["host"] for record in records_of(collected))
    assert _numbers(records_of(collected / "ranks", "rank0.jsonl")) == [*range(100, 200)]


def test_replay_brings_nothing_twice(
    run_dir: Path, server: Server, collected: Path, tmp_path: Path
) -> None:
    """A run that is published a second time, cut otherwise, from elsewhere, is there once."""
    _publish(run_dir, server.url, 2000)
    collect(server.url, collected)
    moved = run_dir.rename(tmp_path / "moved")
    assert replay(moved, "nats", whole=True).sent == 2001
    assert collect(server.url, collected).records == 0
    assert _numbers(records_of(collected)) == [*range(2000)]


def test_new_server(
    run_dir: Path, server: Server, start_server: Callable[..., Server], collected: Path
) -> None:
    """When the server has lost all and gets it again, the receiver takes only what is new."""
    _publish(run_dir, server.url, 100)
    collect(server.url, collected)
    other = start_server()
    _publish(run_dir, other.url, 50, first=100)
    replay(run_dir, "nats", whole=True)
    assert collect(other.url, collected).records == 51
    assert _numbers(records_of(collected)) == [*range(150)]


def test_what_the_server_gave_up(run_dir: Path, server: Server, collected: Path) -> None:
    """Messages that the bounded stream has given up are counted, in the files as well."""
    _publish(run_dir, server.url, 5000, max_bytes="300 kB")
    found = collect(server.url, collected)
    records = records_of(collected)
    assert records[0]["event"] == "asynclog.dropped"
    assert records[0]["dropped"] == {"evicted": found.lost}
    assert records[0]["total"] == found.lost > 0
    numbers = _numbers(records)
    assert numbers == [*range(numbers[0], 5000)]


def test_rotation(run_dir: Path, server: Server, collected: Path) -> None:
    """The file is rotated like any other, and what reads on in it misses nothing."""
    sinks = [JsonlFile(max_bytes="20 kB", backups=99), MetricsCsv(), PerRank()]
    for first in range(0, 600, 200):
        _publish(run_dir, server.url, 200, first=first)
        collect(server.url, collected, sinks)
    assert len([*collected.glob("events.jsonl.*")]) > 1
    assert _numbers(records_of(collected)) == [*range(600)]
    assert _numbers(records_of(collected / "ranks", "rank0.jsonl")) == [*range(600)]
    assert len((collected / "metrics.csv").read_text().splitlines()) == 1 + 3


def test_shared_disk(run_dir: Path, server: Server, collected: Path, tmp_path: Path) -> None:
    """Machines that share a run directory publish what they have written, not each other's."""
    pipelines: list[Pipeline] = []
    for number in range(2):
        pipeline = Pipeline(
            run_dir,
            sinks=[JsonlFile(), Nats(server.url, run="x")],
            collector="thread",
            spool_dir=tmp_path / f"spool{number}",
            stop_timeout="60 s",
        )
        pipeline.start_sync()
        pipelines.append(pipeline)
        for each in pipelines:
            each.get_logger("app").info("hello")
            each.flush_sync()
    reports = [pipeline.stop_sync() for pipeline in pipelines]
    assert [report.sinks["nats"].written for report in reports] == [2, 1]
    assert collect(server.url, collected).records == 3
    # whoever publishes the files of both again
    replay(run_dir, "nats", whole=True)
    assert collect(server.url, collected).records == 0


def test_command(run_dir: Path, server: Server, command: Command) -> None:
    """The command waits for a run that nobody has begun, takes it up, and ends at Ctrl-C."""
    process = command.start("--per-rank", "--sink", '{"kind": "metrics_csv", "path": "m.csv"}')
    try:
        assert process.stderr is not None
        assert "nobody has published the run x yet" in process.stderr.readline()
        _publish(run_dir, server.url, 10)
        eventually(lambda: len(command.records()) == 11)
        with pytest.raises(InUseError):
            collect(server.url, command.run_dir)
    finally:
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "11 new records of 1 machine" in said
    assert len(records_of(command.run_dir / "ranks", "rank0.jsonl")) == 11
    assert len((command.run_dir / "m.csv").read_text().splitlines()) == 2


def test_handlers(run_dir: Path, server: Server, command: Command, tmp_path: Path) -> None:
    """Handlers of logging get the records of all machines as they come, each once."""
    (tmp_path / "my_handlers.py").write_text(
        "import logging\n"
        "def make():\n"
        "    handler = logging.FileHandler('all.log')\n"
        "    handler.setFormatter(logging.Formatter('%(name)s %(message)s'))\n"
        "    return [handler]\n"
    )
    for first in (0, 10):
        _publish(run_dir, server.url, 10, first=first)
        command.once("--handlers", "my_handlers:make")
    lines = [line for line in (tmp_path / "all.log").read_text().splitlines() if "hello" in line]
    assert len(lines) == 20
    assert all(line.startswith("asynclog.node.") for line in lines)
    assert "must name a function" in command.once("--handlers", "my_handlers:no", status=2).stderr


def test_command_is_refused(command: Command) -> None:
    """What cannot be done is one line, and exit code 2."""
    said = command.once(status=2).stderr
    assert "Error: run must be one that the server has (it has none), got: 'x'" in said


def test_refused(run_dir: Path, server: Server, collected: Path) -> None:
    """A run that is not there, a server that is away, a directory that is not its own."""
    _publish(run_dir, server.url, 1)
    with pytest.raises(SettingError, match=r"run must be one that the server has \(x\), got: 'y'"):
        collect(server.url, collected, run="y")
    with pytest.raises(SettingError, match="must not publish what is received to the same run"):
        collect(server.url, collected, [Nats(server.url, run="x")])
    with pytest.raises(SettingError, match="run_dir must be a directory of its own"):
        collect(server.url, run_dir)
    with pytest.raises(AsynclogError, match=r"no connection to nats://127\.0\.0\.1:9"):
        collect("nats://127.0.0.1:9", collected)
    (collected / ".asynclog" / "received.db").write_bytes(b"no database" * 100)
    with pytest.raises(LedgerError, match="collect into a new run directory"):
        collect(server.url, collected)


def test_messages_of_others(run_dir: Path, server: Server, collected: Path) -> None:
    """What others publish on the run's subjects is left out, and counted."""

    async def publish() -> None:
        client = await nats.connect(server.url)
        stream = client.jetstream()
        await stream.publish("logs.x.h.0", b"hello")
        await stream.publish("logs.x.h.0", b"{}\n", headers={"Nats-Msg-Id": "a.b.c.0-9"})
        await client.close()

    _publish(run_dir, server.url, 1)
    asyncio.run(publish())
    assert collect(server.url, collected).foreign == 2
    assert len(records_of(collected)) == 2


def test_reduced(run_dir: Path, server: Server, collected: Path) -> None:
    """Metrics of ranks on several machines are combined where they are collected."""
    for rank in range(2):
        code = f"""
            import asynclog
            from asynclog import JsonlFile, Nats
            sinks = [JsonlFile(), Nats({server.url!r}, run="x")]
            with asynclog.running({str(run_dir / str(rank))!r}, sinks=sinks, collector="thread"):
                for step in range(20):
                    asynclog.log_metrics({{"loss": {rank} + step}}, step=step)
        """
        subprocess.run(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
            env={**os.environ, "RANK": str(rank), "WORLD_SIZE": "2"},
            check=True,
            timeout=60,
        )
    collect(server.url, collected, [Reduced(MetricsCsv("reduced.csv"))])
    rows = (collected / "reduced.csv").read_text().splitlines()[1:]
    means = [row.split(",") for row in rows if row.split(",")[2] == "loss"]
    assert [(int(step), float(mean)) for step, _, _, mean, _ in means] == [
        (step, step + 0.5) for step in range(20)
    ]


def test_serve(run_dir: Path, server: Server, tmp_path: Path) -> None:
    """The command can be the server as well, with the token that all have to know."""
    port = socket.create_server(("127.0.0.1", 0))
    url = f"nats://127.0.0.1:{port.getsockname()[1]}"
    port.close()
    everywhere = url.replace("127.0.0.1", "0.0.0.0")
    own = Command(everywhere, "x", tmp_path / "own")
    said = own.once("--serve", status=2).stderr
    assert "must not be open to everybody" in said
    assert "NATS_TOKEN" in said
    os.environ["NATS_TOKEN"] = "hunter2"
    try:
        process = own.start("--serve")
        try:
            eventually(lambda: not _is_free(url), "the server")
            _publish(run_dir, url, 10)
            eventually(lambda: len(own.records()) == 11)
            # killed without a warning, it takes the server along, and both go on
            process.kill()
            process.communicate(timeout=60)
            eventually(lambda: _is_free(url), "the end of the server")
            process = own.start("--serve")
            eventually(lambda: not _is_free(url), "the server")
            _publish(run_dir, url, 10, first=10)
            eventually(lambda: len(own.records()) == 22)
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
        assert process.returncode == 0
        assert _numbers(own.records()) == [*range(20)]
        grep = ["grep", "-r", "hunter2", str(own.run_dir), str(run_dir)]
        assert subprocess.run(grep, check=False, stdout=subprocess.DEVNULL).returncode == 1
    finally:
        del os.environ["NATS_TOKEN"]


def _is_free(url: str) -> bool:
    try:
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))).close()
    except ConnectionRefusedError:
        return True
    return False
