"""Renders the results: Markdown for the docs, the same tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench._scenario import Column, Scenario
from bench.gates import Verdict
from bench.summary import Results, Spread

INTRODUCTION = """\
# Benchmarks

This page is written by `python -m bench --markdown docs/benchmarks.md`. Every figure is the
median of the rounds with its quartiles in brackets. The rounds are interleaved (A B C, A B C, ...),
each library runs in a process of its own, and a ratio is the median of the ratios to the reference
*within* one round. All libraries log the same event (one text, four fields, a bound context of two
keys) as JSON lines into a file, and every file is read back: each line is parsed and each call
accounted for. The garbage collector is on; the cost of the clock is subtracted from single calls.
"""


def render(
    results: Results,
    verdicts: Sequence[Verdict],
    machine: Mapping[str, Any],
    scenarios: Sequence[Scenario],
    scale: str,
) -> str:
    """Return the whole page."""
    parts = [INTRODUCTION]
    if scale != "full":
        parts.append(f"**This was a {scale} run: too short for figures to rely on.**\n")
    parts += [
        "## Promised figures\n",
        gate_table(verdicts),
        "## Machine and versions\n",
        machine_list(machine),
        "## Libraries\n",
        library_table(results),
    ]
    for scenario in scenarios:
        parts += [
            f"## {scenario.title}\n",
            f"{scenario.about}\n",
            scenario_table(results, scenario),
        ]
        parts += error_list(results, scenario)
    return "\n".join(parts).rstrip() + "\n"


def gate_table(verdicts: Sequence[Verdict]) -> str:
    """Return the promised figures with what was measured."""
    words = {True: "yes", False: "**no**", None: "not measured"}
    return table(
        ("figure", "promised", "measured", "reached"),
        [(one.name, one.limit, one.measured, words[one.passed]) for one in verdicts],
    )


def machine_list(machine: Mapping[str, Any]) -> str:
    """Return the machine as a list."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return "\n".join(
        (
            f"- {machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB",
            f"- {machine['system']} {machine['kernel']}, files on {machine['file_system']}",
            f"- {machine['implementation']} {machine['python']}",
            f"- {versions}",
            f"- measured on {machine['date']}",
            "",
        )
    )


def library_table(results: Results) -> str:
    """Return what each library was set up as."""
    return table(
        ("library", "set-up", "ratios to"),
        [
            (
                one.title,
                one.about,
                results.libraries[one.reference].title
                if one.logs and one.reference in results.libraries
                else "-",
            )
            for one in results.libraries.values()
        ],
    )


def scenario_table(results: Results, scenario: Scenario) -> str:
    """Return the figures of one scenario, a row a library."""
    counts = any(results.written(scenario.name, name)["calls"] for name in results.libraries)
    titles = ["library"]
    for column in scenario.columns:
        titles.append(column.title)
        if column.ratio:
            titles.append("ratio")
    if counts:
        titles.append("written")
    rows: list[Sequence[str]] = []
    for name, library in results.libraries.items():
        if not results.records(scenario.name, name):
            continue
        row = [library.title]
        for column in scenario.columns:
            row.append(_cell(results.spread(scenario.name, name, column.key), column))
            if column.ratio:
                ratio = results.ratio(scenario.name, name, column.key, scenario.reference)
                row.append(_ratio(ratio))
        if counts:
            row.append(_written(results.written(scenario.name, name)))
        rows.append(row)
    return table(titles, rows)


def error_list(results: Results, scenario: Scenario) -> list[str]:
    """Return a line for each library that failed rounds."""
    lines: list[str] = []
    for name, library in results.libraries.items():
        errors = results.errors(scenario.name, name)
        if errors:
            last = errors[-1].strip().splitlines()[-1]
            lines.append(f"{library.title}: {len(errors)} rounds failed, the last with `{last}`\n")
    return lines


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, padded so that it reads well as plain text."""
    cells = [[text.replace("|", "\\|") for text in row] for row in (titles, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(titles))]
    lines = [
        "| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines) + "\n"


def _cell(spread: Spread | None, column: Column) -> str:
    if spread is None:
        return "-"
    if column.unit == "ns":
        unit, divisor = _time_unit(spread.median)
    elif column.unit == "share":
        unit, divisor = "%", 0.01
    elif column.unit == "rate":
        unit, divisor = "k", 1e3
    else:
        unit, divisor = column.unit, 1.0
    middle, low, high = (_digits(v / divisor) for v in (spread.median, spread.low, spread.high))
    return f"{middle} {unit} [{low}, {high}]" if spread.rounds > 1 else f"{middle} {unit}"


def _time_unit(nanoseconds: float) -> tuple[str, float]:
    if nanoseconds < 1_000:
        return "ns", 1.0
    return ("us", 1e3) if nanoseconds < 1e6 else ("ms", 1e6)


def _digits(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def _ratio(spread: Spread | None) -> str:
    return "-" if spread is None else f"{_digits(spread.median)}x"


def _written(sums: Mapping[str, int]) -> str:
    """Return what became of the calls in words; bad news only when there is any."""
    if not sums["calls"]:
        return "-"
    words = [f"{sums['lines']:,} of {sums['calls']:,}"]
    if sums["dropped"]:
        words.append(f"{sums['dropped']:,} dropped and counted")
    bad = ("lost", "broken", "incomplete", "doubled", "late")
    words += [f"**{sums[key]:,} {key}**" for key in bad if sums[key]]
    if sums["unfinished"]:
        words.append(
            f"{sums['unwritten']:,} unwritten when {sums['unfinished']} rounds ran out of time"
        )
    if sums["failed"]:
        words.append(f"**{sums['failed']} rounds failed**")
    return ", ".join(words)
