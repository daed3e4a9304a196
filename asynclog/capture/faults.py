"""Dumps of ``faulthandler``: into the run's spool, from where the run's collector takes them."""

from __future__ import annotations

import faulthandler
import os
import sys
from typing import Any

from .._complain import complain
from .._lifecycle import default_pipeline
from .._rank import rank_info
from ..exceptions import SpoolError
from ..intake.dump import DumpFile
from .records import log_last_words


class Faults:
    """Has the default pipeline's run take in the dumps of this process."""

    def __init__(self) -> None:
        self._file: DumpFile | None = None
        self._was_enabled = False

    def install(self) -> None:
        """Begin; without effect as long as the pipeline has no spool."""
        self._was_enabled = faulthandler.is_enabled()
        self._open()

    def after_fork(self) -> None:
        """Go on in a forked child, with a file of its own."""
        before, self._file = self._file, None
        if before is not None:
            self._open()
            before.close()

    def remove(self) -> None:
        """End, and have faults dumped on stderr if they were before."""
        file, self._file = self._file, None
        if file is None:
            return
        faulthandler.disable()
        if self._was_enabled and sys.__stderr__ is not None:
            try:
                faulthandler.enable(file=sys.__stderr__)
            except (OSError, ValueError, RuntimeError):
                pass
        dump = file.read()
        file.close()
        if dump.strip():
            # somebody has survived it
            log_last_words("critical", dump.lstrip().partition("\n")[0], None, stack_info=dump)

    def _open(self) -> None:
        pipeline = default_pipeline()
        spool = pipeline.spool()
        if spool is None:
            return
        try:
            self._file = DumpFile.create(spool, _fields(), pipeline.encoder.max_event_bytes)
            faulthandler.enable(file=self._file.descriptor)
        except (OSError, SpoolError) as error:
            complain(f"crash dumps are not recorded: {error}")


def _fields() -> dict[str, Any]:
    known = {name: value for name, value in rank_info()._asdict().items() if value is not None}
    return {**known, "pid": os.getpid()}
