"""The launcher: one command, everything below it, and one run that all of it logs into."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from .._levels import INFO
from ..typing import SinkDeclaration
from .deaths import wait_for_stranger
from .node_loggers import AUTO
from .program import Program, check, exit_status, hand_on_signals
from .understudy import Left, Understudy
from .watch import Watch

if TYPE_CHECKING:
    from .nats.beside import Beside


def launch(
    command: Sequence[str],
    run_dir: str | os.PathLike[str] | None = None,
    *,
    level: int | str | None = None,
    console_level: int | str = INFO,
    ranks: str = "0",
    handlers: str = AUTO,
    sinks: Sequence[SinkDeclaration] = (),
    beside: Beside | None = None,
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
        beside: Collects the records of all machines meanwhile.

    Raises:
        SettingError: A setting breaks its rule; nothing was started.
        NotCollectedError: Nothing can be collected; the command was not started.
        CannotStartError: The command cannot be started.
    """
    make = partial(Watch, command, run_dir, level, console_level, ranks, handlers, sinks)
    watch = make()
    check(command[0])
    if beside is None:
        return exit_status(_run(command, watch, make, lambda: None).status)
    try:
        beside.start()
        program = _run(command, watch, make, beside.tend)
        beside.finish(hurry=program.hurry, interrupted=program.interrupted)
    finally:
        beside.end()
    return exit_status(program.status)


def _run(
    command: Sequence[str],
    watch: Watch,
    make: Callable[[], Watch],
    look: Callable[[], object],
) -> Program:
    """Run a command to its end, and report on it."""
    understudy = Understudy(partial(_go_on, make))
    try:
        program = Program()
        inodes = [os.fstat(pipe).st_ino for pipe in program.output]
        watch.start(program.output, inodes, understudy)
        try:
            program.start(command, watch.environment(os.environ))
            watch.pid = program.pid
            understudy.runs(program.pid)
            status = program.wait(look)
        finally:
            report = watch.finish(program.interrupted)
        watch.report(status, report.run_dir)
    finally:
        understudy.dismiss()
    return program


def _go_on(make: Callable[[], Watch], left: Left) -> int:
    """Be the launcher from here on; the understudy's part."""
    watch = make()
    watch.take_over(left)
    hand_on_signals(left.command)
    status = None if left.process is None else wait_for_stranger(left.process, left.command)
    report = watch.finish()
    if status is None:
        # Linux says so from 6.15 on
        status = 1 if watch.failed_rank() else 0
    watch.report(status, report.run_dir)
    return exit_status(status)
