"""asynclog's file sink on a disk each write of which takes its time.

At the top of a module, because what is in ``sinks`` has to be importable elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence

from asynclog.sinks import JsonlFile
from asynclog.sinks.rotation import RotatingFile
from asynclog.typing import Run
from bench.adapters._base import Delay

delay = Delay(0.0)


class SlowRotatingFile(RotatingFile):
    def append(self, pieces: Sequence[bytes | memoryview]) -> None:
        delay.wait()
        super().append(pieces)


class SlowJsonlFile(JsonlFile):
    def file(self, run: Run) -> RotatingFile:
        file = super().file(run)
        return SlowRotatingFile(file.path, max_bytes=file.max_bytes, backups=file.backups)
