"""OpenTelemetry's logs SDK: stdlib logging, BatchLogRecordProcessor, JSON lines into a file.

Set up as the SDK's logs example; the exporter is the SDK's ConsoleLogRecordExporter with a file as
its stream and one line a record. A full queue drops the oldest records; what the SDK says about it
is a warning without a count.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from bench import workload
from bench.adapters._base import Adapter, Call, Delay, SlowFile
from bench.adapters.stdlib_queue import ContextAdapter


class OpenTelemetryBatch(Adapter):
    name = "opentelemetry-batch"
    title = "OpenTelemetry, batch"
    about = (
        "`LoggingHandler`, `BatchLogRecordProcessor`, `ConsoleLogRecordExporter` "
        "with a file and `to_json(indent=None)`"
    )
    order = 26
    modules = ("opentelemetry.sdk._logs", "opentelemetry.instrumentation.logging.handler")
    distributions = ("opentelemetry-sdk", "opentelemetry-instrumentation-logging")
    imports = (
        "import logging, opentelemetry.sdk._logs, opentelemetry.sdk._logs.export, "
        "opentelemetry.instrumentation.logging.handler"
    )

    def start(self, directory: Path, delay: Delay | None = None) -> None:
        from opentelemetry.instrumentation.logging.handler import LoggingHandler
        from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
        from opentelemetry.sdk._logs.export import (
            BatchLogRecordProcessor,
            ConsoleLogRecordExporter,
        )
        from opentelemetry.sdk.resources import Resource

        def to_line(record: ReadableLogRecord) -> str:
            return record.to_json(indent=None) + "\n"

        self._file = (directory / "events.jsonl").open("a", encoding="utf-8")
        out = self._file if delay is None else cast("Any", SlowFile(self._file, delay))
        self._provider = LoggerProvider(resource=Resource.create({"service.name": "checkout"}))
        self._provider.add_log_record_processor(
            BatchLogRecordProcessor(ConsoleLogRecordExporter(out=out, formatter=to_line))
        )
        logger = logging.getLogger("bench")
        logger.setLevel(logging.INFO)
        logger.propagate = False
        logger.addHandler(LoggingHandler(level=logging.NOTSET, logger_provider=self._provider))
        self._log = ContextAdapter(logger, workload.CONTEXT)

    def call(self) -> Call:
        info = self._log.info

        def call(number: int) -> None:
            info(
                workload.EVENT,
                extra={
                    "status": workload.STATUS,
                    "path": workload.PATH,
                    "duration_ms": workload.DURATION_MS,
                    "seq": number,
                },
            )

        return call

    def filtered_call(self) -> Call:
        debug = self._log.debug

        def call(number: int) -> None:
            debug(
                workload.EVENT,
                extra={
                    "status": workload.STATUS,
                    "path": workload.PATH,
                    "duration_ms": workload.DURATION_MS,
                    "seq": number,
                },
            )

        return call

    def drain(self) -> None:
        self._provider.force_flush()

    def stop(self) -> None:
        self._provider.shutdown()
        self._file.close()

    def fields(self, record: dict[str, Any]) -> Mapping[str, Any] | None:
        return {
            **(record.get("attributes") or {}),
            "event": record.get("body"),
            "level": str(record.get("severity_text")).lower(),
            "timestamp": record.get("timestamp"),
        }
