"""Async-native structured logging: a call never blocks, never raises, and is never lost silently.

Start a pipeline with :func:`start` (or :func:`start_sync`), log with ``structlog.get_logger`` or
:func:`get_logger`, and end it with :func:`stop`, which says what became of every record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._lifecycle import (
    configure,
    flush,
    flush_sync,
    get_logger,
    running,
    set_level,
    start,
    start_sync,
    stats,
    stop,
    stop_sync,
)
from ._logger.catch import catch
from ._logger.lazy import lazy
from ._logger.system import BoundLogger
from ._rank import RankInfo, rank_info
from ._settings import PipelineOptions
from .collector.stats import Report, SinkReport, SinkStats, Stats
from .exceptions import (
    AlreadyStartedError,
    AsynclogError,
    MissingExtraError,
    SettingError,
    SpoolError,
)
from .metrics import (
    log_artifact,
    log_histogram,
    log_image,
    log_metrics,
    log_params,
    log_text,
)
from .pipeline import Pipeline

if TYPE_CHECKING:
    from ._sweep import sweep_params
    from .experiment import (
        get_best_metric,
        log_every,
        set_timers,
        should_run,
        stage,
        timer,
    )
    from .sinks import (
        Best,
        Console,
        JsonlFile,
        MetricsCsv,
        MetricsJsonl,
        MLflow,
        Nats,
        Otlp,
        Reduced,
        TensorBoard,
        TextFile,
        Wandb,
    )

__version__ = "0.1.0"

__all__ = [
    "AlreadyStartedError",
    "AsynclogError",
    "Best",
    "BoundLogger",
    "Console",
    "JsonlFile",
    "MLflow",
    "MetricsCsv",
    "MetricsJsonl",
    "MissingExtraError",
    "Nats",
    "Otlp",
    "Pipeline",
    "PipelineOptions",
    "RankInfo",
    "Reduced",
    "Report",
    "SettingError",
    "SinkReport",
    "SinkStats",
    "SpoolError",
    "Stats",
    "TensorBoard",
    "TextFile",
    "Wandb",
    "__version__",
    "catch",
    "configure",
    "flush",
    "flush_sync",
    "get_best_metric",
    "get_logger",
    "lazy",
    "log_artifact",
    "log_every",
    "log_histogram",
    "log_image",
    "log_metrics",
    "log_params",
    "log_text",
    "rank_info",
    "running",
    "set_level",
    "set_timers",
    "should_run",
    "stage",
    "start",
    "start_sync",
    "stats",
    "stop",
    "stop_sync",
    "sweep_params",
    "timer",
]

_SINKS = frozenset(
    (
        "Best",
        "Console",
        "JsonlFile",
        "MLflow",
        "MetricsCsv",
        "MetricsJsonl",
        "Nats",
        "Otlp",
        "Reduced",
        "TensorBoard",
        "TextFile",
        "Wandb",
    )
)

_EXPERIMENT = frozenset(
    ("get_best_metric", "log_every", "set_timers", "should_run", "stage", "timer")
)


def __getattr__(name: str) -> Any:
    # The sinks take a quarter of the import, and a library that only logs needs none.
    if name in _SINKS:
        from . import sinks

        return getattr(sinks, name)
    if name in _EXPERIMENT:
        from . import experiment

        return getattr(experiment, name)
    if name == "sweep_params":
        from ._sweep import sweep_params

        return sweep_params
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
