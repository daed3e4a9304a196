"""MLflow: what is logged as metrics, in a run of an MLflow tracking server."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ...exceptions import SettingError
from ..backend import redacted, text_or_none
from ..settings import Ranks, check_flag, check_ranks

if TYPE_CHECKING:
    from .sink import MLflowSink


@dataclass(frozen=True)
class MLflow:
    """Send what is logged as metrics to an MLflow tracking server.

    Metrics are ``split/name``; parameters, texts, images and artifacts go along, histograms do not:
    MLflow has none. The next start of the same run directory goes on with the same MLflow run.
    Where MLflow has an active run when this is made, in the same thread, that run is used and left
    to whoever has started it. User, password and token come from the environment. Needs
    ``asynclog[mlflow]``.

    Args:
        tracking_uri: Address of the server; else what ``mlflow.set_tracking_uri`` was given,
            ``MLFLOW_TRACKING_URI``, or MLflow's default.
        experiment: Name of the experiment, made where there is none; else
            ``MLFLOW_EXPERIMENT_NAME``, ``MLFLOW_EXPERIMENT_ID``, or MLflow's default.
        run_name: Name of the run; that of the run directory by default.
        run_id: Identifier of a run that exists; else that of the active run, ``MLFLOW_RUN_ID``,
            that of the start before, or a new one.
        end_run: Whether the run ends with the process; left to others where it was active.
        ranks: ``"zero"``: rank 0 and processes without a rank. ``"all"``: all, with names such as
            ``rank1/train/loss`` for ranks above 0.
    """

    tracking_uri: str | None = None
    experiment: str | None = None
    run_name: str | None = None
    run_id: str | None = None
    end_run: bool | None = None
    ranks: Ranks = "zero"
    name: ClassVar[str] = "mlflow"
    heavy: ClassVar[bool] = True
    follows: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the settings; take over what MLflow in this process knows.

        Raises:
            SettingError: One of them breaks its rule.
        """
        for setting in ("tracking_uri", "experiment", "run_name", "run_id"):
            text_or_none(getattr(self, setting), setting)
        if self.end_run is not None:
            check_flag(self.end_run, "end_run")
        check_ranks(self.ranks)
        if (mlflow := sys.modules.get("mlflow")) is not None:
            self._take_over(mlflow)
        if self.tracking_uri is not None and redacted(self.tracking_uri) != self.tracking_uri:
            raise SettingError(
                "tracking_uri",
                "must hold no password",
                redacted(self.tracking_uri),
                "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead",
            )
        if self.end_run is None:
            object.__setattr__(self, "end_run", True)

    def make(self) -> MLflowSink:
        """Make the sink."""
        from .sink import MLflowSink

        return MLflowSink(self)

    def _take_over(self, mlflow: Any) -> None:
        """Take address and active run from MLflow as the program has set it up."""
        try:
            address = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
            active = mlflow.active_run()
        except AttributeError:
            # half imported, or somebody's module of the same name
            return
        # The collector reads the environment itself.
        if self.tracking_uri is None and address != os.environ.get("MLFLOW_TRACKING_URI"):
            object.__setattr__(self, "tracking_uri", address)
        if self.run_id is None and active is not None:
            object.__setattr__(self, "run_id", active.info.run_id)
            if self.end_run is None:
                object.__setattr__(self, "end_run", False)
