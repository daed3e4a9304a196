"""The handlers that send mappings of numbers, logged through :mod:`logging`, to backends."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ..exceptions import MissingExtraError, SettingError
from .metric_handlers import DEFAULT_LOG_DIR, MetricHandler, literal
from .metric_run import RECORDS
from .placeholders import DEFAULT_TEMPLATE

if TYPE_CHECKING:
    from ..sinks.wandb import Mode, Resume
    from ..typing import SinkDeclaration


class BackendHandler(MetricHandler):
    """What the handlers of backends have in common; see :class:`MetricHandler`.

    Records wait in a file of their own until the backend has them.
    """

    def __init__(
        self,
        level: int | str,
        run_name: str | None,
        log_dir: str | os.PathLike[str],
        kind: str,
    ) -> None:
        super().__init__(level, run_name, log_dir, DEFAULT_TEMPLATE, kind)
        self._declare()

    def _sinks(self) -> Sequence[SinkDeclaration]:
        from ..sinks import JsonlFile

        return [JsonlFile(RECORDS), self._declare()]

    def _declare(self) -> SinkDeclaration:
        raise NotImplementedError

    def _needs(self, package: str, extra: str) -> None:
        if find_spec(package) is None:
            raise MissingExtraError(type(self).__name__, package, extra)


class TensorBoardHandler(BackendHandler):
    """Shows mappings in TensorBoard: event files in the directory ``<log_dir>/<run_name>``.

    ``extra={"step": i}`` is the step, ``extra={"hparams": True}`` makes hyperparameters of a
    mapping, and texts are shown as such. Needs ``asynclog[tensorboard]``.

    Args:
        level: Lowest level it takes, a name or number.
        run_name: Name of the run; placeholders are those of :func:`substitute_placeholders`.
        log_dir: Directory that holds those of all runs; made with the first record.

    Raises:
        SettingError: An argument breaks its rule.
        MissingExtraError: tensorboardX is not installed.
    """

    def __init__(
        self,
        level: int | str = logging.INFO,
        run_name: str | None = None,
        log_dir: str | os.PathLike[str] = DEFAULT_LOG_DIR,
    ) -> None:
        super().__init__(level, run_name, log_dir, "tensorboard")
        self._needs("tensorboardX", "tensorboard")

    def _prepare(self) -> None:
        self._whole.mkdir(parents=True, exist_ok=True)

    def _declare(self) -> SinkDeclaration:
        from .metric_sinks import TensorBoardBeside

        return TensorBoardBeside(literal(self._whole.name), ranks="all")


class WandbHandler(BackendHandler):
    """Sends mappings to a run of Weights & Biases; its files lie in ``<log_dir>/<run_name>``.

    ``extra={"step": i}`` is what the values are drawn over, ``extra={"hparams": True}`` adds a
    mapping to the run's config, and texts are tables. All other arguments are those of
    :class:`asynclog.Wandb`. Needs ``asynclog[wandb]``.

    Args:
        level: Lowest level it takes, a name or number.
        run_name: Name of the run; placeholders are those of :func:`substitute_placeholders`.
        log_dir: Directory that holds those of all runs; made with the first record.
        project: See :class:`asynclog.Wandb`, also for what follows.
        entity: User or team.
        group: Group of runs that this one belongs to.
        tags: Tags of the run.
        config: Parameters known before the run.
        mode: ``"online"``, ``"offline"`` or ``"disabled"``.
        resume: ``"allow"``, ``"must"`` or ``"never"``.
        id: W&B's identifier of the run.

    Raises:
        SettingError: An argument breaks its rule.
        MissingExtraError: wandb is not installed.
    """

    def __init__(
        self,
        level: int | str = logging.INFO,
        run_name: str | None = None,
        log_dir: str | os.PathLike[str] = DEFAULT_LOG_DIR,
        *,
        project: str | None = None,
        entity: str | None = None,
        group: str | None = None,
        tags: Sequence[str] = (),
        config: Mapping[str, Any] | None = None,
        mode: Mode | None = None,
        resume: Resume = "allow",
        id: str | None = None,
    ) -> None:
        self._settings: dict[str, Any] = {
            "project": project,
            "entity": entity,
            "group": group,
            "tags": tags,
            "config": config,
            "mode": mode,
            "resume": resume,
            "id": id,
        }
        super().__init__(level, run_name, log_dir, "wandb")
        if (mode or os.environ.get("WANDB_MODE")) != "disabled":
            self._needs("wandb", "wandb")

    def _prepare(self) -> None:
        self._whole.mkdir(parents=True, exist_ok=True)

    def _declare(self) -> SinkDeclaration:
        from .metric_sinks import WandbBeside

        return WandbBeside(
            **self._settings,
            run_name=self._run_name,
            ranks="all",
            directory=self._whole.name,
        )


class MLflowHandler(BackendHandler):
    """Sends mappings to a run of an MLflow tracking server.

    ``extra={"step": i}`` is the step, ``extra={"hparams": True}`` makes parameters of a mapping,
    and texts are artifacts. Where MLflow has an active run, in the same thread, that run is used.
    Needs ``asynclog[mlflow]``.

    Args:
        level: Lowest level it takes, a name or number.
        run_name: Name of the run; placeholders are those of :func:`substitute_placeholders`.
        log_dir: Directory where records wait until the server has them; nothing stays there.
        tracking_uri: See :class:`asynclog.MLflow`, also for what follows.
        experiment_name: Name of the experiment, made where there is none.
        run_id: Identifier of a run that exists.
        end_run: Whether the run ends with the handler.

    Raises:
        SettingError: An argument breaks its rule.
        MissingExtraError: MLflow is not installed.
    """

    def __init__(
        self,
        level: int | str = logging.INFO,
        run_name: str | None = None,
        log_dir: str | os.PathLike[str] = DEFAULT_LOG_DIR,
        *,
        tracking_uri: str | None = None,
        experiment_name: str | None = None,
        run_id: str | None = None,
        end_run: bool | None = None,
    ) -> None:
        self._settings: dict[str, Any] = {
            "tracking_uri": tracking_uri,
            "experiment": experiment_name,
            "run_id": run_id,
            "end_run": end_run,
        }
        super().__init__(level, run_name, log_dir, "mlflow")
        self._needs("mlflow", "mlflow")

    def _declare(self) -> SinkDeclaration:
        from ..sinks import MLflow

        # At each start anew: it is then that MLflow has an active run, or has none.
        try:
            return MLflow(**self._settings, run_name=self._run_name, ranks="all")
        except SettingError as error:
            name = "experiment_name" if error.setting == "experiment" else error.setting
            raise SettingError(name, error.rule, error.value, error.hint) from None
