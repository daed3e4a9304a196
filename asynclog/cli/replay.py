"""`asynclog replay`: what the command says about a replay; the replay itself is elsewhere."""

from __future__ import annotations

from pathlib import Path

import click

from ._errors import TROUBLE, Refused

EPILOG = """\b
Examples:
  asynclog replay runs/exp1 --sink wandb
  asynclog replay runs/exp1 --sink tensorboard --all

\b
Exit codes:
  0  the backend has everything
  1  the backend failed before it had everything; run the command again
  2  wrong arguments, a run in use, a missing package, or a backend that cannot be opened
"""


@click.command(epilog=EPILOG, short_help="Send a backend what it has not got of a run.")
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--sink",
    required=True,
    help="One of the run's sinks by name, or wandb, tensorboard, mlflow, metrics-csv, ...",
)
@click.option("--all", "whole", is_flag=True, help="Send the whole run, as a new one.")
@click.option(
    "--spool-dir",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="ASYNCLOG_SPOOL_DIR",
    help="Where the rings of the run lie, if not in the default place.",
)
@click.pass_context
def replay(ctx: click.Context, run: Path, sink: str, whole: bool, spool_dir: Path | None) -> None:
    """Send a backend what it has not acknowledged of RUN.

    RUN is a run directory that no process uses any more. A cursor there says how far each backend
    has come; --all begins anew. What killed processes left is brought back first.
    """
    from ..collector.replay import replay as send
    from ..exceptions import AsynclogError

    try:
        done = send(run, sink, whole=whole, spool_dir=spool_dir)
    except AsynclogError:
        raise
    except Exception as error:
        raise Refused(f"{sink} cannot be opened: {type(error).__name__}: {error}") from error
    click.echo(f"{done.sent:,} record{'' if done.sent == 1 else 's'} of {run} sent to {sink}")
    if done.error:
        click.echo(f"{done.left:,} left: {done.error}", err=True)
        ctx.exit(TROUBLE)
