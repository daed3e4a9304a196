"""What the commands that show a whole job share: which of its records go where."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS: Final = (
    click.option(
        "--console-level",
        default="INFO",
        envvar="ASYNCLOG_CONSOLE_LEVEL",
        help='Lowest level shown here, or "none".',
        show_default=True,
    ),
    click.option(
        "--ranks",
        default="0",
        envvar="ASYNCLOG_RANKS",
        help='Ranks shown here: "0", "all", "0,3-5".',
        show_default=True,
    ),
    click.option(
        "--handlers",
        default="auto",
        envvar="ASYNCLOG_HANDLERS",
        help='Handlers of logging that get all records: "auto", "none", '
        "or a function as MODULE:NAME.",
        show_default=True,
    ),
)


def job_options(command: Command) -> Command:
    """Give a command the options --console-level, --ranks and --handlers."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
