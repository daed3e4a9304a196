"""The standard library: QueueHandler, QueueListener, RotatingFileHandler, a JSON formatter."""

from __future__ import annotations

import logging
import logging.handlers
import queue
from collections.abc import MutableMapping
from datetime import UTC, datetime
from io import TextIOWrapper
from pathlib import Path
from typing import Any, cast

from bench import workload
from bench.adapters._base import Adapter, Call, Delay, SlowFile

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """One JSON object a line, extra fields at the top; orjson as in the reference."""

    def __init__(self) -> None:
        super().__init__()
        import orjson

        self._dumps = orjson.dumps

    def format(self, record: logging.LogRecord) -> str:
        document: dict[str, Any] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        document |= {k: v for k, v in vars(record).items() if k not in _STANDARD}
        return self._dumps(document).decode()


class ContextAdapter(logging.LoggerAdapter[logging.Logger]):
    """The usual way to bind context; the stock class throws the call's own fields away."""

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        kwargs["extra"] = {**(self.extra or {}), **kwargs.get("extra", {})}
        return msg, kwargs


class SlowRotatingFileHandler(logging.handlers.RotatingFileHandler):
    """The rotating file with a stream that takes its time."""

    def __init__(self, path: Path, delay: Delay, **options: Any) -> None:
        self._delay = delay
        super().__init__(path, **options)

    def _open(self) -> TextIOWrapper:
        return cast("TextIOWrapper", SlowFile(super()._open(), self._delay))


class StdlibQueue(Adapter):
    name = "stdlib-queue"
    title = "stdlib QueueHandler + JSON file"
    about = "`QueueHandler`, `QueueListener`, `RotatingFileHandler` (100 MB x 5), orjson formatter"
    order = 20
    modules = ("orjson",)
    imports = "import logging, logging.handlers, queue, orjson"

    def start(self, directory: Path, delay: Delay | None = None) -> None:
        path = directory / "events.jsonl"
        rotation: dict[str, Any] = {
            "maxBytes": 100_000_000,
            "backupCount": 5,
            "encoding": "utf-8",
        }
        handler = (
            logging.handlers.RotatingFileHandler(path, **rotation)
            if delay is None
            else SlowRotatingFileHandler(path, delay, **rotation)
        )
        handler.setFormatter(JsonFormatter())
        line: queue.Queue[logging.LogRecord] = queue.Queue(-1)
        self._listener = logging.handlers.QueueListener(line, handler)
        self._handler = handler
        self._queue = line
        self._listener.start()
        logger = logging.getLogger("bench")
        logger.setLevel(logging.INFO)
        logger.propagate = False
        logger.addHandler(logging.handlers.QueueHandler(line))
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
        # The listener has no flush; it marks each record as done once its handlers have it.
        self._queue.join()
        self._handler.flush()

    def stop(self) -> None:
        self._listener.stop()
        self._handler.close()
