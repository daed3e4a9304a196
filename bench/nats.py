"""Records a second through NATS, end to end: ``python -m bench.nats [--records N] [--rounds N]``.

The same lines, from a file on one side to a file on the other, each side in a process of its own:

- asynclog: the sink reads the run's file, ``asynclog collect`` writes the other one.
- messages: nats-py publishes a message for each line, acknowledgements awaited in windows, and
  a pull consumer writes them to a file, acknowledged when they are written.
- chunks: the same with messages as large as asynclog's. Nobody can do better with nats-py.

None of the peers can be killed: they keep no cursor. Needs nats-server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

WINDOW = 1000
CHUNK = 128 * 1024
LINE = (
    '{{"timestamp":"2026-01-31T12:00:00.{0:06d}Z","level":"info","event":"step done",'
    '"logger":"train","step":{0},"loss":0.5123,"tokens_per_second":81234.5,"rank":0,'
    '"local_rank":0,"world_size":8,"host":"node1","pid":4711}}\n'
)


def make_run(run_dir: Path, records: int) -> None:
    run_dir.mkdir(parents=True)
    (run_dir / "events.jsonl").write_text("".join(LINE.format(n) for n in range(records)))


async def _publish(url: str, path: Path, chunk: int) -> None:
    import nats

    client = await nats.connect(url)
    stream = client.jetstream(publish_async_max_pending=WINDOW)
    await stream.add_stream(name="peer", subjects=["peer.>"], max_bytes=1 << 30)
    acks: list[asyncio.Future[Any]] = []
    for number, payload in enumerate(_payloads(path, chunk)):
        headers = {"Nats-Msg-Id": f"node1.{number}"}
        acks.append(await stream.publish_async("peer.node1.0", payload, headers=headers))
        if len(acks) == WINDOW:
            await asyncio.gather(*acks)
            acks.clear()
    await asyncio.gather(*acks)
    await client.close()


def _payloads(path: Path, chunk: int):
    with path.open("rb") as file:
        if not chunk:
            yield from file
            return
        while lines := file.readlines(chunk):
            yield b"".join(lines)


async def _receive(url: str, path: Path, records: int) -> None:
    import nats
    from nats.js.errors import NotFoundError

    client = await nats.connect(url)
    stream = client.jetstream()
    while True:
        try:
            await stream.stream_info("peer")
            break
        except NotFoundError:
            await asyncio.sleep(0.01)
    subscription = await stream.pull_subscribe("peer.>", durable="d", stream="peer")
    with path.open("wb") as file:
        while records:
            messages = await subscription.fetch(500, timeout=30)
            content = b"".join(message.data for message in messages)
            file.write(content)
            file.flush()
            for message in messages:
                await message.ack()
            records -= content.count(b"\n")
    await client.close()


def child(role: str, *arguments: str) -> None:
    match role, arguments:
        case "publish", (url, path, chunk):
            asyncio.run(_publish(url, Path(path), int(chunk)))
        case "receive", (url, path, records):
            asyncio.run(_receive(url, Path(path), int(records)))
        case "asynclog-publish", (run_dir,):
            from asynclog.collector.replay import replay

            assert not replay(run_dir, "nats", whole=True).error
        case "asynclog-collect", (url, run_dir, records):
            import anyio

            from asynclog import Nats
            from asynclog.distributed.nats.collect import Collection

            async def main() -> None:
                collection = Collection(Nats(url), "bench", run_dir)

                async def watch() -> None:
                    while collection._store.records < int(records):
                        await anyio.sleep(0.005)
                    collection.finish()

                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(watch)
                    await collection.run()

            anyio.run(main)
        case _:
            raise SystemExit(f"unknown role {role}")


def _start(role: str, *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "bench.nats", role, *map(str, arguments)])


def _peer(url: str, work: Path, records: int, chunk: int) -> list[subprocess.Popen[bytes]]:
    receiver = _start("receive", url, work / "out.jsonl", records)
    return [receiver, _start("publish", url, work / "run" / "events.jsonl", chunk)]


def _asynclog(url: str, work: Path, records: int) -> list[subprocess.Popen[bytes]]:
    settings = work / "run" / ".asynclog" / "run.json"
    settings.parent.mkdir()
    sink = {"kind": "nats", "servers": [url], "run": "bench", "max_bytes": 1 << 30}
    data = {
        "version": 1,
        "started": "2026-01-31T12:00:00+00:00",
        "durable": {"kind": "jsonl"},
        "sinks": {"nats": sink},
    }
    settings.write_text(json.dumps(data))
    receiver = _start("asynclog-collect", url, work / "out", records)
    return [receiver, _start("asynclog-publish", work / "run")]


WAYS = {
    "asynclog": _asynclog,
    "messages": lambda url, work, records: _peer(url, work, records, 0),
    "chunks": lambda url, work, records: _peer(url, work, records, CHUNK),
}


def measure(way: str, records: int) -> tuple[float, float]:
    """Return records a second, and the CPU time of both sides per record in microseconds."""
    program = shutil.which("nats-server")
    if program is None:
        raise SystemExit("needs nats-server")
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        make_run(work / "run", records)
        ports = work / "ports"
        ports.mkdir()
        server = subprocess.Popen(
            [program, "-js", "-sd", str(work / "store"), "-a", "127.0.0.1", "-p", "-1"]
            + ["--ports_file_dir", str(ports)],
            stderr=subprocess.DEVNULL,
        )
        try:
            file = ports / f"nats-server_{server.pid}.ports"
            while not (file.exists() and file.read_text().endswith("}")):
                time.sleep(0.01)
            url = json.loads(file.read_text())["nats"][0]
            before, start = os.times(), time.perf_counter()
            for process in WAYS[way](url, work, records):
                if process.wait(600):
                    raise SystemExit(f"{way}: a side has failed")
            taken, after = time.perf_counter() - start, os.times()
            cpu = after.children_user + after.children_system
            cpu -= before.children_user + before.children_system
            return records / taken, cpu / records * 1e6
        finally:
            server.kill()
            server.wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.nats", description=__doc__)
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    for _ in range(options.rounds):
        for way in WAYS:
            found[way].append(measure(way, options.records))
    rounds = f"median of {options.rounds} interleaved rounds"
    print(f"{options.records} records, {rounds}, start-up included")
    for way, figures in found.items():
        rate = statistics.median(rate for rate, _ in figures)
        cpu = statistics.median(cpu for _, cpu in figures)
        print(f"{way:10} {rate:10,.0f} records/s  {cpu:6.1f} us CPU a record, both sides")


if __name__ == "__main__":
    if len(sys.argv) > 1 and not sys.argv[1].startswith("-"):
        child(*sys.argv[1:])
    else:
        main()
