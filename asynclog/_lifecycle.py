"""The default pipeline behind the module functions: its start, flush and stop, and the exit."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, Literal, Self, Unpack

import anyio
import anyio.to_thread

from ._complain import complain
from ._invitation import Invitation, withdraw
from ._logger.system import BoundLogger, configure_structlog
from ._settings import PipelineOptions
from .collector.stats import Report, Scope, Stats
from .pipeline import Pipeline

_default = Pipeline()
_before: list[str | None] = []
"""The invitation in the environment before ours, while ours is there."""
_last_calls: list[Callable[[], None]] = []
_before_stop: list[Callable[[], None]] = []


def _invite() -> None:
    """Let processes that are started from now on find the run."""
    invitation = _default.invitation()
    if invitation is not None:
        before = invitation.publish()
        if not _before:
            _before.append(before)


def _withdraw() -> None:
    while _before:
        withdraw(_before.pop())


def _accept() -> None:
    """Log into the run of the process that has started this one, if it has left an invitation."""
    invitation = Invitation.found()
    if invitation is not None:
        _default.join(invitation)
        configure_structlog(_default.loggers, chosen=False)


def under_launcher(run_dir: str | os.PathLike[str] | None, options: PipelineOptions) -> bool:
    """Log into the launcher's run and return True, if there is a launcher: nothing starts here.

    What the program wants is checked all the same. Its levels and processors count.

    Args:
        run_dir: What it wants: overruled, with a warning.
        options: Likewise; a warning for sinks.
    """
    invitation = Invitation.found()
    if invitation is None or not invitation.launcher or _default.started:
        return False
    wanted = _default.configure(run_dir, **options)
    if not _default.joined:
        _default.join(invitation)
    for name, level in (("", options.get("level")), *(options.get("levels") or {}).items()):
        if level is not None:
            _default.set_level(name, level)
    configure_structlog(_default.loggers, chosen="processors" in options)
    if run_dir is not None and wanted.run_dir != invitation.directory:
        complain(f"run_dir {wanted.run_dir} is overruled: the launcher's is {invitation.run_dir}")
    if options.get("sinks") is not None:
        complain("sinks are overruled: the launcher has its own", kind="sinks of a worker")
    return True


def default_pipeline() -> Pipeline:
    """Return the pipeline behind the module functions."""
    return _default


def get_logger(name: str | None = None, **context: Any) -> BoundLogger:
    """Return a logger of the default pipeline; may be called before :func:`start`.

    The typed twin of ``structlog.get_logger``.

    Args:
        name: Dotted name; levels are set per name.
        **context: Bound to every record.
    """
    return _default.get_logger(name, **context)


def configure(
    run_dir: str | os.PathLike[str] | None = None, **options: Unpack[PipelineOptions]
) -> None:
    """Check settings, keep them for :func:`start`, and make structlog's loggers ours.

    A configuration made with ``structlog.configure`` is kept but for its final renderer.

    Args:
        run_dir: Directory of the run.
        **options: See :class:`~asynclog.PipelineOptions`.

    Raises:
        SettingError: A setting breaks its rule.
        AlreadyStartedError: The pipeline runs with other settings.
    """
    _default.configure(run_dir, **options)
    configure_structlog(_default.loggers, chosen="processors" in options)


def start_sync(
    run_dir: str | os.PathLike[str] | None = None, **options: Unpack[PipelineOptions]
) -> Pipeline:
    """Start the default pipeline: everything logged goes to the run directory's files.

    Without arguments: rotating ``logs/events.jsonl`` and readable lines on stderr. A no-op when it
    runs with the same settings.

    Args:
        run_dir: Directory of the run, ``logs`` by default.
        **options: See :class:`~asynclog.PipelineOptions`.

    Raises:
        SettingError: A setting breaks its rule; nothing was started.
        AlreadyStartedError: The pipeline runs with other settings.
    """
    if under_launcher(run_dir, options):
        return _default
    if run_dir is not None or options or _default.run_dir is None:
        configure(run_dir, **options)
    else:
        configure_structlog(_default.loggers, chosen=False)
    _default.start_sync()
    _invite()
    return _default


async def start(
    run_dir: str | os.PathLike[str] | None = None, **options: Unpack[PipelineOptions]
) -> Pipeline:
    """Start the default pipeline on asyncio or trio; see :func:`start_sync`."""
    if under_launcher(run_dir, options):
        return _default
    if run_dir is not None or options or _default.run_dir is None:
        configure(run_dir, **options)
    else:
        configure_structlog(_default.loggers, chosen=False)
    await _default.start()
    _invite()
    return _default


def flush_sync(timeout: float | None = 10.0) -> bool:
    """Wait until everything logged so far is in its files.

    Args:
        timeout: Seconds to wait at most, None for no bound.

    Returns:
        Whether it is.
    """
    return _default.flush_sync(timeout)


async def flush(timeout: float | None = 10.0) -> bool:
    """Wait until everything logged so far is in its files; see :func:`flush_sync`."""
    return await _default.flush(timeout)


def stop_sync(timeout: float | None = None) -> Report:
    """Write out what is there, end the collector, and say what became of every record.

    Args:
        timeout: Seconds to wait at most; ``stop_timeout`` of the settings by default.
    """
    _end_sources()
    report = _default.stop_sync(timeout)
    _withdraw()
    return report


async def stop(timeout: float | None = None) -> Report:
    """Write out what is there and end the collector; see :func:`stop_sync`."""
    if _before_stop:
        await anyio.to_thread.run_sync(_end_sources)
    report = await _default.stop(timeout)
    _withdraw()
    return report


def stats(scope: Scope = "run") -> Stats:
    """Return the counters of the default pipeline so far; cheap, and never waits.

    Args:
        scope: ``"run"`` for all processes of the run on this machine, ``"process"`` for what this
            process alone has logged: to be added up over processes.
    """
    return _default.stats(scope)


def set_level(name: str | None, level: int | str) -> None:
    """Set the level of a logger and all below it, from now on.

    Args:
        name: Dotted name; None or "" for the level of all others.
        level: Name or number.

    Raises:
        SettingError: It is no level.
    """
    _default.set_level(name, level)


class running:
    """Keep the default pipeline started for a block, in ``with`` and ``async with``.

    Args:
        run_dir: Directory of the run, ``logs`` by default.
        **options: See :class:`~asynclog.PipelineOptions`.

    Attributes:
        report: After the block, what became of every record.
    """

    def __init__(
        self, run_dir: str | os.PathLike[str] | None = None, **options: Unpack[PipelineOptions]
    ) -> None:
        self._run_dir = run_dir
        self._options: PipelineOptions = options
        self.report: Report | None = None

    def __enter__(self) -> Self:
        """Start."""
        start_sync(self._run_dir, **self._options)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> Literal[False]:
        """Stop."""
        self.report = stop_sync()
        return False

    async def __aenter__(self) -> Self:
        """Start."""
        await start(self._run_dir, **self._options)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> Literal[False]:
        """Stop, also when cancelled."""
        with anyio.CancelScope(shield=True):
            await stop()
        self.report = stop_sync()
        return False


def reset() -> None:
    """Stop the default pipeline and begin with a new one; for tests."""
    global _default
    stop_sync()
    _default = Pipeline()


def show_early_records() -> None:
    """Show on stderr what was logged when the pipeline was never started."""
    ring = _default.producer.ring
    if ring is None or ring.path is not None or not ring.head:
        return
    from .sinks.render import render_plain

    text = render_plain(ring.read(ring.tail, ring.head))
    ring.tail = ring.head
    if sys.stderr is not None:  # pyright: ignore[reportUnnecessaryComparison]
        try:
            sys.stderr.write(text)
        except (OSError, ValueError):
            complain("records were logged, and the pipeline was never started")


def call_last(function: Callable[[], None]) -> None:
    """Have a function called at the end of the process, after all pipelines have stopped."""
    _last_calls.append(function)


def before_stop(function: Callable[[], None]) -> None:
    """Have a function called before the default pipeline stops, at exit as well."""
    if function not in _before_stop:
        _before_stop.append(function)


def no_longer_before_stop(function: Callable[[], None]) -> None:
    """Take back :func:`before_stop`."""
    if function in _before_stop:
        _before_stop.remove(function)


def _end_sources() -> None:
    while _before_stop:
        _before_stop.pop()()


def _at_exit() -> None:
    _end_sources()
    for pipeline in {*Pipeline.running(), _default}:
        pipeline.stop_at_exit()
    show_early_records()
    for function in _last_calls:
        function()


atexit.register(_at_exit)
_accept()
