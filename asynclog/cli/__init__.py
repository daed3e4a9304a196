"""The command line: `asynclog demo`, `asynclog recover`, ..."""

from __future__ import annotations

import click

from ._errors import Commands
from .demo import demo
from .recover import recover

__all__ = ["main"]

EXAMPLES = """\b
Examples:
  asynclog demo                        ten seconds of service, trio and training
  asynclog demo --seconds 60 --run-dir runs/demo
  asynclog recover runs/exp1           bring back what a killed process logged
"""


@click.group(
    cls=Commands,
    epilog=EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="asynclog", message="asynclog %(version)s")
def main() -> None:
    """Structured logging through one bounded pipeline that loses nothing silently."""


main.add_command(demo)
main.add_command(recover)
