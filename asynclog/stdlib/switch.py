"""The default pipeline, started or started anew with other settings, while others go on logging."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .._lifecycle import configure, default_pipeline
from .._settings import AnySink, PipelineOptions, Settings
from ..intake.kept import Kept
from ..pipeline import Pipeline

_ours: Settings | None = None
"""With what the default pipeline was started here; by identity, since users start it, too."""


def use(run_dir: Path | None, sinks: Sequence[AnySink], level: int | None) -> int:
    """Have the default pipeline run with these; return the level of all loggers.

    Args:
        run_dir: Directory of the run; None for ``ASYNCLOG_RUN_DIR``.
        sinks: Where the records go.
        level: Of all loggers; None for ``ASYNCLOG_LEVEL`` or the default.

    Raises:
        SettingError: One of them, or an ``ASYNCLOG_*`` variable, breaks its rule.
        AlreadyStartedError: The program itself has started the pipeline, with other settings.
        Exception: A sink could not be opened; what ran before runs again.
    """
    global _ours
    pipeline = default_pipeline()
    before = pipeline._settings
    options: PipelineOptions = {"sinks": sinks}
    if level is not None:
        options["level"] = level
    wanted = Settings.read(run_dir, default_sinks=(), **options)
    if not pipeline.started or before is None or before is not _ours:
        try:
            configure(run_dir, **options)
            pipeline.start_sync()
        except BaseException:
            pipeline._settings = before
            raise
        _ours = pipeline._settings
    elif (wanted.run_dir, wanted.sinks) != (before.run_dir, before.sinks):
        kept = Kept(pipeline.producer)
        try:
            pipeline.stop_sync()
            try:
                configure(run_dir, **options)
                pipeline.start_sync()
            except BaseException:
                pipeline._settings = before
                pipeline.start_sync()
                raise
        finally:
            _ours = pipeline._settings
            kept.put()
    return wanted.level


def is_ours(pipeline: Pipeline) -> bool:
    """Tell whether a pipeline has the settings with which it was started here."""
    return _ours is not None and pipeline._settings is _ours
