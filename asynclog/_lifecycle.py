"""The default pipeline behind the module functions: its start, flush and stop, and the exit."""

from __future__ import annotations

import atexit
import os
import sys
from types import TracebackType
from typing import Any, Literal, Self, Unpack

from ._complain import complain
from ._logger.system import BoundLogger, configure_structlog
from ._settings import PipelineOptions
from .collector.stats import Report, Stats
from .pipeline import Pipeline

_default = Pipeline()


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
    if run_dir is not None or options or _default.run_dir is None:
        configure(run_dir, **options)
    else:
        configure_structlog(_default.loggers, chosen=False)
    return _default.start_sync()


async def start(
    run_dir: str | os.PathLike[str] | None = None, **options: Unpack[PipelineOptions]
) -> Pipeline:
    """Start the default pipeline on asyncio or trio; see :func:`start_sync`."""
    if run_dir is not None or options or _default.run_dir is None:
        configure(run_dir, **options)
    else:
        configure_structlog(_default.loggers, chosen=False)
    return await _default.start()


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
    return _default.stop_sync(timeout)


async def stop(timeout: float | None = None) -> Report:
    """Write out what is there and end the collector; see :func:`stop_sync`."""
    return await _default.stop(timeout)


def stats() -> Stats:
    """Return the counters of the default pipeline so far."""
    return _default.stats()


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
        await _default.__aexit__(exc_type, exc, traceback)
        self.report = stop_sync()
        return False


def reset() -> None:
    """Stop the default pipeline and begin with a new one; for tests."""
    global _default
    _default.stop_sync()
    _default = Pipeline()


def _show_early_records() -> None:
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


def _at_exit() -> None:
    for pipeline in Pipeline.running():
        pipeline.stop_at_exit()
    _show_early_records()


atexit.register(_at_exit)
