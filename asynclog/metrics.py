"""Metrics, hyperparameters and media of the default pipeline, as functions.

They are the methods of :class:`~asynclog.BoundLogger`, on a logger without a name.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from ._lifecycle import default_pipeline
from ._logger.media import DEFAULT_BINS
from ._logger.system import BoundLogger
from .pipeline import Pipeline

__all__ = [
    "log_artifact",
    "log_histogram",
    "log_image",
    "log_metrics",
    "log_params",
    "log_text",
]

_known: tuple[Pipeline, BoundLogger] | None = None


def log_metrics(
    metrics: Mapping[str, Any],
    *,
    step: int | None = None,
    split: str | None = None,
    track_best: bool = True,
    mode: Literal["min", "max"] | None = None,
    show: bool = False,
) -> None:
    """Log numbers of a step; see :meth:`BoundLogger.log_metrics`.

    Args:
        metrics: Numbers by name; nested mappings get names with ``/``.
        step: Step of the run; 0 is one.
        split: ``"train"``, ``"val"``, ...
        track_best: Whether the best of these values are kept track of.
        mode: ``"min"`` or ``"max"`` for what is best; guessed from the name by default.
        show: Whether the console shows the record, too.
    """
    _logger().log_metrics(
        metrics, step=step, split=split, track_best=track_best, mode=mode, show=show
    )


def log_params(
    params: Any, metrics: Mapping[str, Any] | None = None, *, show: bool = False
) -> None:
    """Log the hyperparameters of a run; see :meth:`BoundLogger.log_params`.

    Args:
        params: A mapping, which may be nested; also a dataclass or an ``argparse.Namespace``.
        metrics: What came of them in the end, for tables that compare runs.
        show: Whether the console shows the record, too.
    """
    _logger().log_params(params, metrics, show=show)


def log_text(
    name: str,
    text: str,
    *,
    step: int | None = None,
    split: str | None = None,
    show: bool = False,
) -> None:
    """Log a text that belongs to a run; see :meth:`BoundLogger.log_text`.

    Args:
        name: Its name, as of a metric.
        text: The text; beyond ``max_event_bytes`` it is shortened.
        step: Step of the run.
        split: ``"train"``, ``"val"``, ...
        show: Whether the console shows the record, too.
    """
    _logger().log_text(name, text, step=step, split=split, show=show)


def log_image(
    name: str,
    image: Any,
    *,
    caption: str | None = None,
    step: int | None = None,
    split: str | None = None,
    show: bool = False,
) -> None:
    """Log an image; see :meth:`BoundLogger.log_image`.

    Args:
        name: Its name, as of a metric; ``/`` makes directories.
        image: An array, a tensor on the CPU, a PIL image, or a PNG or JPEG file.
        caption: A text that goes with it.
        step: Step of the run.
        split: ``"train"``, ``"val"``, ...
        show: Whether the console shows the record, too.
    """
    _logger().log_image(name, image, caption=caption, step=step, split=split, show=show)


def log_histogram(
    name: str,
    values: Any,
    *,
    step: int | None = None,
    split: str | None = None,
    bins: int = DEFAULT_BINS,
    show: bool = False,
) -> None:
    """Log how many values are distributed; see :meth:`BoundLogger.log_histogram`.

    Args:
        name: Its name, as of a metric.
        values: Numbers in an array, in a tensor on the CPU, or any iterable.
        step: Step of the run.
        split: ``"train"``, ``"val"``, ...
        bins: Number of bins, 1 to 512.
        show: Whether the console shows the record, too.
    """
    _logger().log_histogram(name, values, step=step, split=split, bins=bins, show=show)


def log_artifact(
    path: str | os.PathLike[str],
    name: str | None = None,
    type: str = "artifact",
    aliases: Iterable[str] = (),
    registry: str | None = None,
    *,
    show: bool = False,
) -> None:
    """Log that a file or directory belongs to the run; see :meth:`BoundLogger.log_artifact`.

    Args:
        path: The file or directory; it is not copied.
        name: Its name in the backends; the file's by default.
        type: ``"model"``, ``"dataset"``, ...
        aliases: Further names of this version, ``"best"`` for instance.
        registry: Registry that the backend shall link it to.
        show: Whether the console shows the record, too.
    """
    _logger().log_artifact(path, name, type, aliases, registry, show=show)


def _logger() -> BoundLogger:
    """Return the logger without a name of the pipeline that is the default one now."""
    global _known
    known, pipeline = _known, default_pipeline()
    if known is None or known[0] is not pipeline:
        known = _known = (pipeline, pipeline.get_logger())
    return known[1]
