"""`asynclog stats`: what a run consists of, in numbers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from .._json import dumps
from .._levels import LEVELS
from ._errors import DONE, TROUBLE
from ._reading import (
    filter_options,
    filters,
    json_option,
    run_argument,
    spool_option,
    until_nobody_reads,
)
from ._table import duration, size

if TYPE_CHECKING:
    from ..reading.summary import Summary

EPILOG = """\b
Examples:
  asynclog stats runs/exp1
  asynclog stats runs/exp1 --since 1h --level warning
  asynclog stats runs/exp1 --json

\b
Exit codes:
  0  done
  1  records were dropped, or lines or files cannot be read
  2  wrong arguments, or no run
"""
SHOWN: Final = 8
"""Names of each sort that are shown."""


@click.command(epilog=EPILOG, short_help="Show what a run consists of, in numbers.")
@run_argument
@filter_options
@json_option
@spool_option
@click.pass_context
def stats(
    ctx: click.Context, run: Path, as_json: bool, spool_dir: Path | None, **options: Any
) -> None:
    """Count what is in RUN: records by level, kind, logger, rank and exception, and what was lost.

    RUN is a run directory (default: ASYNCLOG_RUN_DIR, else logs) or a file of records. All of it
    is read, some microseconds a record.
    """
    from ..reading import read_run
    from ..reading.find import RunFiles
    from ..reading.summary import Summary, file_sizes, ring_states

    events = read_run(run, spool_dir=spool_dir, **filters(**options))
    with until_nobody_reads(ctx):
        summary = Summary.of(events)
        files = RunFiles(run, spool_dir)
        sizes = file_sizes(files.find())
        rings = ring_states(files.spool) if files.spool is not None else []
        unread = {name: count for name, count in events.counts.as_dict().items() if name != "lines"}
        if as_json:
            data = {
                "run": str(run),
                "events": summary.events,
                "first": summary.first,
                "last": summary.last,
                "seconds": summary.seconds,
                **{name: dict(counter) for name, counter in summary.by.items()},
                "metrics": dict(summary.metrics),
                "dropped": dict(summary.dropped),
                "files": sizes.files,
                "bytes": sizes.bytes,
                "rings": [ring._asdict() for ring in rings],
                "unread": unread,
            }
            click.echo(dumps(data))
        else:
            _show(summary)
            click.echo(_row("files", f"{sizes.files:,} ({size(sizes.bytes)})"))
            for alive, what in ((True, "living"), (False, "ended")):
                some = [ring for ring in rings if ring.alive is alive]
                if some:
                    text = f"{len(some)}, {size(sum(ring.waiting for ring in some))} not yet stored"
                    click.echo(_row(f"{what} processes", text))
            for name, count in unread.items():
                if count:
                    click.echo(_row(name, f"{count:,}"))
    bad = summary.dropped or any(unread[name] for name in ("torn", "foreign", "gaps"))
    ctx.exit(TROUBLE if bad else DONE)


def _show(summary: Summary) -> None:
    click.echo(_row("records", f"{summary.events:,}"))
    if summary.first is not None:
        from ..sinks.render import local_time

        seconds = summary.seconds
        took = "" if seconds is None else f" ({duration(seconds)})"
        click.echo(_row("time", f"{local_time(summary.first)} to {local_time(summary.last)}{took}"))
    levels: Counter[str] = Counter()
    for name in reversed(tuple(LEVELS)):
        levels[name] = summary.by["level"][name]
    click.echo(_row("level", _names(levels, sort=False)))
    for name in ("kind", "logger", "rank", "exception"):
        if summary.by[name]:
            click.echo(_row(name, _names(summary.by[name])))
    if summary.metrics:
        click.echo(_row("metrics", _names(summary.metrics)))
    if summary.dropped:
        click.echo(_row("dropped", _names(summary.dropped)))


def _row(name: str, text: str) -> str:
    return f"{name:<18}{text}"


def _names(counter: Counter[str], *, sort: bool = True) -> str:
    from ..sinks.escape import escape

    items = counter.most_common() if sort else [*counter.items()]
    items = [(name, count) for name, count in items if count]
    parts = [f"{escape(name)} {count:,}" for name, count in items[:SHOWN]]
    if len(items) > SHOWN:
        parts.append(f"{len(items) - SHOWN:,} more")
    return ", ".join(parts)
