"""`asynclog plot`: the metrics of one or several runs as curves in the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NamedTuple

import click

from .._best import guess_mode
from .._json import dumps
from ..exceptions import MissingExtraError
from ..sinks.escape import escape
from ._errors import DONE, TROUBLE
from ._reading import json_option, runs_argument, spool_option, until_nobody_reads
from ._table import number

EPILOG = """\b
Examples:
  asynclog plot runs/exp1
  asynclog plot runs/exp1 --metric loss --metric 'val/*'
  asynclog plot runs/* --metric val/acc
  asynclog plot runs/exp1 --metric loss --json

\b
Exit codes:
  0  done
  1  no such metric in any of the runs
  2  wrong arguments, no run, or no plotext: pip install 'asynclog[plot]'
"""
CHARTS: Final = 4
"""Charts that are shown when no metric is named."""
HEIGHT: Final = 16
TICKS: Final = 5
MOST_POINTS: Final = 200_000


class Line(NamedTuple):
    """One line of a chart.

    Attributes:
        metric: Name of the metric, without its split.
        run: The run, as it was given.
        split: Empty where none was given.
        ranks: Ranks whose mean it is; none outside a distributed job.
        step: Of each point; over their number for values without a step.
        mean: Mean of the values there.
        low: The least of them.
        high: The largest of them.
        not_finite: Values that are NaN or infinite, and not in the line.
    """

    metric: str
    run: str
    split: str
    ranks: list[int]
    step: list[float]
    mean: list[float]
    low: list[float]
    high: list[float]
    not_finite: int


@click.command(epilog=EPILOG, short_help="Draw metrics in the terminal.")
@runs_argument
@click.option(
    "-m",
    "--metric",
    "patterns",
    multiple=True,
    metavar="NAME",
    help="Metric, with its split (val/loss) or without (all splits); * stands for anything.",
)
@click.option("--ranks", help='Ranks: "0", "all", "0,3-5"; what has no rank counts as 0.')
@json_option
@spool_option
@click.pass_context
def plot(
    ctx: click.Context,
    runs: tuple[Path, ...],
    patterns: tuple[str, ...],
    ranks: str | None,
    as_json: bool,
    spool_dir: Path | None,
) -> None:
    """Draw the metrics of one or several RUNS as curves over their steps.

    A chart for each metric, with a line for each run and split: the mean over ranks, and over
    neighbouring steps where there are more than fit. Without --metric the first few are drawn, and
    the others are named. --json writes the points, with the least and largest values beside.
    """
    from ..distributed.ranks import Ranks

    chosen = None if ranks is None else Ranks.read(ranks)
    lines = [line for run in runs for line in _lines(run, chosen, patterns, spool_dir)]
    charts: dict[str, list[Line]] = {}
    for line in lines:
        charts.setdefault(line.metric, []).append(line)
    with until_nobody_reads(ctx):
        if as_json:
            click.echo(dumps([line._asdict() for line in lines]))
        elif charts:
            shown = [*charts] if patterns else [*charts][:CHARTS]
            for name in shown:
                click.echo(_drawn(name, charts[name], several=len(runs) > 1), color=True)
            if left := [escape(name) for name in charts if name not in shown]:
                click.echo(f"{len(left)} more, to be drawn with --metric: {', '.join(left)}")
    if not lines and not as_json:
        click.echo("no such metric" if patterns else "no metrics", err=True)
    ctx.exit(DONE if lines else TROUBLE)


def _lines(run: Path, ranks: Any, patterns: Iterable[str], spool_dir: Path | None) -> list[Line]:
    from ..reading import read_run
    from ..report.curves import Curve, Curves, join

    curves = Curves(MOST_POINTS)
    for event in read_run(run, spool_dir=spool_dir, kind="metrics", ranks=ranks):
        curves.note_record(event)
    grouped: dict[tuple[str, str], dict[int | None, Curve]] = {}
    for series, curve in curves.found.items():
        if _wanted(series.name, series.split, patterns):
            grouped.setdefault((series.name, series.split), {})[series.rank] = curve
    lines: list[Line] = []
    for (name, split), of_ranks in grouped.items():
        joined = join(of_ranks.values())
        lines.append(
            Line(
                name,
                str(run),
                split,
                sorted(rank for rank in of_ranks if rank is not None),
                joined.step,
                joined.mean,
                joined.low,
                joined.high,
                sum(curve.not_finite for curve in of_ranks.values()),
            )
        )
    return lines


def _wanted(name: str, split: str, patterns: Iterable[str]) -> bool:
    whole = f"{split}/{name}" if split else name
    return not patterns or any(
        fnmatchcase(name, pattern) or fnmatchcase(whole, pattern) for pattern in patterns
    )


def _drawn(name: str, lines: list[Line], *, several: bool) -> str:
    """Return a chart as text, in colours where stdout takes them."""
    try:
        plotext: Any = import_module("plotext")
    except ImportError as error:
        raise MissingExtraError("asynclog plot", "plotext", "plot") from error
    from ..sinks.terminal import Terminal

    terminal = Terminal("stdout")
    colors = terminal.colors()
    figure = plotext.figure
    figure.clear()
    figure.plot_size(terminal.width(), HEIGHT)
    figure.theme("simple" if colors else "colorless")
    figure.title(escape(name))
    figure.label("step")
    drawn = [line for line in lines if line.step]
    for at, line in enumerate(drawn):
        # without colours the lines are told apart by what they are made of
        marker = "braille" if colors or len(drawn) == 1 else "*+x.o#"[at % 6]
        signal = figure.signal(line.step, line.mean, marker=marker)
        signal.lines()
        signal.label(_label(line, several=several))
        figure.draw(signal)
    if drawn:
        left, right = _ends(line.step for line in drawn)
        low, high = _ends(line.mean for line in drawn)
        _set_ticks(figure.ruler("x"), left, right, whole=right - left >= TICKS)
        _set_ticks(figure.ruler("y"), low, high)
        # where the curve is not: what gets less leaves room at the top
        top = guess_mode(name) == "min"
        figure.legend(
            True, right, high if top else low, "right", "top" if top else "bottom", relative=True
        )
    text: str = figure.build().string(colorless=not colors)
    return "\n".join(line.rstrip() for line in text.splitlines())


def _label(line: Line, *, several: bool) -> str:
    parts = [line.run] if several else []
    parts += [line.split] if line.split else []
    if len(line.ranks) > 1:
        parts.append(f"mean of {len(line.ranks)} ranks")
    if line.not_finite:
        parts.append(f"{line.not_finite} not finite")
    last = number(line.mean[-1])
    return escape(f"{', '.join(parts)}: {last}" if parts else last)


def _ends(values: Iterable[list[float]]) -> tuple[float, float]:
    numbers = [value for some in values for value in some]
    low, high = min(numbers), max(numbers)
    if low < high:
        return low, high
    # a chart of one value, too, has a top and a bottom
    margin = abs(low) / 2 or 1.0
    return low - margin, high + margin


def _set_ticks(ruler: Any, low: float, high: float, *, whole: bool = False) -> None:
    ruler.lim(low, high)
    places = [low + (high - low) * at / (TICKS - 1) for at in range(TICKS)]
    if whole:
        places = [float(round(place)) for place in places]
    ruler.ticks(places, _texts(places, whole=whole))


def _texts(places: list[float], *, whole: bool) -> list[str]:
    largest = max(abs(place) for place in places)
    if largest >= 1e6 or 0 < largest < 1e-3:
        return [f"{place:.3g}" for place in places]
    digits = 0 if whole else max(0, 3 - math.floor(math.log10(largest or 1.0)))
    return [f"{place:.{digits}f}" for place in places]
