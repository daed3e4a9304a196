"""One HTML file out of runs and charts: everything is in it, and nothing in it runs but our own."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any, Final

from .._best import BestValue, best_key
from .._json import dumps
from ..sinks.escape import escape
from .activity import LEVELS, Activity
from .charts import (
    LEVEL_COLORS,
    MAX_CHARTS,
    MAX_RANK_LINES,
    activity_chart,
    metric_charts,
    metric_names,
    stage_colors,
    timeline_chart,
)
from .lines import fit
from .run import Run
from .text import cut
from .timeline import Spent

MAX_ROWS: Final = 300
"""Rows of a table."""
_ASSETS: Final = files("asynclog.report") / "assets"


@dataclass
class Value:
    """A metric in the table that compares runs.

    Attributes:
        last: The last value, as text; of several ranks their mean.
        best: The best one; empty where there is none.
        step: Step of the best.
        leads: Whether it is the best of all runs.
    """

    last: str
    best: str
    step: int | None
    leads: bool = False


def render_page(runs: Sequence[Run]) -> bytes:
    """Return the page.

    Args:
        runs: The runs it is about, at least one.
    """
    from bokeh.resources import Resources
    from jinja2 import Environment, StrictUndefined

    charts = list(metric_charts(runs))
    timelines = [
        timeline_chart(run, spans) for run in runs if (spans := run.timeline.spans(run.end or 0.0))
    ]
    activity = _all_activity(runs)
    lines = _lines(runs)
    data: dict[str, Any] = {
        "charts": [chart.item for chart in charts],
        "timelines": [chart.item for chart in timelines],
        "activity": activity_chart(activity.bars()).item if lines else None,
        "lines": lines,
        "levels": LEVELS,
        "runs": [run.name for run in runs],
    }
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    page.filters.update(time=_time, duration=_duration, number=_number)
    html = page.from_string(_asset("page.html")).render(
        title=" and ".join(run.name for run in runs) if len(runs) < 3 else f"{len(runs)} runs",
        # only scripts that know it may run: none that came in with a log line
        nonce=secrets.token_urlsafe(16),
        style=_asset("page.css"),
        scripts=[*Resources(mode="inline", components=["bokeh"]).js_raw, _asset("page.js")],
        data=_in_html(data),
        runs=runs,
        charts=charts,
        timelines=timelines,
        crashes=[run for run in runs if run.crash is not None],
        splits=sorted({series.split for run in runs for series in run.curves.found} - {""}),
        ranks=any(len(run.ranks) > 1 for run in runs),
        values=_values(runs),
        params=_params(runs),
        spent=[
            (
                run,
                _longest(run.timeline.stages),
                _longest(run.timeline.timers),
                stage_colors(run.timeline.stages),
            )
            for run in runs
            if run.timeline.stages or run.timeline.timers
        ],
        notes=list(_notes(runs)),
        totals=activity.totals,
        levels=LEVELS,
        colors=LEVEL_COLORS,
        now=datetime.now(UTC).timestamp(),
    )
    return html.encode(errors="backslashreplace")


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


def _in_html(data: Mapping[str, Any]) -> str:
    """Return data as JSON that no text in it can lead out of its element."""
    return json.dumps(data).replace("<", "\\u003c")


def _all_activity(runs: Sequence[Run]) -> Activity:
    activity = Activity()
    for run in runs:
        activity.add(run.activity)
    return activity


def _lines(runs: Sequence[Run]) -> list[tuple[Any, ...]]:
    """Return the log lines of all runs in the order of their times, each with its run's number."""
    numbered = [(number, line) for number, run in enumerate(runs) for line in run.lines]
    shown = fit([line for _, line in numbered])
    entries = [(number, *line) for (number, _), line in zip(numbered, shown, strict=True)]
    return sorted(entries, key=lambda entry: entry[1])


def _values(runs: Sequence[Run]) -> list[tuple[str, list[Value | None]]]:
    """Return the last and best values of each metric and split, a column for each run."""
    keys = sorted({(series.split, series.name) for run in runs for series in run.curves.found})
    rows: list[tuple[str, list[Value | None]]] = []
    for split, name in keys[:MAX_ROWS]:
        key = best_key(name, split or None)
        row = [_value(run, split, name, key) for run in runs]
        _mark_leader(row, [run.best.get(key) for run in runs])
        rows.append((key, row))
    return rows


def _value(run: Run, split: str, name: str, key: str) -> Value | None:
    last = [
        curve.last
        for series, curve in run.curves.found.items()
        if (series.split, series.name) == (split, name) and curve.count
    ]
    if not last:
        return None
    best = run.best.get(key)
    return Value(
        _number(sum(last) / len(last)),
        "" if best is None else _number(best["value"]),
        None if best is None else best["step"],
    )


def _mark_leader(row: Sequence[Value | None], best: Sequence[BestValue | None]) -> None:
    known = [(value, found) for value, found in zip(row, best, strict=True) if value and found]
    if len({found["value"] for _, found in known}) > 1:
        choose = min if known[0][1]["mode"] == "min" else max
        choose(known, key=lambda each: each[1]["value"])[0].leads = True


def _params(runs: Sequence[Run]) -> list[tuple[str, list[str], bool]]:
    """Return the hyperparameters: name, the value of each run, whether they differ."""
    names = sorted({name for run in runs for name in run.params})
    rows: list[tuple[str, list[str], bool]] = []
    for name in names:
        row = [_text(run.params[name]) if name in run.params else "" for run in runs]
        rows.append((escape(name), row, len(set(row)) > 1))
    return sorted(rows, key=lambda row: not row[2])[:MAX_ROWS]


def _longest(spent: Mapping[str, Spent]) -> list[tuple[str, Spent]]:
    return sorted(spent.items(), key=lambda item: -item[1].total)[:MAX_ROWS]


def _notes(runs: Sequence[Run]) -> Iterable[str]:
    """Yield what the page does not show."""
    for run in runs:
        name = f"{run.name}: " if len(runs) > 1 else ""
        if run.curves.coarsest > 1:
            yield (
                f"{name}curves are down-sampled: a point is the mean of up to "
                f"{run.curves.coarsest:,} steps, the band around it goes from the least of their "
                "values to the largest"
            )
        if len(run.ranks) > MAX_RANK_LINES:
            yield (
                f"{name}{MAX_RANK_LINES} of {len(run.ranks):,} ranks have lines of their own; "
                "mean and band are those of all"
            )
        if run.curves.left_out:
            yield f"{name}there are too many metrics: {len(run.curves.left_out):,} are left out"
        if run.lines.left_out:
            yield (
                f"{name}{run.lines.left_out:,} log lines are left out; those of each level at the "
                "beginning and at the end are listed, all are counted"
            )
        if run.skipped:
            yield f"{name}{run.skipped:,} lines of its files are no records and were skipped"
        if run.dropped:
            yield f"{name}{run.dropped:,} records were dropped when they were logged"
    if (number := len(metric_names(runs))) > MAX_CHARTS:
        yield f"{MAX_CHARTS} of {number:,} metrics have a chart"


def _text(value: object) -> str:
    if isinstance(value, float):
        return _number(value)
    return escape(cut(value if isinstance(value, str) else dumps(value).decode()))


def _number(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.6g}"


def _time(seconds: float | None) -> str:
    return (
        "" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
    )


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"
