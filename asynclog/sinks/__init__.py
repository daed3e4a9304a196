"""Where lines end up: the declarations that users write, and the sinks made of them."""

from __future__ import annotations

from .best import Best
from .console import Console
from .jsonl import JsonlFile
from .metrics_csv import MetricsCsv
from .metrics_jsonl import MetricsJsonl
from .mlflow import MLflow
from .nats import Nats
from .otlp import Otlp
from .reduced import Reduced
from .registry import from_data, to_data
from .tensorboard import TensorBoard
from .text import TextFile
from .wandb import Wandb

__all__ = [
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
    "from_data",
    "to_data",
]
