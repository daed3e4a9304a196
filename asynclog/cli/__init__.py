"""The command line: `asynclog run`, `asynclog collect`, and what else there is."""

from __future__ import annotations

import click

from ._errors import Commands
from .best import best as _best
from .collect import collect as _collect
from .demo import demo as _demo
from .doctor import doctor as _doctor
from .plot import plot as _plot
from .recover import recover as _recover
from .replay import replay as _replay
from .report import report as _report
from .run import run as _run
from .stats import stats as _stats
from .tail import tail as _tail
from .trace import trace as _trace

__all__ = ["main"]

EXAMPLES = """\b
Examples:
  asynclog demo                   service, trio and training on one pipeline
  asynclog demo --seconds 60 --run-dir runs/demo
  asynclog recover runs/exp1      bring back what a killed process logged
  asynclog replay runs/exp1 --sink wandb    send what a backend has not got
  asynclog report runs/exp1       curves, stages, log lines, the crash: a page
  asynclog run -- torchrun --nproc-per-node 8 train.py
  asynclog tail runs/exp1 -f      what all ranks log, as it comes
  asynclog best runs/*            the best values of some runs
  asynclog collect nats://node0:4222 --run exp1 --run-dir runs/exp1
"""


@click.group(
    cls=Commands,
    epilog=EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="asynclog", message="asynclog %(version)s")
def main() -> None:
    """Structured logging through one bounded pipeline that loses nothing silently."""


main.add_command(_best)
main.add_command(_collect)
main.add_command(_demo)
main.add_command(_doctor)
main.add_command(_plot)
main.add_command(_recover)
main.add_command(_replay)
main.add_command(_report)
main.add_command(_run)
main.add_command(_stats)
main.add_command(_tail)
main.add_command(_trace)
