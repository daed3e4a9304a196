"""The standard library's ``logging`` and ``warnings`` as sources of events.

:func:`setup_logging` does all that a program needs in one call, :func:`setup_results_logging` for
one with a directory for each run. :class:`Handler` sends what any library logs into a pipeline,
:func:`capture_warnings` what Python warns of. :class:`JSONFormatter` is for those who stay with
handlers of their own.

:func:`setup_metric_logger` and the handlers it makes are for code that logs mappings of numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .formatter import JSONFormatter
from .handler import Handler
from .warning_events import capture_warnings

if TYPE_CHECKING:
    from .._flatten import flatten_dict
    from .metric_backends import MLflowHandler, TensorBoardHandler, WandbHandler
    from .metric_filters import FormatDictFilter, IsMappingFilter, IsRank0Filter
    from .metric_handlers import AsyncStructuredHandler
    from .metric_setup import propagate_package_logs, setup_metric_logger, setup_root_logger
    from .placeholders import substitute_placeholders
    from .results import setup_results_logging
    from .setup import setup_logging

__all__ = [
    "AsyncStructuredHandler",
    "FormatDictFilter",
    "Handler",
    "IsMappingFilter",
    "IsRank0Filter",
    "JSONFormatter",
    "MLflowHandler",
    "TensorBoardHandler",
    "WandbHandler",
    "capture_warnings",
    "flatten_dict",
    "propagate_package_logs",
    "setup_logging",
    "setup_metric_logger",
    "setup_results_logging",
    "setup_root_logger",
    "substitute_placeholders",
]

_LATER = {
    "AsyncStructuredHandler": "asynclog.stdlib.metric_handlers",
    "FormatDictFilter": "asynclog.stdlib.metric_filters",
    "IsMappingFilter": "asynclog.stdlib.metric_filters",
    "IsRank0Filter": "asynclog.stdlib.metric_filters",
    "MLflowHandler": "asynclog.stdlib.metric_backends",
    "TensorBoardHandler": "asynclog.stdlib.metric_backends",
    "WandbHandler": "asynclog.stdlib.metric_backends",
    "flatten_dict": "asynclog._flatten",
    "propagate_package_logs": "asynclog.stdlib.metric_setup",
    "setup_logging": "asynclog.stdlib.setup",
    "setup_metric_logger": "asynclog.stdlib.metric_setup",
    "setup_results_logging": "asynclog.stdlib.results",
    "setup_root_logger": "asynclog.stdlib.metric_setup",
    "substitute_placeholders": "asynclog.stdlib.placeholders",
}
"""Modules of what is imported when it is asked for."""


def __getattr__(name: str) -> Any:
    # The sinks take longer to import than all the rest; a logging configuration needs none.
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LATER[name]), name)
