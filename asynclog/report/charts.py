"""The pictures of a page, as documents of Bokeh; nothing here knows HTML."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final, TypeAlias

from .activity import LEVELS, Bars
from .curves import Curve, Series, join
from .run import Run
from .timeline import Span

Figure: TypeAlias = Any
"""A ``bokeh.plotting.figure``; its stubs do not know half of its attributes."""

MAX_CHARTS: Final = 300
"""Metrics that have a chart."""
MAX_RANK_LINES: Final = 16
"""Ranks that have lines of their own beside the mean of all."""
FEW: Final = 40
"""Points up to which a curve shows each of them as a dot."""
MAX_ROWS: Final = 200
"""Rows of a timeline: ranks times stages within each other."""
COLORS: Final = (
    "#3b7dd8", "#e07b22", "#2f9e63", "#a259c9", "#d6456b", "#17a2b8", "#9c7a55", "#7a8594",
)  # fmt: skip
LEVEL_COLORS: Final = {
    "debug": "#9aa5b1",
    "info": "#4a90d9",
    "warning": "#e8a317",
    "error": "#dc3f3f",
    "critical": "#a3219b",
}
_DASHES: Final = ("solid", "dashed", "dotted", "dotdash")
_GREY: Final = "#8a94a3"
_FONT: Final = "system-ui, sans-serif"


@dataclass
class Chart:
    """One picture.

    Attributes:
        title: What it shows.
        item: What ``Bokeh.embed.embed_item`` takes.
        notes: What has to be said about it.
    """

    title: str
    item: Any
    notes: list[str] = field(default_factory=list[str])


def metric_charts(runs: Sequence[Run]) -> Iterator[Chart]:
    """Yield a chart for each metric, with the curves of all runs, splits and ranks.

    Args:
        runs: The runs to compare.
    """
    names = metric_names(runs)
    for name in names[:MAX_CHARTS]:
        yield _metric_chart(name, runs)


def metric_names(runs: Sequence[Run]) -> list[str]:
    """Return the names of the metrics that have a curve, in order."""
    return sorted({series.name for run in runs for series in run.curves.found})


def _metric_chart(name: str, runs: Sequence[Run]) -> Chart:
    from bokeh.models import HoverTool

    plot = _figure(height=250, tools="pan,xbox_zoom,box_zoom,save,reset", active_drag="xbox_zoom")
    splits = sorted({s.split for run in runs for s in run.curves.found})
    hovered: list[Any] = []
    notes: list[str] = []
    steps = False
    for number, run in enumerate(runs):
        found = sorted(
            ((series, curve) for series, curve in run.curves.found.items() if series.name == name),
            key=lambda each: (each[0].split, each[0].rank is not None, each[0].rank or 0),
        )
        for split, group in groupby(found, key=lambda each: each[0].split):
            curves = list(group)
            steps = steps or any(curve.has_steps for _, curve in curves)
            place = splits.index(split)
            # one run: its splits have colours; several: each run has one, splits have dashes
            color = COLORS[(number if len(runs) > 1 else place) % len(COLORS)]
            dash = _DASHES[place % len(_DASHES)] if len(runs) > 1 else "solid"
            label = " · ".join(part for part in (run.name if len(runs) > 1 else "", split) if part)
            tags = [run.name, split]
            hovered += _draw(plot, label or name, curves, color, dash, tags)
            notes += _remarks(run.name if len(runs) > 1 else "", curves)
            for _, curve in curves:
                _mark_bad(plot, curve, tags)
    plot.add_tools(
        HoverTool(
            renderers=hovered,
            mode="vline",
            line_policy="nearest",
            point_policy="snap_to_data",
            tooltips=[
                ("", "@name"),
                ("step" if steps else "number", "@step{0,0.[0]}"),
                ("mean", "@mean{0.[000000]}"),
                ("min … max", "@low{0.[000000]} … @high{0.[000000]}"),
            ],
        )
    )
    plot.xaxis.axis_label = "step" if steps else "number of the value"
    plot.name = name
    if len(hovered) > 1:
        # beside the curves, not over them
        plot.add_layout(plot.legend[0], "above")
        plot.legend.orientation, plot.legend.ncols = "horizontal", 3
        plot.legend.location, plot.legend.margin = "left", 0
    elif hovered:
        plot.legend.visible = False
    return Chart(name, _item(plot), notes)


def _draw(
    plot: Figure,
    label: str,
    curves: Sequence[tuple[Series, Curve]],
    color: str,
    dash: str,
    tags: list[str],
) -> list[Any]:
    """Draw the curves of one run and split; return what a pointer over them asks."""
    from bokeh.models import ColumnDataSource

    joined = join(curve for _, curve in curves)
    if not joined.step:
        return []
    data: dict[str, Any] = {key: _array(value) for key, value in joined._asdict().items()}
    data["name"] = [label] * len(joined.step)
    source = ColumnDataSource(data)
    if joined.low != joined.high:
        band = plot.varea("step", "low", "high", source=source, color=color, alpha=0.16)
        band.tags = [*tags, "band"]
    if len(curves) > 1:
        for _, curve in curves[:MAX_RANK_LINES]:
            one = join([curve])
            step, mean = _array(one.step), _array(one.mean)
            rank = plot.line(step, mean, color=color, alpha=0.35, line_width=1, line_dash=dash)
            rank.tags = [*tags, "rank"]
    style: dict[str, Any] = {"source": source, "color": color, "legend_label": label}
    line = plot.line("step", "mean", line_width=2, line_dash=dash, **style)
    line.tags = [*tags, "mean"]
    if len(joined.step) <= FEW:
        # a single value would make no line at all
        dots = plot.scatter("step", "mean", size=5, **style)
        dots.tags = [*tags, "mean"]
    return [line]


def _mark_bad(plot: Figure, curve: Curve, tags: list[str]) -> None:
    """Draw a line where the first NaN is."""
    from bokeh.models import Span as Mark

    if curve.bad_step is not None:
        plot.add_layout(
            Mark(
                location=curve.bad_step,
                dimension="height",
                line_color=LEVEL_COLORS["error"],
                line_dash="dotted",
                line_alpha=0.7,
                tags=[*tags, "bad"],
            )
        )


def _remarks(run: str, curves: Sequence[tuple[Series, Curve]]) -> Iterator[str]:
    bad = [(series, curve) for series, curve in curves if curve.not_finite]
    if bad:
        series, curve = min(bad, key=lambda each: each[1].bad_step or 0)
        where = " · ".join(
            part
            for part in (run, series.split, "" if series.rank is None else f"rank {series.rank}")
            if part
        )
        number = sum(curve.not_finite for _, curve in bad)
        yield (
            f"{number:,} NaN or infinite {'value' if number == 1 else 'values'}, "
            f"the first at {'step ' if curve.has_steps else 'number '}{curve.bad_step:,.0f}"
            + (f" ({where})" if where else "")
        )


def activity_chart(bars: Bars) -> Chart:
    """Return the lines of each level over time; zooming in it is how a page picks a time.

    Args:
        bars: Of all runs together.
    """
    from bokeh.models import ColumnDataSource, HoverTool

    plot = _figure(
        height=190, tools="xpan,xbox_zoom,reset", active_drag="xbox_zoom", x_axis_type="datetime"
    )
    width = bars.width * 1000
    data: dict[str, Any] = {"time": _array([(t + bars.width / 2) * 1000 for t in bars.start])}
    shown = [level for level in LEVELS if any(bars.counts[level])]
    for level in shown:
        data[level] = bars.counts[level]
    source = ColumnDataSource(data)
    plot.vbar_stack(
        shown,
        x="time",
        width=width * 0.9,
        fill_color=[LEVEL_COLORS[level] for level in shown],
        # not even a line of a level that has none there
        line_color=None,
        source=source,
        name=shown,
    )
    plot.add_tools(
        HoverTool(
            mode="vline",
            tooltips=[("", "@time{%F %T.%3N}"), *((level, f"@{level}{{0,0}}") for level in shown)],
            formatters={"@time": "datetime"},
            renderers=plot.renderers[-1:],
        )
    )
    plot.y_range.start = 0
    plot.yaxis.ticker.desired_num_ticks = 4
    plot.yaxis.ticker.num_minor_ticks = 0
    plot.xaxis.axis_label = "UTC; drag to pick a time, lines below follow"
    plot.name = "activity"
    return Chart("lines over time", _item(plot))


def timeline_chart(run: Run, spans: Sequence[Span]) -> Chart:
    """Return the stages of a run, one row for each rank and depth.

    Args:
        run: The run.
        spans: Its stages.
    """
    from bokeh.models import ColumnDataSource, HoverTool, NumeralTickFormatter

    depth = max(_depth(span) for span in spans) + 1
    all_ranks = sorted({span.rank for span in spans}, key=lambda rank: -1 if rank is None else rank)
    ranks = all_ranks[: max(1, MAX_ROWS // depth)]
    notes: list[str] = []
    if len(ranks) < len(all_ranks):
        notes.append(f"{len(ranks)} of {len(all_ranks)} ranks")
    if run.timeline.left_out:
        notes.append(f"the longest {len(spans):,} stages; {run.timeline.left_out:,} are left out")
    shown = [span for span in spans if span.rank in ranks]
    colors = stage_colors(run.timeline.stages)
    zero = run.start or 0.0
    top = len(ranks) * (depth + 0.5)
    rows = [top - ranks.index(s.rank) * (depth + 0.5) - _depth(s) - 1 for s in shown]
    height = max(110, min(900, 60 + int(top * 20)))
    plot = _figure(height=height, tools="xpan,xbox_zoom,reset", active_drag="xbox_zoom")
    source = ColumnDataSource(
        {
            "left": _array([span.start - zero for span in shown]),
            "right": _array([span.end - zero for span in shown]),
            "top": _array([row + 0.92 for row in rows]),
            "bottom": _array([row + 0.08 for row in rows]),
            "color": [colors.get(span.path, _GREY) for span in shown],
            "edge": [
                LEVEL_COLORS["error"]
                if span.error or not span.ended
                else colors.get(span.path, _GREY)
                for span in shown
            ],
            "name": [span.path for span in shown],
            "rank": ["" if span.rank is None else f"rank {span.rank}" for span in shown],
            "seconds": [_duration(span.end - span.start) for span in shown],
            "how": [span.error or ("" if span.ended else "has not ended") for span in shown],
        }
    )
    bars = plot.quad(
        "left", "right", "top", "bottom",
        source=source, fill_color="color", line_color="edge", fill_alpha=0.85, name="spans",
    )  # fmt: skip
    plot.add_tools(
        HoverTool(
            renderers=[bars],
            tooltips=[("", "@name"), ("", "@rank"), ("", "@seconds"), ("", "@how")],
        )
    )
    ticks = [top - number * (depth + 0.5) - depth / 2 for number in range(len(ranks))]
    labels = ["" if rank is None else f"rank {rank}" for rank in ranks]
    plot.yaxis.ticker = ticks
    plot.yaxis.major_label_overrides = dict(zip(ticks, labels, strict=True))
    plot.ygrid.visible = False
    plot.yaxis.visible = ranks != [None]
    plot.y_range.start, plot.y_range.end = 0, top + 0.2
    plot.xaxis.axis_label = "seconds since the run's start"
    plot.xaxis.formatter = NumeralTickFormatter(format="0,0.[000]")
    return Chart(run.name, _item(plot), notes)


def stage_colors(paths: Iterable[str]) -> dict[str, str]:
    """Return the colour of each stage; those of one name have one, wherever they are."""
    paths = list(paths)
    names = sorted({path.rpartition("/")[2] for path in paths})
    color = {name: COLORS[number % len(COLORS)] for number, name in enumerate(names)}
    return {path: color[path.rpartition("/")[2]] for path in paths}


def _depth(span: Span) -> int:
    return min(span.path.count("/"), 9)


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _figure(**settings: Any) -> Figure:
    """Return an empty figure that looks well on a bright page as on a dark one."""
    from bokeh.plotting import figure

    plot = figure(sizing_mode="stretch_width", toolbar_location="right", **settings)
    plot.toolbar.logo = None
    plot.toolbar.autohide = True
    plot.background_fill_color = plot.border_fill_color = None
    plot.outline_line_color = None
    plot.min_border_right = 12
    for grid in plot.grid:
        grid.grid_line_color, grid.grid_line_alpha = _GREY, 0.18
    for axis in plot.axis:
        axis.axis_line_color = axis.major_tick_line_color = axis.minor_tick_line_color = None
        axis.major_label_text_color = axis.axis_label_text_color = _GREY
        axis.major_label_text_font = axis.axis_label_text_font = _FONT
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_font_size = axis.major_label_text_font_size = "11px"
    return plot


def _item(plot: Figure) -> Any:
    from bokeh.embed import json_item

    for legend in plot.legend:
        legend.click_policy = "hide"
        legend.background_fill_alpha = legend.border_line_alpha = 0
        legend.label_text_color = _GREY
        legend.label_text_font, legend.label_text_font_size = _FONT, "11px"
        legend.padding, legend.spacing, legend.glyph_height = 2, 10, 14
    return json_item(plot)


def _array(values: Iterable[float]) -> Any:
    from numpy import array, float64

    return array(list(values), dtype=float64)
