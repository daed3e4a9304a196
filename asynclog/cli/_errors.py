"""How the commands end: exit codes, and errors as one line instead of a traceback."""

from __future__ import annotations

from typing import Any, Final, cast

import click

from ..exceptions import AsynclogError

DONE: Final = 0
TROUBLE: Final = 1
"""The command ran and found what should not be: lost events, unreadable rings."""
USAGE: Final = 2
"""The command could not do what was asked: wrong arguments, a missing package."""


class Refused(click.ClickException):
    """Ends a command with one line on stderr and exit code 2."""

    exit_code = USAGE


class Commands(click.Group):
    """A group whose commands show errors of asynclog as one line."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; see :meth:`click.Group.invoke`."""
        try:
            return super().invoke(ctx)
        except AsynclogError as error:
            raise Refused(str(error)) from error


def only_cause(error: Exception) -> Exception:
    """Return the one exception inside nested groups, or the group when it holds several."""
    while isinstance(error, ExceptionGroup):
        group = cast("ExceptionGroup[Exception]", error)
        if len(group.exceptions) != 1:
            return group
        (error,) = group.exceptions
    return error
