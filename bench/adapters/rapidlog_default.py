"""rapidlog with its defaults; it writes to standard output only, which is sent into a file."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

from bench import workload
from bench.adapters._base import Adapter, Call, Delay, SlowFile

MARK = "written so far"


class Rapidlog(Adapter):
    name = "rapidlog"
    title = "rapidlog"
    about = "`get_logger(level='INFO')`, standard output sent into a file"
    order = 24
    modules = ("rapidlog",)
    distributions = ("rapidlog",)
    imports = "import rapidlog"

    def start(self, directory: Path, delay: Delay | None = None) -> None:
        self._path = directory / "events.jsonl"
        self._file = self._path.open("ab")
        self._marks = 0
        target = self._file if delay is None else SlowFile(self._file, delay)
        self._stdout = sys.stdout
        sys.stdout = cast("io.TextIOWrapper", _Stdout(target))

        from rapidlog import get_logger

        self._logger = get_logger(level="INFO")

    def call(self) -> Call:
        # It has no bound context.
        info = partial(self._logger.info, **workload.CONTEXT)

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
        debug = partial(self._logger.debug, **workload.CONTEXT)

        def call(number: int) -> None:
            debug(
                workload.EVENT,
                status=workload.STATUS,
                path=workload.PATH,
                duration_ms=workload.DURATION_MS,
                seq=number,
            )

        return call

    def leave_thread(self) -> None:
        # ``flush`` and ``close`` know the buffer of the thread that calls them and no other.
        self._logger.flush()

    def drain(self) -> None:
        # ``flush`` leads to the queue, not to the file: wait until a last event has come out.
        self._marks += 1
        self._logger.info(MARK, number=self._marks)
        self._logger.flush()
        mark = f'"number":{self._marks}}}\n'.encode()
        while not self._end_of_file().endswith(mark):
            time.sleep(0.001)

    def stop(self) -> None:
        self._logger.close()
        sys.stdout = self._stdout
        self._file.close()

    def fields(self, record: dict[str, Any]) -> Mapping[str, Any] | None:
        if record.get("msg") == MARK:
            return None
        return {
            **record,
            "event": record.get("msg"),
            "level": str(record.get("level")).lower(),
            "timestamp": record.get("ts_ns"),
        }

    def _end_of_file(self) -> bytes:
        with self._path.open("rb") as file:
            file.seek(0, io.SEEK_END)
            file.seek(max(0, file.tell() - 200))
            return file.read()


class _Stdout:
    """All of standard output that rapidlog uses."""

    def __init__(self, buffer: Any) -> None:
        self.buffer = buffer

    def write(self, text: str) -> int:
        return self.buffer.write(text.encode())

    def flush(self) -> None:
        self.buffer.flush()
