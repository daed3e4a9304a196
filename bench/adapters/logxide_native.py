"""logxide: its Rust logger with its file handler and a JSON formatter of the user."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import workload
from bench.adapters._base import Adapter, Call, Delay, SlowFile

_STANDARD = frozenset(
    (
        *("name", "msg", "levelno", "levelname", "pathname", "filename", "module", "lineno"),
        *("funcName", "created", "msecs", "relativeCreated", "thread", "threadName"),
        *("process", "processName"),
    )
)


class Logxide(Adapter):
    name = "logxide"
    title = "logxide"
    about = "`logxide.getLogger`, `logxide.FileHandler`, orjson formatter, `logxide.flush()`"
    order = 28
    modules = ("logxide", "orjson")
    distributions = ("logxide",)
    imports = "import logxide, orjson"

    def start(self, directory: Path, delay: Delay | None = None) -> None:
        import logxide

        path = str(directory / "events.jsonl")
        handler: Any = logxide.FileHandler(path, encoding="utf-8")
        if delay is not None:
            handler.stream = SlowFile(handler.stream, delay)
        handler.setFormatter(_json_formatter())
        self._handler = handler
        self._logxide = logxide
        self._log: Any = logxide.getLogger("bench")
        self._log.setLevel(logxide.INFO)
        self._log.propagate = False
        self._log.addHandler(handler)

    def call(self) -> Call:
        info = self._log.info

        def call(number: int) -> None:
            info(
                workload.EVENT,
                extra={
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
                extra={
                    **workload.CONTEXT,
                    "status": workload.STATUS,
                    "path": workload.PATH,
                    "duration_ms": workload.DURATION_MS,
                    "seq": number,
                },
            )

        return call

    def drain(self) -> None:
        self._logxide.flush()

    def stop(self) -> None:
        self._handler.close()


def _json_formatter() -> Any:
    import orjson
    from logxide import Formatter

    class JsonFormatter(Formatter):
        """Its records are dictionaries, the fields among its own."""

        def format(self, record: Any) -> str:
            document = {
                "timestamp": datetime.fromtimestamp(record["created"], UTC).isoformat(),
                "level": record["levelname"].lower(),
                "logger": record["name"],
                "event": record["msg"],
            }
            document |= {key: value for key, value in record.items() if key not in _STANDARD}
            return orjson.dumps(document).decode()

    return JsonFormatter()
