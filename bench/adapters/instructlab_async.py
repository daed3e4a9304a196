"""instructlab-training's AsyncStructuredLogger: a coroutine and a reopened file for each record.

It has no levels, no flush and no end: its loop runs in a daemon thread, and what that has not
written when the program ends is gone. So nothing is waited for here either, and what is read back
is what its users find. Not in the extra, for it brings half a training stack along; for the logger
``pip install --no-deps instructlab-training aiofiles`` beside torch and pydantic is enough.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench import workload
from bench.adapters._base import Adapter, Call, Delay

_NO_END = "it cannot be asked whether all is written"
_NO_SINK = "its file cannot be replaced by a slow one"


class InstructlabAsync(Adapter):
    name = "instructlab-async"
    title = "instructlab, async"
    about = "`AsyncStructuredLogger(file).log_sync({...})`"
    order = 27
    modules = ("instructlab.training", "aiofiles", "torch", "pydantic")
    distributions = ("instructlab-training",)
    imports = "import instructlab.training.async_logger"
    skips = {
        "throughput_1": _NO_END,
        "throughput_4": _NO_END,
        "loop_slow": _NO_SINK,
        "burst": _NO_SINK,
        "filtered": "it has no levels",
    }

    def start(self, directory: Path, delay: Delay | None = None) -> None:
        from instructlab.training.async_logger import AsyncStructuredLogger

        self._log: Any = AsyncStructuredLogger(str(directory / "events.jsonl"))

    def call(self) -> Call:
        log_sync = self._log.log_sync

        def call(number: int) -> None:
            log_sync(
                {
                    "event": workload.EVENT,
                    "level": "info",
                    **workload.CONTEXT,
                    "status": workload.STATUS,
                    "path": workload.PATH,
                    "duration_ms": workload.DURATION_MS,
                    "seq": number,
                }
            )

        return call
