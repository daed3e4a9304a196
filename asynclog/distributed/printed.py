"""What a process prints, as records: kind ``output``, one for each line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from .._line.encoder import Kind
from .._logger.bound import BoundLogger
from .._logger.front import ERROR, INFO
from .._output_levels import Severity
from .._output_lines import OutputLine, OutputLines
from .._rank import rank_info

OUTPUT: Final = Kind("output")
STREAMS: Final = {1: "stdout", 2: "stderr"}


class Printer(NamedTuple):
    """Who prints, as far as it is known.

    Attributes:
        pid: Process id, None for programs that cannot be told apart.
        rank: Rank in the job.
        attempt: How often torchrun has started the job anew before.
        error_file: Where torchrun wants to find the exception of a rank.
        fields: What the records say of all this.
    """

    pid: int | None
    rank: int | None
    attempt: int
    error_file: str | None
    fields: Mapping[str, Any]

    @classmethod
    def unknown(cls) -> Printer:
        """Return what is known of whoever writes to the command's own pipes."""
        return cls(None, None, 0, None, {})

    @classmethod
    def told(cls, pid: int, environment: Mapping[str, str]) -> Printer:
        """Return what a process has told of itself."""
        found = rank_info(environment)
        fields: dict[str, Any] = {}
        if found.rank is not None:
            fields = {
                "rank": found.rank,
                "local_rank": found.local_rank,
                "world_size": found.world_size,
                "host": found.host,
            }
        fields["pid"] = pid
        attempt = environment.get("TORCHELASTIC_RESTART_COUNT", "")
        return cls(
            pid,
            found.rank,
            int(attempt) if attempt.isdecimal() else 0,
            environment.get("TORCHELASTIC_ERROR_FILE"),
            {name: value for name, value in fields.items() if value is not None},
        )


class Printed:
    """One stream of one process.

    Args:
        printer: Who prints.
        number: 1 or 2.
        logger: Takes the records.
        quiet: Whether the console need not show them.
    """

    def __init__(self, printer: Printer, number: int, logger: BoundLogger, *, quiet: bool) -> None:
        self.printer = printer
        self.number = number
        self.waiting_since: float = 0.0
        self.lines: OutputLines = OutputLines()
        self.last_error: str = ""
        self._severity = Severity() if number == 2 else None
        self._logger = logger
        self._fields: dict[str, Any] = {
            "kind": OUTPUT,
            "stream": STREAMS[number],
            **printer.fields,
            **({"quiet": True} if quiet else {}),
        }

    def log(self, lines: list[OutputLine]) -> None:
        """Make records of some lines."""
        for line in lines:
            level = INFO
            if self._severity is not None and self._severity.is_error(line.text):
                level = ERROR
                self.last_error = line.text
            fields = {**self._fields, "partial": True} if line.partial else dict(self._fields)
            self._logger._log(level, level.number, line.text, (), fields)


def read(descriptor: int, size: int = 1 << 16) -> bytes | None:
    """Return what is in a pipe: empty at its end, None when there is nothing just now."""
    try:
        return os.read(descriptor, size)
    except BlockingIOError:
        return None
    except OSError:
        return b""
