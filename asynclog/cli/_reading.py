"""What the commands that read a run share: the run, the filters, and how they end."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from .._levels import LEVELS
from ..distributed.ranks import Ranks
from ..reading import Filters

Command = TypeVar("Command", bound=Callable[..., Any])

INTERRUPTED: Final = 130
"""Ended by Ctrl-C, as shells say it."""
KINDS: Final = ("log", "note", "metrics", "hparams", "text", "histogram", "image", "artifact")
KINDS_OF_TIME: Final = ("stage", "timer", "output")

run_path = click.Path(path_type=Path)


def run_argument(command: Command) -> Command:
    """Give a command the argument RUN."""
    return click.argument(
        "run", type=run_path, default="logs", envvar="ASYNCLOG_RUN_DIR", required=False
    )(command)


def runs_argument(command: Command) -> Command:
    """Give a command the argument RUN, which may be given several times."""
    return click.argument("runs", metavar="RUN...", type=run_path, nargs=-1, required=True)(command)


def spool_option(command: Command) -> Command:
    """Give a command the option --spool-dir."""
    return click.option(
        "--spool-dir",
        type=click.Path(file_okay=False, path_type=Path),
        envvar="ASYNCLOG_SPOOL_DIR",
        help="Where the rings of the run lie, if not in the default place.",
    )(command)


def json_option(command: Command) -> Command:
    """Give a command the option --json."""
    return click.option("--json", "as_json", is_flag=True, help="Write JSON.")(command)


def filter_options(command: Command) -> Command:
    """Give a command the options that pick events; :func:`filters` reads them."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_OPTIONS: Final = (
    click.option(
        "--level",
        type=click.Choice([*LEVELS], case_sensitive=False),
        help="Lowest level.",
    ),
    click.option("--ranks", help='Ranks: "0", "all", "0,3-5"; what has no rank counts as 0.'),
    click.option("--logger", help="Name of a logger; those below it are included."),
    click.option(
        "--kind",
        multiple=True,
        type=click.Choice([*KINDS, *KINDS_OF_TIME]),
        metavar="KIND",
        help=f"Kind of record, several times for several: {', '.join([*KINDS, *KINDS_OF_TIME])}.",
    ),
    click.option("--since", help='Earliest time: "2026-01-31 12:00", or how long ago: "10m".'),
    click.option("--until", help="Time before which the records were made."),
    click.option("--where", help="Expression: 'status >= 500 and \"/api\" in path'."),
)


def filters(
    level: str | None,
    ranks: str | None,
    logger: str | None,
    kind: tuple[str, ...],
    since: str | None,
    until: str | None,
    where: str | None,
) -> Filters:
    """Return what the options of :func:`filter_options` ask for.

    Raises:
        SettingError: One of them breaks its rule.
    """
    return Filters(
        level=level,
        ranks=None if ranks is None else Ranks.read(ranks),
        logger=logger,
        kind=kind or None,
        since=since,
        until=until,
        where=where,
    )


@contextmanager
def until_nobody_reads(ctx: click.Context) -> Generator[None]:
    """End a command quietly when the other side of its pipe is gone, or at Ctrl-C."""
    try:
        yield
        sys.stdout.flush()
    except KeyboardInterrupt:
        ctx.exit(INTERRUPTED)
    except OSError as error:
        if error.errno != errno.EPIPE:
            raise
        # what Python still holds for the pipe goes nowhere, without a word
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        ctx.exit(0)
