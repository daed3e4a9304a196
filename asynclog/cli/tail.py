"""`asynclog tail`: the last records of a run, and those that come."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from .._json import dumps
from ..reading import Counts
from ._reading import (
    filter_options,
    filters,
    json_option,
    run_argument,
    spool_option,
    until_nobody_reads,
)

EPILOG = """\b
Examples:
  asynclog tail runs/exp1
  asynclog tail runs/exp1 -f --level warning --ranks 0,3-5
  asynclog tail runs/exp1 -n 100 --where 'status >= 500 and "/api" in path'
  asynclog tail runs/exp1 --kind metrics --since 10m --json

\b
Exit codes:
  0    done, also when whoever read the output has had enough
  2    wrong arguments, or no run
  130  ended by Ctrl-C
"""
PAUSE: Final = 0.05
"""Seconds between looks for what has come."""


@click.command(epilog=EPILOG, short_help="Show the last records of a run, and those that come.")
@run_argument
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes.")
@click.option(
    "-n",
    "--lines",
    "count",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    help="How many of the records that are there.",
)
@filter_options
@click.option("--all", "everything", is_flag=True, help="Show quiet records, too.")
@json_option
@spool_option
@click.pass_context
def tail(
    ctx: click.Context,
    run: Path,
    follow: bool,
    count: int,
    everything: bool,
    as_json: bool,
    spool_dir: Path | None,
    **options: Any,
) -> None:
    """Show the last records of RUN in the order of time, those of all ranks together.

    RUN is a run directory (default: ASYNCLOG_RUN_DIR, else logs) or a file of records. Rotated and
    compressed files are read, and what processes, living or killed, have in their rings. Nothing
    is changed. Records that the console leaves out, such as metrics, are shown with --all, or when
    --kind names them.
    """
    from ..reading import read_run

    wanted = filters(**options)
    wanted["quiet"] = everything or bool(wanted.get("kind"))
    events = read_run(run, spool_dir=spool_dir, **wanted)
    show = _show_json if as_json else _as_on_the_console()
    with until_nobody_reads(ctx), events.tail(count) as last:
        show(last.last)
        while follow:
            found = last.more()
            show(found)
            if not found:
                time.sleep(PAUSE)
    _tell(events.counts)


def _show_json(events: Sequence[Mapping[str, Any]]) -> None:
    from ..sinks.escape import escape_json

    if events:
        lines = b"\n".join(map(dumps, events))
        click.echo(escape_json(lines).decode())


def _as_on_the_console() -> Callable[[Sequence[Mapping[str, Any]]], None]:
    """Return what shows events as the console does, on stdout, those of all ranks."""
    from ..collector.batch import Batch
    from ..sinks.console import Console
    from ..sinks.console_sink import ConsoleSink

    sink = ConsoleSink(Console(stream="stdout", ranks="all", max_rate=None))

    def show(events: Sequence[Mapping[str, Any]]) -> None:
        loud = [{**event, "quiet": False} if "quiet" in event else event for event in events]
        if loud:
            batch: Any = Batch(b"".join(dumps(event) + b"\n" for event in loud))
            sink.write_blocking(batch)

    return show


def _tell(counts: Counts) -> None:
    bad = counts.torn + counts.foreign
    if bad:
        click.echo(f"{bad} line{'' if bad == 1 else 's'} left out: no records", err=True)
