"""`asynclog doctor`: what could keep asynclog from working well here, and what to do about it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import click

from .._json import dumps
from ..sinks.escape import escape
from ._errors import DONE, TROUBLE
from ._reading import json_option, run_path, spool_option

EPILOG = """\b
Examples:
  asynclog doctor
  asynclog doctor runs/exp1
  asynclog doctor --json

\b
Exit codes:
  0  nothing that would hurt
  1  warnings or problems
  2  wrong arguments
"""
_COLORS: Final = {"ok": "green", "note": "cyan", "warning": "yellow", "problem": "red"}


@click.command(epilog=EPILOG, short_help="Check this machine, and say what to do.")
@click.argument("run", type=run_path, required=False)
@json_option
@spool_option
@click.pass_context
def doctor(ctx: click.Context, run: Path | None, as_json: bool, spool_dir: Path | None) -> None:
    """Check what asynclog needs here: versions, settings, ranks, shared memory, rings, disk.

    With RUN, its directory and disk are checked as well. Nothing is changed.
    """
    from . import _checks as checks

    if spool_dir is not None:
        spool_dir = spool_dir.absolute()
    found = [
        *checks.versions(),
        *checks.extras(),
        *checks.settings(os.environ),
        *checks.ranks(os.environ),
        *checks.shared_memory(spool_dir),
        *checks.spool_rights(spool_dir),
        *checks.remove_ipc(spool_dir),
        *checks.stale_rings(spool_dir),
        *(checks.run_directory(run) if run is not None else ()),
    ]
    if as_json:
        click.echo(dumps([check._asdict() for check in found]))
    else:
        _show(found)
    bad = any(check.grade in ("warning", "problem") for check in found)
    ctx.exit(TROUBLE if bad else DONE)


def _show(found: Iterable[object]) -> None:
    from ..sinks.terminal import Terminal
    from ._checks import Check

    colors = Terminal("stdout").colors()
    for check in found:
        assert isinstance(check, Check)
        grade = f"{check.grade:<8}"
        if colors:
            grade = click.style(grade, fg=_COLORS[check.grade])
        click.echo(f"{grade} {check.name:<14} {escape(check.found)}", color=colors)
        if check.advice:
            click.echo(f"{'':<23} -> {escape(check.advice)}")
