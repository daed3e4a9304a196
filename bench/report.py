"""Renders the results: Markdown for the docs, the same tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench._scenario import Column, Scenario
from bench.gates import Verdict
from bench.summary import Results, Spread
from bench.troubles import NOTHING, troubles

INTRODUCTION = """\
# Benchmarks

This page is written by `python -m bench --markdown docs/benchmarks.md`. Every figure is the
median of the rounds with its quartiles in brackets. The rounds are interleaved (A B C, A B C, ...),
each library runs in a process of its own, and a ratio is the median of the ratios to the reference
*within* one round. All libraries log the same event (one text, four fields, a bound context of two
keys) as JSON lines into a file, and every file is read back: each line is parsed, each field
compared, each call accounted for. The garbage collector is on; the cost of the clock is subtracted
from single calls.

The peers take part in fewer rounds than asynclog and its references. What they lose, garble or hang
on is named under *lost or wrong*; a round that takes too long is stopped, and after two such rounds
a library is left out of the rest of that scenario. Figures of a library that loses events are
figures of the calls that it did not carry out, too.

Whoever changes something on the way of a record compares with a stored run: `python -m bench
--quick --against bench/ratios.json` repeats it and looks at asynclog's ratios to its references,
never at times, which are the machine's. A ratio may be worse by three times the distance of its
stored quartiles, and by 5 % in any case; beyond that the exit status is 1. `--json` stores a run.
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
        "## What was lost, wrong or stuck\n",
        "All scenarios together; the tables below have it for each.\n",
        trouble_table(results, scenarios),
    ]
    for scenario in scenarios:
        parts += [
            f"## {scenario.title}\n",
            f"{scenario.about}\n",
            scenario_table(results, scenario),
        ]
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


def trouble_table(results: Results, scenarios: Sequence[Scenario]) -> str:
    """Return what became of all calls of each library."""
    rows: list[Sequence[str]] = []
    for name, library in results.libraries.items():
        records = [one for scenario in scenarios for one in results.records(scenario.name, name)]
        if not library.logs or not records:
            continue
        where = [
            scenario.name
            for scenario in scenarios
            if any(one.get("hung") for one in results.records(scenario.name, name))
        ]
        words = troubles(records) + (f" ({', '.join(where)})" if where else "")
        calls = sum(results.written(scenario.name, name)["calls"] for scenario in scenarios)
        rows.append((library.title, f"{calls:,}", words))
    return table(("library", "calls checked", "lost or wrong"), rows)


def scenario_table(results: Results, scenario: Scenario) -> str:
    """Return the figures of one scenario, a row a library."""
    titles = ["library"]
    for column in scenario.columns:
        titles.append(column.title)
        if column.ratio:
            titles.append("ratio")
    titles += ["written", "lost or wrong"]
    rows: list[list[str]] = []
    for name, library in results.libraries.items():
        records = results.records(scenario.name, name)
        reason = library.skips.get(scenario.name)
        if reason is not None:
            rows.append([library.title, f"n/a: {reason}", *["-"] * (len(titles) - 2)])
        if not records:
            continue
        row = [library.title]
        for column in scenario.columns:
            row.append(_cell(results.spread(scenario.name, name, column.key), column))
            if column.ratio:
                ratio = results.ratio(scenario.name, name, column.key, scenario.reference)
                row.append(_ratio(ratio))
        row.append(_written(results.written(scenario.name, name)))
        row.append(troubles(records) if library.logs else "-")
        rows.append(row)
    if all(row[-2] == "-" for row in rows):
        # Nothing is written in this scenario; the last column stays where it has something to say.
        silent = all(row[-1] in ("-", NOTHING) for row in rows)
        drop = slice(-2, None) if silent else slice(-2, -1)
        for row in (titles, *rows):
            del row[drop]
    return table(titles, rows)


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
    """Return how many of the calls are in the files."""
    if not sums["calls"]:
        return "-"
    words = f"{sums['lines']:,} of {sums['calls']:,}"
    return f"{words}, {sums['dropped']:,} dropped and counted" if sums["dropped"] else words
