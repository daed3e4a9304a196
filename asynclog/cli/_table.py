"""Plain tables for people: columns side by side, numbers as many digits as they read."""

from __future__ import annotations

from collections.abc import Sequence, Set

from ..sinks.escape import escape


def table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], right: Set[str] = frozenset()
) -> str:
    """Return a table as text, without a line end.

    Args:
        heads: Names of the columns.
        rows: Texts, as many in each row.
        right: Columns whose texts stand at the right, such as numbers.
    """
    lines = [[escape(cell) for cell in row] for row in (heads, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if head in right else cell.ljust(width)
            for head, cell, width in zip(heads, line, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def number(value: float) -> str:
    """Return a number with as many digits as people read."""
    if isinstance(value, int):
        return str(value)
    return f"{value:.6g}"


def size(count: float) -> str:
    """Return a number of bytes in the unit that suits it, as settings are written."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError


def duration(seconds: float) -> str:
    """Return a length of time as people say it: ``3h 20m``, ``12.3s``."""
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "m"), (rest, "s")]
    first = next(at for at, (count, _) in enumerate(parts) if count)
    return " ".join(f"{count}{unit}" for count, unit in parts[first : first + 2] if count)
