"""`asynclog report`: one page about some runs; how it is made is elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from .._json import dumps
from ._errors import Refused
from ._reading import INTERRUPTED, json_option, runs_argument, spool_option

NAME: Final = "report.html"
EPILOG = """\b
Examples:
  asynclog report runs/exp1                   writes runs/exp1/report.html
  asynclog report runs/exp1 runs/exp2 -o compared.html
  asynclog report runs/exp1 --json

\b
Exit codes:
  0    the report is written
  2    wrong arguments, no such run, a missing package, or a file that cannot be written
  130  interrupted; nothing is written
"""


@click.command(epilog=EPILOG, short_help="Write a page about runs: curves, stages, log, crash.")
@runs_argument
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help=f"The file to write; {NAME} in the run's directory, or here for several runs.",
)
@spool_option
@json_option
@click.pass_context
def report(
    ctx: click.Context,
    runs: tuple[Path, ...],
    output: Path | None,
    spool_dir: Path | None,
    as_json: bool,
) -> None:
    """Write one HTML file about one RUN, or compare several.

    It has the metrics as curves, for each split and rank, the stages, the log lines with search,
    and the crash report of a job that has failed. Nothing else is needed to read it: it works
    offline, and can be sent to somebody. A run may still be going on.
    """
    from ..report import write_report

    if output is None:
        [first, *others] = runs
        output = Path(NAME) if others or not first.is_dir() else first / NAME
    try:
        made = write_report(runs, output, spool_dir=spool_dir)
    except OSError as error:
        raise Refused(str(error)) from error
    except KeyboardInterrupt:
        # nothing was written: that is the last step
        ctx.exit(INTERRUPTED)
    if as_json:
        click.echo(
            dumps(
                {
                    "path": str(made.path),
                    "bytes": made.size,
                    "records": made.records,
                    "skipped": made.skipped,
                    "crashed": made.crashed,
                }
            )
        )
        return
    click.echo(f"{made.path}: {made.records:,} records, {made.size / 1e6:.1f} MB")
    if made.skipped:
        click.echo(f"{made.skipped:,} lines are no records and were skipped", err=True)
