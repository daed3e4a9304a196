"""Set-up of code that logs mappings of numbers: where they go, and what the console shows."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, cast

from .._levels import WARNING
from .._lifecycle import default_pipeline
from .._line.plain import type_of
from ..exceptions import SettingError
from ..processors.format_dict import format_mapping
from ..sinks.settings import check_flag
from . import install
from .handler import Handler
from .levels import level_number
from .metric_backends import MLflowHandler, TensorBoardHandler, WandbHandler
from .metric_filters import IsMappingFilter, IsRank0Filter
from .metric_handlers import (
    DEFAULT_FILE_TEMPLATE,
    AsyncStructuredHandler,
    MetricHandler,
    checked_directory,
)
from .placeholders import DEFAULT_TEMPLATE, substitute_times
from .switch import is_ours

DEFAULT_LOGGER: Final = "asynclog.metrics"
PACKAGE: Final = "asynclog"
_TYPES: Final[dict[str, type[MetricHandler]]] = {
    "async": AsyncStructuredHandler,
    "tensorboard": TensorBoardHandler,
    "wandb": WandbHandler,
    "mlflow": MLflowHandler,
}


class _SetUp(NamedTuple):
    """What was asked for, and what was made of it."""

    wanted: tuple[str, tuple[str, ...], str | None]
    handlers: list[MetricHandler]


_set_up: dict[str, _SetUp] = {}
"""The last call for each logger."""


def setup_metric_logger(
    output_dir: str | os.PathLike[str],
    logger_type: str | Iterable[str] = "async",
    run_name: str | None = None,
    logger: str = DEFAULT_LOGGER,
) -> logging.Logger:
    """Have the mappings that a logger of :mod:`logging` gets recorded, at level INFO and above.

    Called again with the same arguments it does nothing; with others, it ends the runs of the call
    before and begins new ones. Nothing is written before the first mapping.

    Backends get the records of rank 0, and so does the file when ``run_name`` is given without
    ``{rank}``.

    Args:
        output_dir: ``log_dir`` of the handlers.
        logger_type: Where to: ``"async"`` for a JSONL file, ``"tensorboard"``, ``"wandb"`` and
            ``"mlflow"``; several in a list, or separated by commas. Projects, servers and the like
            are told by the backends' own variables (``WANDB_PROJECT``, ``MLFLOW_TRACKING_URI``).
        run_name: Name of the run, with the placeholders of :func:`substitute_placeholders`. By
            default the file is ``training_params_and_metrics_global{rank}.jsonl``, and backends
            get ``{time}_rank{rank}``.
        logger: Name of the logger. Its records go on to the loggers above it as well.

    Returns:
        The logger.

    Raises:
        SettingError: An argument breaks its rule.
        MissingExtraError: A backend's package is not installed.
    """
    name: Any = logger
    if not isinstance(name, str) or not name:
        raise SettingError("logger", "must be the name of a logger", name)
    types = _types_of(logger_type)
    checked_directory(output_dir, "output_dir")
    wanted = (os.path.abspath(output_dir), types, run_name)
    target = logging.getLogger(logger)
    before = _set_up.get(logger)
    ours = [] if before is None else before.handlers
    if before is None or before.wanted != wanted or not set(ours) <= set(target.handlers):
        now = datetime.now(UTC)
        names = {kind: substitute_times(_name_for(kind, run_name), now) for kind in types}
        handlers = [_handler(kind, output_dir, run_name) for kind, run_name in names.items()]
        for handler in ours:
            target.removeHandler(handler)
            handler.close()
        for handler in handlers:
            target.addHandler(handler)
        _set_up[logger] = _SetUp(wanted, handlers)
    target.setLevel(logging.INFO)
    propagate_package_logs()
    return target


def setup_root_logger(
    level: int | str = "INFO", rank: int | None = None, local_rank: bool = False
) -> None:
    """Have everything that is logged shown on stderr, with mappings as people read them.

    As :func:`setup_logging`, with two differences: a mapping is shown as ``loss=0.123,
    lr=1.00e-04``, and ranks other than 0 show nothing below a warning. If the default pipeline is
    started already, it is left as it is, and gets what is logged. A second call only changes what
    was asked for.

    Args:
        level: Level of the root logger.
        rank: Rank of this process; told as :class:`IsRank0Filter` is by default.
        local_rank: Go by the rank on this machine, so that one process of each machine shows all.

    Raises:
        SettingError: An argument breaks its rule.
    """
    number = level_number(level)
    quiet = _QuietRanks(rank, local_rank)
    root = logging.getLogger()
    pipeline = default_pipeline()
    if pipeline.started and not is_ours(pipeline):
        root.setLevel(number)
    else:
        from .setup import console_of, set_up

        # which ranks are shown is the handler's business here
        console = replace(console_of(None, None, None, False), ranks="all")
        set_up(None, None, console, number, {})
    for handler in root.handlers[:]:
        if _is_for_default(handler):
            root.removeHandler(handler)
    handler = _ReadableHandler()
    handler.addFilter(quiet)
    root.addHandler(handler)
    # so that setup_logging finds it, and adds no other
    install._handler = handler
    propagate_package_logs()


def propagate_package_logs(enabled: bool = True, package: str = PACKAGE) -> None:
    """Have a package's records go on to the root logger, or not.

    Args:
        enabled: Whether they do.
        package: Name of the package's logger.

    Raises:
        SettingError: ``enabled`` is neither True nor False.
    """
    check_flag(enabled, "enabled")
    logging.getLogger(package).propagate = enabled


class _QuietRanks(IsRank0Filter):
    """Lets warnings of all ranks pass, and all records of rank 0."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= WARNING or super().filter(record)


class _ReadableHandler(Handler):
    """Sends the text of a mapping instead of its items."""

    def _emit(self, record: logging.LogRecord, problem: Exception | None) -> None:
        message: Any = record.msg
        if type_of(message) is not str and IsMappingFilter().filter(record):
            record = copy.copy(record)
            record.msg = format_mapping(message)
        super()._emit(record, problem)


def _is_for_default(handler: logging.Handler) -> bool:
    return isinstance(handler, Handler) and handler.pipeline is default_pipeline()


def _types_of(value: Any) -> tuple[str, ...]:
    rule = f"must name some of {', '.join(map(repr, _TYPES))}"
    hint = 'Write e.g. logger_type="async,tensorboard"'
    given: Any = value.split(",") if isinstance(value, str) else value
    try:
        names: list[Any] = list(given)
    except TypeError:
        names = []
    types = dict.fromkeys(name.strip() if isinstance(name, str) else None for name in names)
    known = tuple(name for name in types if name in _TYPES)
    if not known or len(known) < len(types):
        raise SettingError("logger_type", rule, value, hint)
    return known


def _name_for(kind: str, run_name: str | None) -> str:
    if run_name is None:
        return DEFAULT_FILE_TEMPLATE if kind == "async" else DEFAULT_TEMPLATE
    return run_name


def _handler(kind: str, output_dir: Any, run_name: str) -> MetricHandler:
    handler = cast("Any", _TYPES[kind])(run_name=run_name, log_dir=output_dir)
    handler.addFilter(IsMappingFilter())
    if kind != "async" or "{rank}" not in run_name:
        handler.addFilter(IsRank0Filter())
    return handler
