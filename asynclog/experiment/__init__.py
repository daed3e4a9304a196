"""Helpers for experiments: stages, timers, best values; ExperimentLogger has them all."""

from __future__ import annotations

from .eta import Eta, Progress
from .helpers import get_best_metric, log_every, set_timers, should_run, stage, timer
from .logger import ExperimentLogger

__all__ = [
    "Eta",
    "ExperimentLogger",
    "Progress",
    "get_best_metric",
    "log_every",
    "set_timers",
    "should_run",
    "stage",
    "timer",
]
