"""asynclog with its defaults: the collector in a thread, one rotating JSONL file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench import workload
from bench.adapters._base import Adapter, Call, Delay


class AsynclogDefault(Adapter):
    name = "asynclog"
    title = "asynclog"
    about = "defaults, `sinks=[JsonlFile()]`; the collector is a thread of the process"
    order = 40
    modules = ("asynclog",)
    distributions = ("asynclog", "structlog", "anyio", "orjson")
    imports = "import asynclog"
    peer = False
    user_processors: tuple[Any, ...] = ()
    options: Mapping[str, Any] = {}

    def start(self, directory: Path, delay: Delay | None = None) -> None:
        import asynclog

        options: dict[str, Any] = {"sinks": self.sinks(directory, delay), **self.options}
        if self.user_processors:
            options["processors"] = [*self.user_processors]
        asynclog.start_sync(directory, level="INFO", **options)
        self._asynclog = asynclog
        self._log: Any = asynclog.get_logger("bench").bind(**workload.CONTEXT)
        self._report: Any = None

    def sinks(self, directory: Path, delay: Delay | None) -> list[Any]:
        from asynclog.sinks import JsonlFile

        if delay is None:
            return [JsonlFile()]
        from bench.adapters import _slow_jsonl

        _slow_jsonl.delay = delay
        return [_slow_jsonl.SlowJsonlFile()]

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
        self._asynclog.flush_sync()

    def stop(self) -> None:
        self._report = self._asynclog.stop_sync()

    def dropped(self) -> int:
        return sum(self._report.dropped.values())

    def notes(self) -> dict[str, Any]:
        return {
            "accepted": self._report.accepted,
            "written": self._report.written,
            "dropped": dict(self._report.dropped),
            "sinks": {name: list(sink) for name, sink in self._report.sinks.items()},
        }

    def fields(self, record: dict[str, Any]) -> Mapping[str, Any] | None:
        return None if "kind" in record else record


class AsynclogUser(AsynclogDefault):
    name = "asynclog-user"
    title = "asynclog, user processors"
    about = "the same with the two user processors of the reference"
    order = 41
    reference = "structlog-direct-user"
    imports = ""
    user_processors = (workload.add_version, workload.hide_secrets)
    expected = {**workload.EXPECTED, "version": workload.VERSION}


class AsynclogSlowSink(AsynclogDefault):
    name = "asynclog-slow-sink"
    title = "asynclog, a slow sink beside the file"
    about = "`sinks=[JsonlFile(), ...]` with a second sink that is slow instead of the file"
    order = 42
    imports = ""
    scenarios = frozenset({"loop_slow", "burst"})

    def sinks(self, directory: Path, delay: Delay | None) -> list[Any]:
        from asynclog.sinks import JsonlFile

        return [JsonlFile(), SlowSink(directory / "slow.out", delay or Delay(0.0))]


class SlowSink:
    """A sink each write of which takes its time, whatever the size of the batch."""

    name = "slow"

    def __init__(self, path: Path, delay: Delay) -> None:
        self._file = path.open("ab")
        self._delay = delay

    def write_blocking(self, batch: Any) -> None:
        self._delay.wait()
        self._file.write(batch.raw)
        self._file.flush()

    def close(self) -> None:
        self._file.close()
