"""`asynclog best`: the best value of each metric, of one or several runs."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, NamedTuple

import click

from .._best import BestValues, Mode
from .._json import dumps, loads
from ._errors import DONE, TROUBLE
from ._reading import json_option, runs_argument, spool_option, until_nobody_reads
from ._table import number, table

EPILOG = """\b
Examples:
  asynclog best runs/exp1
  asynclog best runs/* --metric 'val/*'
  asynclog best runs/* --metric val/loss --json

\b
Exit codes:
  0  done
  1  no such metric in any of the runs
  2  wrong arguments, or no run
"""
_FILES: Final = "best*.json"


class Best(NamedTuple):
    """The best value of one metric in one run.

    Attributes:
        metric: Its name, with its split: ``val/loss``.
        run: The run, as it was given.
        value: The value.
        step: Step it was logged with.
        mode: Which way is better.
        rank: Rank that logged it, None outside a distributed job.
    """

    metric: str
    run: str
    value: float
    step: int | None
    mode: Mode
    rank: int | None


@click.command(epilog=EPILOG, short_help="Show the best value of each metric.")
@runs_argument
@click.option(
    "-m",
    "--metric",
    "patterns",
    multiple=True,
    metavar="NAME",
    help="Metric, with its split (val/loss) or without; * stands for anything.",
)
@json_option
@spool_option
@click.pass_context
def best(
    ctx: click.Context,
    runs: tuple[Path, ...],
    patterns: tuple[str, ...],
    as_json: bool,
    spool_dir: Path | None,
) -> None:
    """Show the best value of each metric, and of several RUNs which has the best.

    Whether less or more is better is told by the run, or guessed from the name (loss: less, acc:
    more). NaN and infinities are never best. What a best.json in the run directory says counts,
    too: it may know values whose records were rotated away.
    """
    found = [best for run in runs for best in _of_run(run, spool_dir)]
    found = [each for each in found if _wanted(each.metric, patterns)]
    # of equal metrics the best run first
    found.sort(key=lambda each: (each.metric, each.value if each.mode == "min" else -each.value))
    with until_nobody_reads(ctx):
        if as_json:
            click.echo(dumps([each._asdict() for each in found]))
        elif found:
            _show(found, several=len(runs) > 1)
    if not found and not as_json:
        click.echo("no such metric" if patterns else "no metrics", err=True)
    ctx.exit(DONE if found else TROUBLE)


def _of_run(run: Path, spool_dir: Path | None) -> list[Best]:
    from ..reading import read_run

    by_rank: dict[int | None, BestValues] = {}
    for event in read_run(run, spool_dir=spool_dir, kind="metrics"):
        rank = event.get("rank")
        by_rank.setdefault(rank if isinstance(rank, int) else None, BestValues()).note_record(event)
    for path in sorted(run.glob(_FILES)) if run.is_dir() else ():
        digits = path.stem.removeprefix("best").removeprefix("_rank")
        rank = int(digits) if digits.isdigit() else (0 if 0 in by_rank else None)
        try:
            by_rank.setdefault(rank, BestValues()).read_json(path.read_bytes())
        except (OSError, ValueError):
            continue
    overall: dict[str, Best] = {}
    for rank, values in by_rank.items():
        for metric, held in loads(values.as_json()).items():
            _note(overall, Best(metric, str(run), held["value"], held["step"], held["mode"], rank))
    return [*overall.values()]


def _note(overall: dict[str, Best], found: Best) -> None:
    held = overall.get(found.metric)
    if held is None or (
        found.value < held.value if held.mode == "min" else found.value > held.value
    ):
        overall[found.metric] = found


def _wanted(metric: str, patterns: Iterable[str]) -> bool:
    name = metric.rpartition("/")[2]
    return not patterns or any(
        fnmatchcase(metric, pattern) or fnmatchcase(name, pattern) for pattern in patterns
    )


def _show(found: list[Best], *, several: bool) -> None:
    ranked = any(each.rank is not None for each in found)
    heads = ["METRIC", "BEST", "STEP", *(["RANK"] if ranked else []), *(["RUN"] if several else [])]
    rows = [
        [
            f"{each.metric} ({each.mode})",
            number(each.value),
            "" if each.step is None else str(each.step),
            *(["" if each.rank is None else str(each.rank)] if ranked else []),
            *([each.run] if several else []),
        ]
        for each in found
    ]
    click.echo(table(heads, rows, right={"BEST", "STEP", "RANK"}))
