"""ExperimentLogger: one object for an experiment, with its files, metrics, stages and timers.

All of it is made of parts that exist by themselves; how they work is their business.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Hashable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self, cast

import anyio

from .._best import BestValue, Mode, best_key
from .._logger.bound import BoundLogger
from .._logger.every import Every, Intervals, key_of
from .._logger.numbers import bounded, integer_of
from .._logger.stages import Stage, Timer
from .._rank import rank_from_environment
from .._settings import PipelineOptions
from ..collector.stats import Report
from ..pipeline import Pipeline
from ..sinks import Best, Console, JsonlFile, MetricsCsv
from ..sinks.small_file import write_atomically
from ..sinks.template import check_template
from .context import Bound
from .deprecated import due, warn
from .eta import Eta
from .handover import Handover
from .metadata import to_json
from .text import ExperimentText, console_text, on_console

if TYPE_CHECKING:
    from .._settings import AnySink

METADATA: Final = "metadata.json"


class ExperimentLogger:
    """Logs one experiment into files of its own; several can live in one process.

    In the run directory: ``exp.log`` for people, ``events.jsonl`` with every record,
    ``metrics.csv``, and ``best.json``; ranks above 0 write ``exp_rank1.log`` and so on. A run
    directory that is there is gone on with. No call waits for a file or raises, and what was
    logged before a ``kill -9`` is in the files after the next start, once.

    Safe for threads and tasks: a stage holds where it was entered and in the tasks begun there.

    Args:
        run_dir: Directory of the run; made if it is not there.
        rank: Global rank of this process; told from the environment by default.
        run_id: Put into every record as ``run_id``.
        log_level: Lowest level that is logged; ``ASYNCLOG_LEVEL`` or ``"INFO"`` by default.
        console_output: Whether rank 0 is shown on stdout.
        sinks: Further sinks, such as backends for metrics.

    Raises:
        SettingError: An argument breaks its rule, or the directory cannot be written.
    """

    def __init__(
        self,
        run_dir: str | os.PathLike[str],
        rank: int | None = None,
        run_id: str | None = None,
        log_level: int | str | None = None,
        console_output: bool | None = None,
        *,
        sinks: Sequence[AnySink] = (),
    ) -> None:
        told = rank_from_environment()
        self._run_dir = Path(run_dir)
        self._rank = (told or 0) if rank is None else rank
        self._run_id = run_id
        own: list[AnySink] = [JsonlFile(), ExperimentText(), MetricsCsv(), Best(), *sinks]
        if console_output is None or console_output:
            own.append(Console("stdout", filter=on_console, format=console_text))
        options: PipelineOptions = {"sinks": own}
        if log_level is not None:
            options["level"] = log_level
        self._pipeline = Pipeline(self._run_dir, **options)
        if self._rank != (told or 0):
            self._pipeline._rank = self._rank
        context: dict[str, Any] = {}
        if run_id is not None:
            context["run_id"] = run_id
        if self._rank or told is not None:
            context["rank"] = self._rank
        log = self._pipeline.get_logger(**context)
        self._current: ContextVar[BoundLogger] = ContextVar("asynclog_experiment", default=log)
        self._intervals = Intervals()
        self._eta = Eta()
        self._handover = Handover()
        self._pipeline.start_sync()

    @property
    def run_dir(self) -> Path:
        """Directory of the run."""
        return self._run_dir

    @property
    def rank(self) -> int:
        """Global rank of this process."""
        return self._rank

    @property
    def run_id(self) -> str | None:
        """What names the run in every record."""
        return self._run_id

    @property
    def log_handler(self) -> logging.Handler | None:
        """A handler of the :mod:`logging` module that gets the messages, too; None at first.

        It runs in a thread of its own, and is closed with the logger. ``exp.log`` is written
        anyway. With a handler, a call costs some microseconds more.
        """
        return self._handover.handler

    @log_handler.setter
    def log_handler(self, handler: logging.Handler | None) -> None:
        self._handover.assign(handler)
        if handler is not None:
            self._pipeline.loggers.processors[-1] = self._handover

    # Messages

    def debug(self, message: object, *args: Any, **fields: Any) -> None:
        """Log ``message % args`` with fields at level debug."""
        self._current.get().debug(message, *args, **fields)

    def info(self, message: object, *args: Any, **fields: Any) -> None:
        """Log ``message % args`` with fields at level info."""
        self._current.get().info(message, *args, **fields)

    def warning(self, message: object, *args: Any, **fields: Any) -> None:
        """Log ``message % args`` with fields at level warning."""
        self._current.get().warning(message, *args, **fields)

    def error(self, message: object, *args: Any, **fields: Any) -> None:
        """Log ``message % args`` with fields at level error."""
        self._current.get().error(message, *args, **fields)

    def log(self, message: object, level: int | str = "INFO", **fields: Any) -> None:
        """Log a message with fields at any level."""
        self._current.get().log(level, message, **fields)

    def log_dict(self, data: Mapping[str, Any], level: int | str = "INFO") -> None:
        """Log a mapping as the fields of one record, off the console.

        Args:
            data: The fields; the text of an item called ``message`` or ``event`` is the record's.
            level: Of the record.
        """
        fields: dict[str, Any] = {"quiet": True}
        fields.update((_text_of(name), value) for name, value in _items(data))
        text = fields.pop("event", None) or fields.pop("message", "")
        self._current.get().log(level, text, **fields)

    def set_log_level(self, level: int | str) -> None:
        """Log from this level on.

        Raises:
            SettingError: It is no level.
        """
        self._pipeline.set_level(None, level)

    # Metrics

    def log_metric(
        self,
        step: int | None,
        split: str | None,
        name: str,
        value: Any,
        track_best: bool = True,
        mode: Mode | None = None,
        total_steps: int | None = None,
        eta_key: str | None = None,
    ) -> None:
        """Log one value of a metric; some microseconds, also for one that is still on a GPU.

        Args:
            step: Step of the run.
            split: ``"train"``, ``"val"``, ...
            name: Of the metric.
            value: A number, or a one-element tensor or array.
            track_best: Whether the best value is kept track of.
            mode: ``"min"`` or ``"max"`` for what is best; guessed from the name by default.
            total_steps: Last step: how far the run is and how long it will take is then logged
                every twentieth of the way.
            eta_key: What names the loop whose pace is measured; split and name by default.
        """
        log, name = self._current.get(), _text_of(name)
        log.log_metrics({name: value}, step=step, split=split, track_best=track_best, mode=mode)
        if total_steps is not None:
            self._log_progress(log, eta_key, name, split, step, total_steps)

    def _log_progress(
        self, log: BoundLogger, key: Any, name: str, split: Any, step: Any, total_steps: Any
    ) -> None:
        try:
            metric = best_key(name, split)
            at, of = integer_of(step), integer_of(total_steps)
        except Exception:
            # it is the metric that matters, and its record says what is wrong
            return
        if not isinstance(at, int) or not isinstance(of, int):
            return
        progress = self._eta.update(metric if key is None else _text_of(key), at, of)
        if progress is not None:
            log.info(
                f"Progress [{metric}]: {progress}",
                step=at,
                progress=progress.percent,
                eta_seconds=progress.remaining,
                elapsed_seconds=progress.elapsed,
            )

    def get_best_metric(self, name: str, split: str | None = "val") -> BestValue | None:
        """Return the best value of a metric: ``value``, ``step`` and ``mode``; None without one.

        What best.json said when the logger was made counts as well.

        Args:
            name: Of the metric.
            split: The split it was logged with, None for none.
        """
        return self._pipeline.loggers.best.get(best_key(name, split))

    # Stages, timers, intervals

    def stage(self, name: str, **metadata: Any) -> Stage:
        """Name a stage, for ``with`` and ``async with``: its records carry its path.

        Args:
            name: Its name.
            **metadata: What there is to say of it, in its first and last record.

        Returns:
            An object with ``name``, ``path``, ``metadata`` and ``elapsed``, by attribute or key.
        """
        return Stage(self._current.get(), name, metadata, Bound(self._current, "stage"))

    def timer(self, name: str, log_result: bool = True) -> Timer:
        """Measure how long a block takes, for ``with`` and ``async with``.

        ``asynclog.set_timers(False)`` and ``ASYNCLOG_TIMER=0`` switch all timers off.

        Args:
            name: What it measures.
            log_result: Whether to log how long it took.

        Returns:
            An object with ``name`` and ``elapsed``, by attribute or key.
        """
        return Timer(self._current.get(), name, log_result)

    def log_every(
        self,
        every: int | None = None,
        seconds: float | str | None = None,
        key: Hashable | None = None,
    ) -> Every:
        """Keep the lines of a block off the console but for every N-th time, or every S seconds.

        For ``with`` and ``async with``; yields whether it is time. Files get all lines.

        Args:
            every: Show every so many times.
            seconds: Show every so many seconds.
            key: What is counted together; by default each place in the program by itself.

        Raises:
            SettingError: Neither ``every`` nor ``seconds`` was given, or both; on entering.
        """
        site = key_of(key, sys._getframe(1))
        return Every((every, seconds), site, self._intervals, Bound(self._current, "quiet"))

    def should_run(
        self,
        every: int | None = None,
        seconds: float | str | None = None,
        key: Hashable | None = None,
    ) -> bool:
        """Tell whether it is the N-th time, or S seconds later; the first time it is.

        Args:
            every: Every so many times.
            seconds: Every so many seconds.
            key: What is counted together; by default each place in the program by itself.

        Raises:
            SettingError: Neither ``every`` nor ``seconds`` was given, or both.
        """
        return self._intervals.due(every, seconds, key_of(key, sys._getframe(1)))

    def do_every(
        self,
        every: int | None = None,
        seconds: float | str | None = None,
        key: Hashable | None = None,
    ) -> AbstractContextManager[bool]:
        """Yield whether it is time; deprecated, use :meth:`should_run`."""
        warn("do_every", "should_run")
        return due(self._intervals, every, seconds, key_of(key, sys._getframe(1)))

    def profile(self, name: str, log_result: bool = True, **_: Any) -> Timer:
        """Measure how long a block takes; deprecated, use :meth:`timer`."""
        warn("profile", "timer")
        return self.timer(name, log_result)

    # Files and the end

    def save_metadata(self, metadata: Mapping[str, Any], filename: str = METADATA) -> None:
        """Write a mapping as JSON into a file of the run directory, at once.

        Args:
            metadata: What to write; what JSON cannot express becomes text.
            filename: Of the file; what is there is replaced.

        Raises:
            SettingError: The file would lie outside of the run directory.
            OSError: It cannot be written.
        """
        path = self._run_dir / check_template(filename, "filename")
        write_atomically(path, to_json(metadata))

    def flush(self, timeout: float | None = 10.0) -> bool:
        """Wait until everything logged so far is in the files; say whether it is.

        Args:
            timeout: Seconds to wait at most, None for no bound.
        """
        return self._pipeline.flush_sync(timeout)

    def close(self) -> Report:
        """Write out what is there and end; return what became of every record."""
        report = self._pipeline.stop_sync()
        self._handover.close()
        return report

    async def aclose(self) -> Report:
        """Write out what is there and end, without blocking the event loop."""
        return await anyio.to_thread.run_sync(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> Literal[False]:
        """Close."""
        self.close()
        return False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> Literal[False]:
        """Close, also when cancelled."""
        with anyio.CancelScope(shield=True):
            await self.aclose()
        return False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {str(self._run_dir)!r} rank {self._rank}>"


def _text_of(name: object) -> str:
    """Return a name as text; whatever it is, it does not raise."""
    return name if type(name) is str else bounded(name)


def _items(data: Any) -> Iterable[tuple[object, Any]]:
    return cast("Mapping[object, Any]", data).items() if isinstance(data, Mapping) else ()
