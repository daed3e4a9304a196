"""structlog + orjson writing to its file in the call: the reference of every ratio."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO, cast

from bench import workload
from bench.adapters._base import Adapter, Call, Delay, SlowFile


class StructlogDirect(Adapter):
    name = "structlog-direct"
    title = "structlog + orjson, direct"
    about = "`BytesLogger` on a file; merge_contextvars, level, ISO time stamp, orjson"
    order = 10
    modules = ("structlog", "orjson")
    distributions = ("structlog", "orjson")
    imports = "import structlog, orjson"
    peer = False
    user_processors: tuple[Any, ...] = ()

    def start(self, directory: Path, delay: Delay | None = None) -> None:
        import orjson
        import structlog

        self._file: BinaryIO = (directory / "events.jsonl").open("ab")
        target = self._file if delay is None else cast("BinaryIO", SlowFile(self._file, delay))
        structlog.configure(
            processors=[
                structlog.contextvars.merge_contextvars,
                structlog.processors.add_log_level,
                *self.user_processors,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.JSONRenderer(serializer=orjson.dumps),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(20),
            logger_factory=structlog.BytesLoggerFactory(file=target),
            cache_logger_on_first_use=True,
        )
        self._log: Any = structlog.get_logger().bind(**workload.CONTEXT)

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
        self._file.flush()

    def stop(self) -> None:
        self._file.close()


class StructlogDirectUser(StructlogDirect):
    name = "structlog-direct-user"
    title = "structlog + orjson, direct, user processors"
    about = "the same with two processors of the user: a constant field, a look at all keys"
    order = 11
    imports = ""
    user_processors = (workload.add_version, workload.hide_secrets)
    expected = {**workload.EXPECTED, "version": workload.VERSION}
