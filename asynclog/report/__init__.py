"""A page about one or several runs, in one file that needs nothing else; see :func:`write_report`.

Reading and gathering take one pass and bounded memory; Bokeh draws, and is imported in here only.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from ..exceptions import MissingExtraError, SettingError
from ..reading import read_run
from ..sinks.small_file import write_atomically
from .run import Run, gather

__all__ = ["Report", "write_report"]

MAX_RUNS: Final = 20
"""Runs on one page."""


@dataclass(frozen=True)
class Report:
    """What :func:`write_report` has written.

    Attributes:
        path: The file.
        size: Its bytes.
        records: How many records it tells of.
        skipped: Lines of the runs' files that are no records.
        crashed: Names of the runs that have a crash report.
    """

    path: Path
    size: int
    records: int
    skipped: int
    crashed: list[str]


def write_report(
    runs: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    spool_dir: str | os.PathLike[str] | None = None,
) -> Report:
    """Write one HTML file about some runs: curves, stages, log lines, the crash report.

    Everything is in the file; it works offline. Long runs are down-sampled, and the page says so,
    so that it has some megabytes whatever the runs have. The file gets mode 0640 less the umask,
    and replaces what was there at once when it is complete.

    Args:
        runs: Run directories, or single JSONL files.
        output: The file to write.
        spool_dir: Place of the spools when the runs had one of their own.

    Raises:
        MissingExtraError: Bokeh is not installed.
        SettingError: There is no run to tell of, or there are too many.
        NoRunError: One of them is no run; a kind of SettingError.
        SpoolError: The spool of a run is not safe to read.
        OSError: A file cannot be read, or the page cannot be written.
    """
    if find_spec("bokeh") is None:
        raise MissingExtraError("a report", "bokeh", "report")
    from .page import render_page

    if not 0 < len(runs) <= MAX_RUNS:
        raise SettingError("runs", f"must be 1 to {MAX_RUNS} runs", len(runs))
    every = [read_run(run, spool_dir=spool_dir) for run in runs]
    names = _names([events.run for events in every])
    found: list[Run] = []
    for name, events in zip(names, every, strict=True):
        run = gather(name, events.run, events, len(runs))
        run.skipped = events.counts.torn + events.counts.foreign
        found.append(run)
    content = render_page(found)
    path = Path(output)
    write_atomically(path, content)
    return Report(
        path,
        len(content),
        sum(run.records for run in found),
        sum(run.skipped for run in found),
        [run.name for run in found if run.crash is not None],
    )


def _names(paths: Sequence[Path]) -> list[str]:
    """Return for each run the end of its path, as much as tells it from the others."""
    names: list[str] = []
    for number, path in enumerate(paths):
        others = [other for i, other in enumerate(paths) if i != number]
        length = 1
        while length < len(path.parts) and any(
            other.parts[-length:] == path.parts[-length:] for other in others
        ):
            length += 1
        names.append("/".join(path.parts[-length:]))
    # the same run twice
    return [
        f"{name} ({names[: number + 1].count(name)})" if names.count(name) > 1 else name
        for number, name in enumerate(names)
    ]
