"""picologging: QueueHandler, QueueListener, RotatingFileHandler, a JSON formatter.

It has neither ``extra=`` nor a LoggerAdapter: fields and bound context are passed as the mapping
of arguments. Its QueueHandler renders the message in the call and throws the arguments away, so
``prepare`` is overridden, as its documentation allows, and the listener's thread renders.
"""

from __future__ import annotations

import queue
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import workload
from bench.adapters._base import Adapter, Call, Delay, SlowFile


class PicologgingQueue(Adapter):
    name = "picologging-queue"
    title = "picologging QueueHandler + JSON file"
    about = (
        "`QueueHandler` with `prepare` overridden, `QueueListener`, `RotatingFileHandler` "
        "(100 MB x 5), orjson formatter"
    )
    order = 22
    modules = ("picologging", "orjson")
    distributions = ("picologging",)
    imports = "import picologging, picologging.handlers, queue, orjson"

    def start(self, directory: Path, delay: Delay | None = None) -> None:
        import picologging as logging
        from picologging.handlers import QueueListener, RotatingFileHandler

        kind: Any = RotatingFileHandler if delay is None else _slow_kind(RotatingFileHandler, delay)
        self._handler = kind(
            directory / "events.jsonl", maxBytes=100_000_000, backupCount=5, encoding="utf-8"
        )
        self._handler.setFormatter(_json_formatter())
        self._queue: queue.Queue[Any] = queue.Queue(-1)
        self._listener = QueueListener(self._queue, self._handler)
        self._listener.start()
        self._log = logging.getLogger("bench")
        self._log.setLevel(logging.INFO)
        self._log.propagate = False
        self._log.addHandler(_queue_handler(self._queue))

    def call(self) -> Call:
        info = self._log.info

        def call(number: int) -> None:
            info(
                workload.EVENT,
                {
                    **workload.CONTEXT,
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
                {
                    **workload.CONTEXT,
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


def _queue_handler(line: queue.Queue[Any]) -> Any:
    from picologging.handlers import QueueHandler

    class ThreadQueueHandler(QueueHandler):
        def prepare(self, record: Any) -> Any:
            return record

    return ThreadQueueHandler(line)


def _slow_kind(kind: Any, delay: Delay) -> Any:
    class SlowRotatingFileHandler(kind):
        def _open(self) -> Any:
            return SlowFile(kind._open(self), delay)

    return SlowRotatingFileHandler


def _json_formatter() -> Any:
    import orjson
    import picologging as logging

    class JsonFormatter(logging.Formatter):
        def format(self, record: Any) -> str:
            document = {
                "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
                "level": record.levelname.lower(),
                "logger": record.name,
                "event": record.getMessage(),
            }
            return orjson.dumps(document | (record.args or {})).decode()

    return JsonFormatter()
