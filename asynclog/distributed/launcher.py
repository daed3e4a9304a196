"""The launcher: one command, everything below it, and one run that all of it logs into."""

from __future__ import annotations

import os
from collections.abc import Sequence

from .._levels import INFO
from ..typing import SinkDeclaration
from .node_loggers import AUTO
from .program import Program, check, exit_status
from .watch import Watch


def launch(
    command: Sequence[str],
    run_dir: str | os.PathLike[str] | None = None,
    *,
    level: int | str | None = None,
    console_level: int | str = INFO,
    ranks: str = "0",
    handlers: str = AUTO,
    sinks: Sequence[SinkDeclaration] = (),
) -> int:
    """Run a command; return the exit status that the launcher should have.

    Must be called in the main thread of a process that has no others.

    Args:
        command: Program and arguments.
        run_dir: Directory of the run.
        level: Level of all loggers below.
        console_level: Lowest level that the console shows; ``"none"`` for nothing of the job.
        ranks: Which ranks the console shows: ``"0"``, ``"all"``, ``"0,3-5"``.
        handlers: Handlers of `logging` that get all records: ``"auto"``, ``"none"`` or
            ``"module:function"``.
        sinks: What else gets all records.

    Raises:
        SettingError: A setting breaks its rule; nothing was started.
        CannotStartError: The command cannot be started.
    """
    watch = Watch(command, run_dir, level, console_level, ranks, handlers, sinks)
    check(command[0])
    program = Program()
    watch.start(program.output, (os.fstat(pipe).st_ino for pipe in program.output))
    status = 0
    try:
        program.start(command, watch.environment(os.environ))
        watch.pid = program.pid
        status = program.wait()
    finally:
        report = watch.finish(program.interrupted)
    watch.report(status, report.run_dir)
    return exit_status(status)
