"""LogFile: a JSONL file beside other files, whose run directory is its own all the same.

A run directory belongs to one run: whoever starts there joins it, and one collector writes the
records of all into one file. Two programs with log files of their own in one directory, or eight
ranks, must not become one run by that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from .._lifecycle import call_last
from ..sinks import JsonlFile

if TYPE_CHECKING:
    from ..sinks.rotation import RotatingFile
    from ..typing import Run


@dataclass(frozen=True)
class LogFile(JsonlFile):
    """A file in the directory that holds the run directory; otherwise a JsonlFile."""

    def file(self, run: Run) -> RotatingFile:
        """Return the file of a run."""
        return super().file(replace(run, directory=run.directory.parent))


_run_dirs: set[Path] = set()


def run_dir_of(path: Path) -> Path:
    """Return the run directory of a log file: hidden, beside it, and gone at the end."""
    run_dir = path.with_name(f".{path.name}.run")
    _run_dirs.add(run_dir)
    return run_dir


def _remove_run_dirs() -> None:
    for run_dir in _run_dirs:
        try:
            run_dir.rmdir()
        except OSError:
            # another process goes on with it, or it was never made
            continue


call_last(_remove_run_dirs)
