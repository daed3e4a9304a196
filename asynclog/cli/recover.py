"""`asynclog recover`: what the command says about a recovery; the recovery itself is elsewhere."""

from __future__ import annotations

from pathlib import Path

import click

from ._errors import TROUBLE, Refused

EPILOG = """\b
Examples:
  asynclog recover runs/exp1
  asynclog recover runs/exp1 --spool-dir /mnt/volume/spool

\b
Exit codes:
  0  done, or nothing to do
  1  some lines could not be read and were set aside in RUN/quarantine.log
  2  wrong arguments, no such run directory, or a spool that cannot be used
"""


@click.command(epilog=EPILOG, short_help="Bring back what killed processes have logged.")
@click.argument("run", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--spool-dir",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="ASYNCLOG_SPOOL_DIR",
    help="Where the rings of the run lie, if not in the default place.",
)
@click.pass_context
def recover(ctx: click.Context, run: Path, spool_dir: Path | None) -> None:
    """Write out what killed processes have logged into RUN, exactly once.

    RUN is a run directory. What a process had logged when it was killed waits in shared memory
    until the next start on the same directory, or this command, writes it to the run's files.
    Processes that are still running are left alone.
    """
    from ..collector.recovery import recover as bring_back

    try:
        found = bring_back(run, spool_dir)
    except OSError as error:
        raise Refused(str(error)) from error
    if found.collected_elsewhere:
        click.echo(f"{run} is in use: its running collector brings everything back itself")
        return
    if found.rings:
        click.echo(
            f"{_count(found.lines, 'line')} of {_count(found.rings, 'killed process', 'es')} "
            f"brought back into {run}"
        )
    elif not (found.left_alone or found.images) and not run.is_dir():
        raise Refused(f"{run} is no run directory, and no process has left anything for it")
    elif not found.images:
        click.echo(f"nothing to recover in {run}")
    if found.images:
        click.echo(f"{_count(found.images, 'image')} brought back into {run / 'media'}")
    if found.left_alone:
        click.echo(
            f"{_count(found.left_alone, 'ring')} left alone: "
            "the process still runs, or it is no ring of this version"
        )
    if found.quarantined:
        click.echo(
            f"{_count(found.quarantined, 'line')} could not be read: see quarantine.log", err=True
        )
        ctx.exit(TROUBLE)


def _count(number: int, thing: str, plural: str = "s") -> str:
    return f"{number:,} {thing}{'' if number == 1 else plural}"
