"""`asynclog run`: the command's arguments; the launcher itself is elsewhere."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ._job import job_options
from ._sinks import HELP, declared

if TYPE_CHECKING:
    from ..distributed.nats.beside import Beside

EPILOG = """\b
Examples:
  asynclog run -- python train.py
  asynclog run --run-dir runs/exp1 -- torchrun --nproc-per-node 8 train.py
  asynclog run --ranks all --console-level WARNING -- mpirun -n 4 train
  asynclog run --sink wandb --sink tensorboard -- python train.py

\b
One job on many machines, the same command on each; node0 is the server and collects:
  asynclog run --nats nats://node0:4222 --collect runs/exp1 \\
      --run-dir /scratch/exp1 -- torchrun --nnodes 4 ... train.py

\b
Exit codes:
  that of COMMAND; 128 + n when signal n has ended it
  126  COMMAND cannot be executed
  127  there is no such command
  2    wrong arguments
"""


@click.command(
    epilog=EPILOG,
    short_help="Run a command; all that it logs and prints goes into one run.",
    context_settings={"allow_interspersed_args": False},
)
@click.option(
    "--run-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help='Directory of the run; "logs", unless ASYNCLOG_RUN_DIR says otherwise.',
)
@click.option("--level", help="Level of all loggers in the processes below (default INFO).")
@job_options
@click.option(
    "--nats",
    "server",
    envvar="ASYNCLOG_NATS",
    help="Publish all records to this server, nats://HOST:PORT, for asynclog collect.",
)
@click.option(
    "--collect",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Collect the records of all machines in this directory, on the machine that --nats names, "
    "which becomes the server. --sink and --handlers then get those.",
)
@click.option("--sink", "kinds", multiple=True, help=HELP)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_context
def run(
    ctx: click.Context,
    run_dir: Path | None,
    level: str | None,
    console_level: str,
    ranks: str,
    handlers: str,
    server: str | None,
    directory: Path | None,
    kinds: tuple[str, ...],
    command: tuple[str, ...],
) -> None:
    """Run COMMAND; what it and all processes below it log and print goes into one run.

    Records of asynclog, structlog and logging join without a change in the programs; printed lines
    become records of their own. Signals and the exit status pass through. When COMMAND fails, a
    report says what ended first, and what it had logged last.
    """
    from ..distributed.launcher import launch
    from ..distributed.node_loggers import NONE
    from ..distributed.program import CannotStartError
    from ..sinks import Nats

    sinks, beside = declared(kinds), None
    if directory is not None:
        environment = os.environ if level is None else {**os.environ, "ASYNCLOG_LEVEL": level}
        beside = _beside(server, run_dir, directory, kinds, handlers, environment)
        # they get what is collected, there where it is
        sinks, handlers = [], NONE
    if server is not None:
        sinks.append(Nats(server) if beside is None else beside.publisher)
    try:
        status = launch(
            command,
            run_dir,
            level=level,
            console_level=console_level,
            ranks=ranks,
            handlers=handlers,
            sinks=sinks,
            beside=beside,
        )
    except CannotStartError as error:
        click.echo(f"asynclog: {error}", err=True)
        status = error.status
    ctx.exit(status)


def _beside(
    server: str | None,
    run_dir: Path | None,
    directory: Path,
    kinds: tuple[str, ...],
    handlers: str,
    environment: Mapping[str, str],
) -> Beside | None:
    from .._settings import Settings
    from ..distributed.nats.beside import Beside
    from ..sinks import Nats

    if server is None:
        raise click.UsageError("--collect needs --nats: the address at which all reach the server.")
    own = Settings.read(run_dir, default_sinks=()).run_dir
    options = [f"--sink={kind}" for kind in kinds]
    options.append(f"--handlers={handlers}")
    return Beside.here(Nats(server).addresses(), own, directory, options, environment)
