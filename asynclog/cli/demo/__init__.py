"""`asynclog demo`: a service, a trio program and a training loop log through one pipeline."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from .._errors import TROUBLE

EPILOG = """\b
Examples:
  asynclog demo
  asynclog demo --seconds 60 --run-dir runs/demo

\b
Exit codes:
  0  every event is in the files, or counted as dropped
  1  events were lost, or a part of the demo failed
  2  wrong arguments, or a package is missing: pip install 'asynclog[demo]'
"""


@click.command(epilog=EPILOG, short_help="Run service, trio and training on one pipeline.")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    help="How long it takes, apart from getting ready.",
)
@click.option(
    "--run-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the events go.  [default: runs/demo-TIME]",
)
@click.pass_context
def demo(ctx: click.Context, seconds: float, run_dir: Path | None) -> None:
    """Show the pipeline at its main job, and count every event.

    One process runs an HTTP service on asyncio under load from a real client, a trio program, and
    a torch training loop on the digits data set with forked DataLoader workers. All of them log
    through one pipeline; what they counted themselves is then compared with what is in the files.
    Ctrl-C ends it early.
    """
    from .program import Demo
    from .table import complete, read_back, show

    if run_dir is None:
        run_dir = Path("runs", f"demo-{datetime.now().astimezone():%Y%m%d-%H%M%S}")
    click.echo(f"getting ready; events go to {run_dir}", err=True)
    outcome = Demo(run_dir, seconds).run()
    stored = read_back(run_dir, outcome.run)
    show(outcome, stored)
    if not complete(outcome, stored):
        ctx.exit(TROUBLE)
