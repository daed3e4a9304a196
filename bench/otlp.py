"""CPU a record of sending logs by OTLP: ``python -m bench.otlp [--records N] [--rounds N]``.

The same records, to a server in another process that answers at once, gzip and batches of 512 on
both sides; counted is the sender's CPU time from the record to the answer.

- asynclog: the sink, from the lines of a run's file, in JSON and in protobuf.
- sdk: OpenTelemetry's log exporter over HTTP, from ``LogRecord`` objects. ``export`` is the
  exporter alone; ``emit`` has the batch processor and the logger in front of it, which
  asynclog's log call and file stand for.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

BATCH = 512
LINE = (
    '{{"timestamp":"2026-01-31T12:00:00.{0:06d}Z","level":"info","event":"step done",'
    '"logger":"train","step":{0},"loss":0.5123,"tokens_per_second":81234.5,"rank":0,'
    '"user":"someone","ok":true}}'
)
SERVER = """
import socket, threading
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
ANSWER = b"HTTP/1.1 200 OK\\r\\ncontent-length: 0\\r\\n\\r\\n"
def serve(connection):
    data = b""
    while True:
        while b"\\r\\n\\r\\n" not in data:
            piece = connection.recv(1 << 20)
            if not piece:
                return
            data += piece
        head, _, data = data.partition(b"\\r\\n\\r\\n")
        [size] = [int(line.partition(b":")[2]) for line in head.split(b"\\r\\n")
                  if line.lower().startswith(b"content-length")]
        while len(data) < size:
            data += connection.recv(1 << 20)
        data = data[size:]
        connection.sendall(ANSWER)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""


def of_asynclog(protocol: str, url: str, records: int) -> float:
    from asynclog.collector.batch import Batch
    from asynclog.sinks import Otlp
    from asynclog.typing import Run

    lines = [LINE.format(number).encode() for number in range(records)]
    sink = Otlp(url, protocol=protocol).make()
    sink.open(Run(Path.cwd(), "run", datetime.now(UTC), "host", os.getpid()))
    batches = [
        Batch(b"\n".join([*lines[start : start + BATCH], b""]))
        for start in range(0, records, BATCH)
    ]
    sink.write_blocking(Batch(lines[0] + b"\n"))
    begun = time.process_time()
    for batch in batches:
        sink.write_blocking(batch)
    return time.process_time() - begun


def of_sdk(part: str, url: str, records: int) -> float:
    from opentelemetry._logs import LogRecord, SeverityNumber
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.sdk._logs import LoggerProvider, ReadWriteLogRecord
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    exporter = OTLPLogExporter(endpoint=f"{url}/v1/logs", compression=Compression.Gzip)
    resource = Resource.create({"service.name": "bench"})
    made = []
    for number in range(records):
        event = json.loads(LINE.format(number))
        names = ("step", "loss", "tokens_per_second", "rank", "user", "ok")
        made.append(
            LogRecord(
                timestamp=time.time_ns(),
                severity_number=SeverityNumber.INFO,
                severity_text="info",
                body=event["event"],
                attributes={name: event[name] for name in names},
            )
        )
    if part == "export":
        scope = InstrumentationScope("train")
        batches = [
            [
                ReadWriteLogRecord(record, resource=resource, instrumentation_scope=scope)
                for record in made[start : start + BATCH]
            ]
            for start in range(0, records, BATCH)
        ]
        exporter.export(batches[0])
        begun = time.process_time()
        for batch in batches:
            exporter.export(batch)
        return time.process_time() - begun
    provider = LoggerProvider(resource=resource)
    processor = BatchLogRecordProcessor(
        exporter, max_queue_size=records + 1, max_export_batch_size=BATCH
    )
    provider.add_log_record_processor(processor)
    logger = provider.get_logger("train")
    begun = time.process_time()
    for record in made:
        logger.emit(record)
    provider.force_flush(60_000)
    spent = time.process_time() - begun
    provider.shutdown()
    return spent


PEERS = {
    "asynclog http/json": lambda url, records: of_asynclog("http/json", url, records),
    "asynclog http/protobuf": lambda url, records: of_asynclog("http/protobuf", url, records),
    "sdk export": lambda url, records: of_sdk("export", url, records),
    "sdk emit": lambda url, records: of_sdk("emit", url, records),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=20_480)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        logging.disable()
        peer, url = options.child
        print(json.dumps(PEERS[peer](url, options.records)))
        return
    command = [sys.executable, "-m", "bench.otlp", "--records", str(options.records), "--child"]
    spent: dict[str, list[float]] = {peer: [] for peer in PEERS}
    with tempfile.TemporaryDirectory() as directory:
        server = subprocess.Popen(
            [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True, cwd=directory
        )
        assert server.stdout is not None
        url = f"http://127.0.0.1:{server.stdout.readline().strip()}"
        try:
            # interleaved, so that what else the machine does hits all alike
            for _ in range(options.rounds):
                for peer, found in spent.items():
                    output = subprocess.check_output([*command, peer, url], text=True)
                    found.append(json.loads(output) / options.records * 1e6)
        finally:
            server.kill()
            server.wait()
    print("| sender | CPU a record, median | least | most |\n|---|---|---|---|")
    for peer, found in spent.items():
        print(
            f"| {peer} | {statistics.median(found):.1f} us | {min(found):.1f} | {max(found):.1f} |"
        )


if __name__ == "__main__":
    main()
