"""MLflow's sink: what becomes of each kind of record in a run of an MLflow server.

Whatever is sent twice is there once: metrics and parameters by MLflow's own rules, files because
their names come from the record, the run by a tag.
"""

from __future__ import annotations

import os
import re
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Final

from ..._flatten import flatten_dict
from ...typing import Run
from ..backend import BackendError, BackendSink, BadRecordError, Entry, import_backend, readable
from ..media import media_file
from . import MLflow

MAX_METRICS: Final = 1000
MAX_PARAMS: Final = 100
"""What MLflow takes in one request."""
MAX_PARAM: Final = 6000
MAX_KEY: Final = 250
"""Characters that MLflow takes."""
TAG: Final = "asynclog.run"
"""Tag by which the run is found again when the answer to its making was lost."""
TIMEOUT: Final = 20
"""Seconds that a request may take."""

_UNFIT: Final = re.compile(r"[^\w.\- /]")
_UNFIT_PATH: Final = re.compile(r"[^\w.\-/]")
_AGAIN: Final = (401, 408, 429)
_BAD: Final = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST")


class MLflowSink(BackendSink):
    """Sends records in requests that are answered before it goes on.

    Args:
        settings: What the user wants.
    """

    kinds: ClassVar[frozenset[str]] = frozenset(
        ("metrics", "hparams", "text", "image", "artifact", "note")
    )

    def __init__(self, settings: MLflow) -> None:
        super().__init__(settings.name, settings.ranks)
        self._settings = settings
        self._where: Run | None = None
        self._client: Any = None
        self._key = uuid.uuid4().hex
        self._id = settings.run_id
        self._known = False
        self._running = False

    def open(self, run: Run) -> None:
        """Import MLflow.

        Raises:
            MissingExtraError: It is not installed.
        """
        self._where = run
        own = "mlflow" not in sys.modules
        if own:
            _prepare()

        def module(name: str) -> Any:
            return import_backend(name, "mlflow", "The sink MLflow")

        # Also for the parts that come with it: the package itself loads them when asked for them.
        self._mlflow = module("mlflow")
        self._entities = module("mlflow.entities")
        self._requests = module("requests.exceptions")
        self._error: type[Exception] = module("mlflow.exceptions").MlflowException
        self._id = self._id or os.environ.get("MLFLOW_RUN_ID") or None
        if own and self._settings.tracking_uri is not None:
            # MLflow 2 asks for it again to find the place for artifacts.
            self._mlflow.set_tracking_uri(self._settings.tracking_uri)

    def restore(self, state: Mapping[str, Any] | None) -> None:
        """Go on with the run that the state names, unless another one is asked for."""
        if state is None:
            return
        key, run_id = state.get("key"), state.get("run_id")
        if type(key) is str:
            self._key = key
        if type(run_id) is str:
            self._known = True
            self._id = self._id or run_id

    def state(self) -> dict[str, Any]:
        """Return which run it is, or by what to find it."""
        return {"key": self._key, "run_id": self._id if self._known else None}

    def send(self, entries: list[Entry]) -> None:
        """Send some records; those that were sent already do no harm.

        Raises:
            Exception: The server cannot be reached, or refuses the run.
        """
        if all(entry.kind == "note" for entry in entries) and not self._known:
            return
        if not self._running:
            self._connect()
        metrics: list[Any] = []
        others: list[Entry] = []
        for entry in entries:
            if entry.kind == "metrics":
                with self.skipping(entry):
                    metrics += self._metrics(entry)
            elif entry.kind != "note":
                others.append(entry)
        self._in_batches(metrics, MAX_METRICS, lambda some: self._log_batch(metrics=some))
        for entry in others:
            with self.skipping(entry):
                if entry.kind == "hparams":
                    self._hparams(entry)
                else:
                    self._file(entry)

    def close(self) -> None:
        """End the run, unless that is somebody else's business."""
        if not self._running:
            return
        self._running = False
        failed = self.end_of_run()
        if failed is not None:
            status = "FAILED" if failed == "failed" else "KILLED"
            self._client.set_terminated(self._id, status=status)
        elif self._settings.end_run:
            self._client.set_terminated(self._id, status="FINISHED")

    # What becomes of each kind

    def _metrics(self, entry: Entry) -> list[Any]:
        make, time, step = self._entities.Metric, round(entry.time * 1000), entry.step or 0
        return [make(_key(name), value, time, step) for name, value in entry.numbers().items()]

    def _hparams(self, entry: Entry) -> None:
        flat = flatten_dict(entry.params())
        params = [self._entities.Param(_key(name), _param(value)) for name, value in flat.items()]
        self._in_batches(params, MAX_PARAMS, lambda some: self._log_batch(params=some))
        if entry.fields.get("metrics"):
            metrics = self._metrics(entry)
            self._in_batches(metrics, MAX_METRICS, lambda some: self._log_batch(metrics=some))

    def _file(self, entry: Entry) -> None:
        """Send what becomes a file; one that the server or the disk refuses is left out."""
        try:
            getattr(self, f"_{entry.kind}")(entry)
        except (self._error, OSError) as error:
            if not self._refused(error):
                raise
            raise BadRecordError(readable(error)) from error

    def _text(self, entry: Entry) -> None:
        if entry.step is None:
            which = f"{datetime.fromtimestamp(entry.time, UTC):%Y%m%dT%H%M%S.%fZ}"
        else:
            which = f"step-{entry.step:08d}"
        path = f"text/{_path(entry.name())}/{which}.txt"
        self._client.log_text(self._id, str(entry.fields.get("text", "")), path)

    def _image(self, entry: Entry) -> None:
        assert self._where is not None
        path = media_file(self._where.directory, entry.fields)
        if path is None:
            raise BadRecordError("its image is not there")
        # under the same path as in the run directory
        folder = path.relative_to(self._where.directory).parent
        self._client.log_artifact(self._id, str(path), folder.as_posix())

    def _artifact(self, entry: Entry) -> None:
        fields = entry.fields
        path = Path(str(fields.get("path")))
        folder = _path(str(fields.get("type") or "artifacts"))
        name = _path(str(fields.get("name") or path.name))
        if path.is_dir():
            self._client.log_artifacts(self._id, str(path), f"{folder}/{name}")
        elif path.is_file():
            self._client.log_artifact(self._id, str(path), f"{folder}/{name}")
        else:
            raise BadRecordError(f"{path} is not there")
        if registry := fields.get("registry"):
            aliases = [str(alias) for alias in fields.get("aliases") or ()]
            self._register(str(registry), f"{folder}/{name}", aliases)

    def _register(self, model: str, path: str, aliases: Sequence[str]) -> None:
        """Make what has been uploaded a version of a registered model."""
        try:
            self._client.create_registered_model(model)
        except self._error as error:
            if getattr(error, "error_code", "") != "RESOURCE_ALREADY_EXISTS":
                raise
        source = f"runs:/{self._id}/{path}"
        found = self._client.search_model_versions(f"name = '{model}' and run_id = '{self._id}'")
        same = [version for version in found if version.source == source]
        version = same[0] if same else self._client.create_model_version(model, source, self._id)
        for alias in aliases:
            self._client.set_registered_model_alias(model, alias, version.version)

    def _refused(self, error: Exception) -> bool:
        """Say whether trying again would not help."""
        if isinstance(error, self._error):
            status: Any = getattr(error, "get_http_status_code", int)()
        elif isinstance(error, self._requests.RequestException):
            status = getattr(getattr(error, "response", None), "status_code", 0)
        else:
            # a file that cannot be read, or a place for artifacts that cannot be written
            return True
        return 400 <= status < 500 and status not in _AGAIN

    def _log_batch(self, **items: Any) -> None:
        self._client.log_batch(self._id, **items, synchronous=True)

    def _in_batches(
        self, items: Sequence[Any], most: int, send: Callable[[Sequence[Any]], None]
    ) -> None:
        for start in range(0, len(items), most):
            self._without_bad(items[start : start + most], send)

    def _without_bad(self, items: Sequence[Any], send: Callable[[Sequence[Any]], None]) -> None:
        """Send all items but those that the server refuses, which it does not name."""
        try:
            send(items)
        except self._error as error:
            if getattr(error, "error_code", "") not in _BAD or not self._alive():
                raise
            if len(items) == 1:
                self.complain(f"{items[0].key} is left out: {readable(error)}")
                return
            middle = len(items) // 2
            self._without_bad(items[:middle], send)
            self._without_bad(items[middle:], send)

    # The run

    def _connect(self) -> None:
        assert self._where is not None
        self._client = self._mlflow.MlflowClient(self._settings.tracking_uri)
        if self._id is None:
            self._id = self._find_or_make(self._experiment())
        else:
            run = self._client.get_run(self._id)
            if run.info.lifecycle_stage != "active":
                raise BackendError(f"the run {self._id} was deleted; restore it, or give another")
            if run.info.status != "RUNNING":
                self._client.update_run(self._id, status="RUNNING")
        self._known = self._running = True

    def _alive(self) -> bool:
        """Say whether the run takes anything; if not, no record is to blame."""
        return self._client.get_run(self._id).info.lifecycle_stage == "active"

    def _experiment(self) -> str:
        name = self._settings.experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME")
        if not name:
            return os.environ.get("MLFLOW_EXPERIMENT_ID") or "0"
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return found.experiment_id
        try:
            return self._client.create_experiment(name)
        except self._error:
            # somebody was faster
            found = self._client.get_experiment_by_name(name)
            if found is None:
                raise
            return found.experiment_id

    def _find_or_make(self, experiment: str) -> str:
        assert self._where is not None
        found = self._client.search_runs([experiment], f"tags.`{TAG}` = '{self._key}'")
        if found:
            return found[0].info.run_id
        made = self._client.create_run(
            experiment,
            start_time=round(self._where.started.timestamp() * 1000),
            run_name=self._settings.run_name or self._where.name,
            tags={TAG: self._key, "mlflow.source.type": "LOCAL"},
        )
        return made.info.run_id


def _prepare() -> None:
    """Set what MLflow reads from the environment, in a process of our own."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(TIMEOUT))
    # A request that failed is made again by whoever feeds the sink, and there it is seen.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # it prints where the run can be seen, on the program's stdout
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")


def _key(name: str) -> str:
    """Return a name as MLflow takes it: a path that could be one of a file."""
    parts = [part for part in _UNFIT.sub("_", name).split("/") if part not in ("", ".")]
    key = "/".join("_" if part == ".." else part for part in parts) or "_"
    return key if len(key) <= MAX_KEY else key[: MAX_KEY - 3] + "..."


def _param(value: Any) -> str:
    text = str(value)
    return text if len(text) <= MAX_PARAM else text[: MAX_PARAM - 3] + "..."


def _path(name: str) -> str:
    parts = PurePosixPath(_UNFIT_PATH.sub("_", name)).parts
    return "/".join(part for part in parts if part not in ("/", "..")) or "_"
