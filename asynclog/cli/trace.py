"""`asynclog trace`: stages and timers of a run as a Chrome trace."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import click

from .._json import dumps
from ._errors import DONE, TROUBLE
from ._reading import json_option, run_argument, spool_option, until_nobody_reads

EPILOG = """\b
Examples:
  asynclog trace runs/exp1
  asynclog trace runs/exp1 --output exp1.json --ranks 0-7
  asynclog trace runs/exp1 --output - | gzip > trace.json.gz

\b
Exit codes:
  0  done
  1  the run has no stages and no timers: nothing was written
  2  wrong arguments, no run, or a file that cannot be written
"""


@click.command(epilog=EPILOG, short_help="Write stages and timers as a trace for Perfetto.")
@run_argument
@click.option(
    "-o",
    "--output",
    default="trace.json",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    show_default=True,
    help="File to write; - for stdout.",
)
@click.option("--ranks", help='Ranks: "0", "all", "0,3-5"; what has no rank counts as 0.')
@json_option
@spool_option
@click.pass_context
def trace(
    ctx: click.Context,
    run: Path,
    output: Path,
    ranks: str | None,
    as_json: bool,
    spool_dir: Path | None,
) -> None:
    """Write the stages and timers of all ranks of RUN as a trace.

    RUN is a run directory (default: ASYNCLOG_RUN_DIR, else logs) or a file of records. Open the
    trace in https://ui.perfetto.dev or chrome://tracing: each rank is a process there. With --json,
    what was written is told as JSON.
    """
    from ..distributed.ranks import Ranks
    from ..reading import read_run
    from ..reading.trace import trace_events

    chosen = None if ranks is None else Ranks.read(ranks)
    events = read_run(run, spool_dir=spool_dir, kind=("stage", "timer"), ranks=chosen)
    counts: Counter[str] = Counter()
    pieces = _json(_counted(trace_events(events), counts))
    first = next(pieces, None)
    if first is None:
        click.echo(f"{run} has no stages and no timers", err=True)
        ctx.exit(TROUBLE)
    with until_nobody_reads(ctx):
        if str(output) == "-":
            _write(sys.stdout.buffer, first, pieces)
            ctx.exit(DONE)
        _write_file(output, first, pieces)
        slices = counts["stage"] + counts["timer"]
        if as_json:
            data = {"file": str(output), "slices": slices, "processes": counts["processes"]}
            click.echo(dumps(data))
        else:
            click.echo(
                f"{slices:,} slices of {counts['processes']:,} processes in {output}: "
                "open it in https://ui.perfetto.dev"
            )


def _json(events: Iterator[Mapping[str, Any]]) -> Iterator[bytes]:
    """Yield a trace as JSON, a piece for each event; nothing when there are none."""
    before = b'{"displayTimeUnit":"ms","traceEvents":[\n'
    for event in events:
        yield before + dumps(event)
        before = b",\n"
    if before == b",\n":
        yield b"\n]}\n"


def _counted(events: Iterable[dict[str, Any]], counts: Counter[str]) -> Iterator[dict[str, Any]]:
    for event in events:
        counts["processes" if event["name"] == "process_name" else event.get("cat", "")] += 1
        yield event


def _write(file: IO[bytes], first: bytes, pieces: Iterator[bytes]) -> None:
    file.write(first)
    for piece in pieces:
        file.write(piece)
    file.flush()


def _write_file(path: Path, first: bytes, pieces: Iterator[bytes]) -> None:
    """Write a file whole, or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with os.fdopen(os.open(temporary, flags, 0o640), "wb") as file:
        try:
            _write(file, first, pieces)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
