"""How the demo shows its outcome: with rich where it is installed, else as plain text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click

from ..._json import loads
from .needs import installed
from .program import Outcome
from .tally import Tally

NAMES = {
    "service": "HTTP service",
    "trio": "trio tasks",
    "training": "torch training",
    "loader": "DataLoader workers",
    "main": "main thread",
}

BEST = ("train/loss", "val/accuracy")
COMMANDS = {"tail": "lines", "plot": "curves", "report": "all of it on one page"}
BACKENDS = {
    "tensorboard": "TensorBoard: tensorboard --logdir {run_dir}/tb",
    "wandb": "W&B: an offline run in {run_dir}/wandb, for wandb sync",
}


class Stored(NamedTuple):
    """What was found in the files.

    Attributes:
        run_dir: Where that was.
        lines: Events of this demo, by source.
        torn: Lines that are no JSON object.
        files: Size of each file in bytes.
    """

    run_dir: Path
    lines: Counter[str]
    torn: int
    files: dict[Path, int]


class Table(NamedTuple):
    """A table; the first column is text, the others are numbers."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    total: bool = False
    """Whether the last row is a sum."""


def read_back(run_dir: Path, run: str) -> Stored:
    """Read the files of a run directory, rotated ones too, and count the events of one demo."""
    lines: Counter[str] = Counter()
    torn = 0
    files = {path: path.stat().st_size for path in sorted(run_dir.rglob("*")) if path.is_file()}
    for path in files:
        if not path.name.startswith("events") or ".jsonl" not in path.name:
            continue
        with path.open("rb") as file:
            for line in file:
                try:
                    event = loads(line)
                    if event.get("demo") == run:
                        lines[event["source"]] += 1
                except (ValueError, AttributeError, KeyError):
                    torn += 1
    return Stored(run_dir, lines, torn, files)


def lost(outcome: Outcome, stored: Stored) -> int:
    """Return how many calls returned whose events are neither in the files nor counted dropped."""
    logged = sum(tally.count for tally in outcome.counts.values())
    dropped = sum(outcome.report.dropped.values()) if outcome.report else 0
    return logged - stored.lines.total() - dropped


def complete(outcome: Outcome, stored: Stored) -> bool:
    """Say whether the demo ran to its end and every event is accounted for."""
    return not (outcome.failed or stored.torn or lost(outcome, stored))


def sources(outcome: Outcome, stored: Stored) -> Table:
    """Return the table of the sources."""
    rows = [
        [
            NAMES[source],
            f"{tally.count:,}",
            f"{stored.lines[source]:,}",
            "",
            "",
            *_micros(tally),
        ]
        for source, tally in outcome.counts.items()
    ]
    whole = Tally.total(outcome.counts.values())
    dropped = sum(outcome.report.dropped.values()) if outcome.report else 0
    rows.append(
        [
            "all",
            f"{whole.count:,}",
            f"{stored.lines.total():,}",
            f"{dropped:,}",
            f"{lost(outcome, stored):,}",
            *_micros(whole),
        ]
    )
    head = ["source", "logged", "written", "dropped", "lost", "call p50 us", "p99.9 us"]
    return Table(head, rows, total=True)


def lateness(outcome: Outcome) -> Table:
    """Return the table of the event loops."""
    rows = [
        [
            loop,
            *(
                f"{tally.quantile(share) / 1e6:.1f}" if tally.count else "-"
                for tally in (late.without, late.with_logging)
                for share in (0.5, 0.99)
            ),
        ]
        for loop, late in outcome.lateness.items()
    ]
    return Table(
        ["loop lateness, ms", "without logging p50", "p99", "with logging p50", "p99"], rows
    )


def files(stored: Stored) -> Table:
    """Return the table of the files."""
    return Table(
        ["file", "bytes"],
        [
            [str(path), f"{size:,}"]
            for path, size in (
                (path.relative_to(stored.run_dir), size) for path, size in stored.files.items()
            )
            if not _internal(path)
        ],
    )


def _internal(path: Path) -> bool:
    """Say whether a file is nobody's business: cursors, and what W&B keeps for itself."""
    return path.parts[0].startswith(".") or (path.parts[0] == "wandb" and path.suffix != ".wandb")


def sentences(outcome: Outcome, stored: Stored) -> list[str]:
    """Return what is said in words."""
    said = [
        f"files are in {stored.run_dir}",
        "\n".join(
            f"{what}: asynclog {command} {stored.run_dir}" for command, what in COMMANDS.items()
        ),
    ]
    if outcome.client is not None:
        said.append(
            "client: {requests:,} requests, {failed} failed, {right:,} right; "
            "p50 {p50_ms:.1f} ms, p99 {p99_ms:.1f} ms".format_map(outcome.client)
        )
    if outcome.accuracy is not None:
        said.append(
            f"model: {outcome.accuracy:.1%} of the held-out digits right "
            f"after {outcome.epochs} epochs"
        )
    for name, best in outcome.best.items():
        if name in BEST:
            said.append(f"best {name}: {best['value']:.4g} at step {best['step']}")
    if outcome.report is not None:
        reasons = [f"{name} {count:,}" for name, count in outcome.report.dropped.items()]
        said.append(
            f"pipeline: {outcome.report.accepted:,} calls, "
            f"{outcome.report.written:,} lines written, dropped: {', '.join(reasons) or 'none'}"
        )
        for name, text in BACKENDS.items():
            sink = outcome.report.sinks.get(name)
            if sink is not None:
                said.append(f"{text.format(run_dir=stored.run_dir)} ({sink.written:,} records)")
                if sink.dropped:
                    said.append(f"{name} has not got {sum(sink.dropped.values()):,} records")
    if stored.torn:
        said.append(f"torn lines: {stored.torn:,}")
    return said + outcome.remarks


def show(outcome: Outcome, stored: Stored) -> None:
    """Print everything on stdout."""
    tables = [sources(outcome, stored), lateness(outcome), files(stored)]
    render = _render_rich if installed("rich") else _render_plain
    for table in tables:
        render(table)
    for sentence in sentences(outcome, stored):
        click.echo(sentence)


def _micros(tally: Tally) -> list[str]:
    if not tally.count:
        return ["-", "-"]
    return [f"{tally.quantile(share) / 1e3:,.1f}" for share in (0.5, 0.999)]


def _render_rich(table: Table) -> None:
    from rich.console import Console
    from rich.table import Table as RichTable

    shown = RichTable(box=None, padding=(0, 2, 0, 0), header_style="bold cyan")
    for number, title in enumerate(table.head):
        shown.add_column(title, justify="right" if number else "left", no_wrap=True)
    for number, row in enumerate(table.rows, 1):
        last = table.total and number == len(table.rows)
        shown.add_row(*row, style="bold" if last else None)
    # A narrow terminal wraps a row; a cut number would be of no use.
    needed = Console(width=1000).measure(shown).maximum
    console = Console(highlight=False)
    console.width = max(console.width, needed)
    console.print(shown, crop=False)
    console.print()


def _render_plain(table: Table) -> None:
    rows = [table.head, *table.rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.rjust(width) if number else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        click.echo("  ".join(cells).rstrip())
    click.echo()
