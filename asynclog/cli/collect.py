"""`asynclog collect`: the command's arguments, and what it says at the end."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ._errors import DONE, TROUBLE, only_cause
from ._job import job_options
from ._sinks import HELP, declared

if TYPE_CHECKING:
    from anyio.abc import TaskStatus

    from .._settings import AnySink
    from ..distributed.nats.collect import Collected, Collection
    from ..distributed.nats.serve import OwnServer

EPILOG = """\b
Examples:
  asynclog collect nats://node0:4222 --run exp1 --run-dir runs/exp1
  asynclog collect nats://node0:4222 --run exp1 --run-dir runs/exp1 --once
  asynclog collect nats://0.0.0.0:4222 --serve --run exp1 --run-dir runs/exp1
  asynclog collect --run exp1 --run-dir runs/exp1 --sink tensorboard
  asynclog collect --run exp1 --run-dir runs/exp1 \\
      --sink '{"kind": "jsonl", "max_bytes": "1 GB", "backups": 20}'

\b
Password and token come from NATS_PASSWORD and NATS_TOKEN; NATS_USER, NATS_CREDS,
NATS_NKEY, NATS_CA, NATS_CERT and NATS_KEY as in NATS's own command line.

\b
Exit codes:
  0  all that was received is stored
  1  the server had lost messages, or a sink has not got everything
  2  wrong arguments, a directory in use, a server that cannot be reached (with --once)
"""


@click.command(epilog=EPILOG, short_help="Collect what many machines publish to NATS.")
@click.argument("server", required=False)
@click.option("--run", required=True, help="Name of the run: that of its run directories.")
@click.option(
    "--run-dir",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory to collect it in, of its own.",
)
@click.option(
    "--sink",
    "kinds",
    multiple=True,
    help=HELP,
)
@click.option(
    "--per-rank", is_flag=True, help="Also write a file for each rank, ranks/rank0.jsonl."
)
@click.option("--serve", is_flag=True, help="Start the server, for as long as this runs.")
@click.option("--once", is_flag=True, help="End when all is stored that the server has now.")
@job_options
# of asynclog run: a socket to whoever says when the job is over
@click.option("--beside", "launcher", type=int, hidden=True)
@click.pass_context
def collect(
    ctx: click.Context,
    server: str | None,
    run: str,
    run_dir: Path,
    kinds: tuple[str, ...],
    per_rank: bool,
    serve: bool,
    once: bool,
    console_level: str,
    ranks: str,
    handlers: str,
    launcher: int | None,
) -> None:
    """Collect a run that the collectors of many machines publish to NATS JetStream.

    SERVER is nats://HOST:PORT, or several with commas; else NATS_URL. The records of all machines
    and ranks come into one file, RUN_DIR/events.jsonl, each exactly once, from the beginning of the
    run. It goes on until Ctrl-C, and where it was when it is started again.
    """
    from ..distributed.nats.collect import Collection
    from ..distributed.nats.serve import OwnServer
    from ..distributed.node_loggers import NodeLoggers, factory_of, made_by
    from ..sinks.nats import Nats

    if launcher is not None:
        # started where signals may be held back
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
    sinks = _sinks(kinds, per_rank, console_level, ranks)
    settings, own = Nats(server), None
    with ExitStack() as stack:
        if serve:
            own = OwnServer(settings.addresses()[0], run_dir)
            own.start()
            stack.callback(own.stop)
            settings = Nats(own.url)
        if made := made_by(factory_of(handlers)):
            sinks.append(loggers := NodeLoggers(made))
            stack.callback(loggers.leave)
        expected = launcher is not None
        collection = Collection(settings, run, run_dir, sinks, once=once, expected=expected)
        status = _say(_run(collection, own, launcher), run_dir)
    ctx.exit(status)


def _sinks(kinds: tuple[str, ...], per_rank: bool, console_level: str, ranks: str) -> list[AnySink]:
    from .._levels import parse_level
    from ..distributed.job_console import JobConsole
    from ..distributed.ranks import Ranks
    from ..distributed.screen import Screen
    from ..sinks.per_rank import PerRank

    sinks: list[AnySink] = [*declared(kinds)]
    if per_rank:
        sinks.append(PerRank())
    chosen = Ranks.read(ranks)
    if console_level != "none":
        sinks.append(JobConsole(Screen(), chosen, parse_level(console_level, "console_level")))
    return sinks


def _run(collection: Collection, own: OwnServer | None, launcher: int | None) -> Collected:
    import anyio

    from ..distributed.nats.beside import until_over

    collected: list[Collected] = []

    async def finish_at_signals(*, task_status: TaskStatus[None]) -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for _ in signals:
                collection.finish()

    async def main() -> None:
        async with anyio.create_task_group() as tasks:

            async def collect(*, task_status: TaskStatus[None]) -> None:
                collected.append(await collection.run(task_status=task_status))
                tasks.cancel_scope.cancel()

            await tasks.start(finish_at_signals)
            if own is not None:
                tasks.start_soon(own.keep_up)
            await tasks.start(collect)
            if launcher is not None:
                collection.complete(await until_over(launcher))

    try:
        anyio.run(main)
    except ExceptionGroup as group:
        raise only_cause(group) from None
    return collected[0]


def _say(collected: Collected, run_dir: Path) -> int:
    machines = f"{collected.hosts} machine{'' if collected.hosts == 1 else 's'}"
    click.echo(f"{collected.records:,} new records of {machines} in {run_dir}", err=True)
    status = DONE
    if collected.lost:
        click.echo(f"{collected.lost:,} messages were gone before they were received", err=True)
        status = TROUBLE
    if collected.foreign:
        click.echo(f"{collected.foreign:,} messages of others left out", err=True)
    if collected.publishing:
        click.echo(
            f"not waited for: {collected.publishing}, whose files hold what was not sent", err=True
        )
    for name, sink in collected.sinks.items():
        for reason, count in sink.dropped.items():
            click.echo(f"{name}: {count:,} {reason}", err=True)
            status = TROUBLE
    return status
