"""loguru with ``serialize=True`` into a rotating file through its queue."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from bench import workload
from bench.adapters._base import Adapter, Call, Delay, SlowFile


class LoguruEnqueue(Adapter):
    name = "loguru-enqueue"
    title = "loguru, enqueue"
    about = "`logger.add(file, serialize=True, enqueue=True, rotation='100 MB', retention=5)`"
    order = 30
    modules = ("loguru",)
    distributions = ("loguru",)
    imports = "import loguru"
    enqueue = True

    def start(self, directory: Path, delay: Delay | None = None) -> None:
        from loguru import logger

        path = directory / "events.jsonl"
        logger.remove()
        if delay is None:
            logger.add(
                path,
                level="INFO",
                serialize=True,
                enqueue=self.enqueue,
                rotation="100 MB",
                retention=5,
            )
        else:
            self._file = path.open("a", encoding="utf-8")
            slow = cast("Any", SlowFile(self._file, delay))
            logger.add(slow, level="INFO", serialize=True, enqueue=self.enqueue)
        self._logger = logger
        self._log = logger.bind(**workload.CONTEXT)

    def call(self) -> Call:
        info = self._log.info

        def call(number: int) -> None:
            info(
                workload.EVENT,
                status=workload.STATUS,
                path=workload.PATH,
                duration_ms=workload.DURATION_MS,
                seq=number,
            )

        return call

    def filtered_call(self) -> Call:
        debug = self._log.debug

        def call(number: int) -> None:
            debug(
                workload.EVENT,
                status=workload.STATUS,
                path=workload.PATH,
                duration_ms=workload.DURATION_MS,
                seq=number,
            )

        return call

    def drain(self) -> None:
        self._logger.complete()

    def stop(self) -> None:
        self._logger.remove()

    def fields(self, record: dict[str, Any]) -> Mapping[str, Any] | None:
        inner = record["record"]
        return {
            **inner["extra"],
            "event": inner["message"],
            "level": inner["level"]["name"].lower(),
            "timestamp": inner["time"]["timestamp"],
        }
