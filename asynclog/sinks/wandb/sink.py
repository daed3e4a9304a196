"""W&B's sink: what becomes of each kind of record in a run of Weights & Biases."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Final, cast

from ...typing import Batch, Run
from ..backend import BackendError, BackendSink, BadRecordError, Entry, plain, readable
from ..media import media_file
from . import Wandb
from .run import Mark, WandbRun, mode

MAX_BINS: Final = 512
"""Bins that a histogram of W&B may have."""
MAX_NAMES: Final = 10_000
"""Names without a split that are told their step."""

ROWS: Final = frozenset(("metrics", "text", "histogram", "image"))
"""Kinds whose records become rows."""

_UNFIT: Final = re.compile(r"[^\w.-]")


class WandbSink(BackendSink):
    """Logs rows to a run of W&B; each record of metrics, media or text is one.

    Args:
        settings: What the user wants.
    """

    kinds: ClassVar[frozenset[str]] = frozenset(
        ("metrics", "hparams", "text", "histogram", "image", "artifact", "note")
    )

    def __init__(self, settings: Wandb) -> None:
        super().__init__(settings.name, settings.ranks)
        self._settings = settings
        self._where: Run | None = None
        self._run: WandbRun | None = None
        self._wandb: Any = None
        self._defined: set[str] = set()
        # what W&B may not have written yet
        self._pending: list[tuple[Entry, Mark | None]] = []

    def open(self, run: Run) -> None:
        """Import W&B, unless it is disabled.

        Raises:
            MissingExtraError: It is not installed.
        """
        self._where = run
        if mode(self._settings) != "disabled":
            run_id = self._settings.id or os.environ.get("WANDB_RUN_ID") or secrets.token_hex(4)
            made = WandbRun(self._settings, run, run_id)
            self._wandb = made.open()
            self._run = made

    def restore(self, state: Mapping[str, Any] | None) -> None:
        """Go on with the run that the state names, unless another one is asked for."""
        if state is None or self._run is None or self._settings.resume == "never":
            return
        run_id, rows = state.get("run_id"), state.get("rows")
        if type(run_id) is not str or type(rows) is not int:
            return
        if not self._settings.id and not os.environ.get("WANDB_RUN_ID"):
            self._run.id = run_id
        if run_id == self._run.id:
            self._run.known, self._run.rows = True, rows
            pending: object = state.get("pending")
            for event in cast("list[Any]", pending) if isinstance(pending, list) else []:
                self._pending.append((Entry.of(event), None))

    def state(self) -> dict[str, Any]:
        """Return which run it is, how many rows it has, and what W&B may not have written yet."""
        run = self._run
        if run is None or not run.known:
            return {}
        pending = [entry.fields for entry, _ in self._pending]
        return {"run_id": run.id, "rows": run.rows, "pending": pending}

    def write_blocking(self, batch: Batch) -> None:
        """Log what a batch holds, unless W&B is disabled; see :class:`BackendSink`."""
        if self._run is not None:
            super().write_blocking(batch)

    def send(self, entries: list[Entry]) -> None:
        """Log some records.

        Raises:
            Exception: W&B cannot be reached, or has died.
        """
        run = self._run
        assert run is not None
        if all(entry.kind == "note" for entry in entries) and not run.known:
            return
        known, before = run.known, (run.rows, self._pending)
        try:
            if run.raw is None:
                # What a process of W&B that is gone may have taken along is given to the next.
                entries = [*(entry for entry, _ in self._pending), *entries]
                run.rows -= sum(entry.kind in ROWS for entry, _ in self._pending)
                self._pending = []
                self._defined.clear()
                run.connect()
                if not known:
                    before = run.rows, self._pending
            given = [(entry, self._send(run, entry)) for entry in entries]
            run.wait_written([mark for _, mark in given if mark is not None])
        except BaseException as error:
            # The same records come again, to a run that has been taken up anew.
            run.rows, self._pending = before
            run.forget()
            if isinstance(error, SystemExit):
                raise BackendError(readable(error)) from None
            raise
        self._pending = [
            (entry, mark)
            for entry, mark in [*self._pending, *given]
            if mark is not None and not run.has_written(mark)
        ]

    def close(self) -> None:
        """End the run: as failed when its process died."""
        if self._run is not None:
            self._run.finish(1 if self.end_of_run() else 0)

    def _send(self, run: WandbRun, entry: Entry) -> Mark | None:
        """Log a record; return which one it is in W&B's log, None when it need not be there."""
        with self.skipping(entry):
            if entry.kind == "hparams":
                return self._hparams(run, entry)
            if entry.kind == "artifact":
                return self._artifact(run, entry.fields)
            if entry.kind != "note":
                return self._row(run, entry)
        return None

    def _row(self, run: WandbRun, entry: Entry) -> Mark | None:
        row: dict[str, Any] = getattr(self, f"_{entry.kind}")(entry)
        if entry.step is not None:
            step = entry.prefix + "step"
            self._define(run, entry, row, step)
            row[step] = entry.step
        if not run.log_row(row, entry.time):
            return None
        if entry.kind == "text" and run.offline:
            # a table is an artifact as well
            run.given("artifact")
        return run.given("history")

    # What becomes of each kind: the values of a row

    def _metrics(self, entry: Entry) -> dict[str, Any]:
        return dict(entry.numbers())

    def _text(self, entry: Entry) -> dict[str, Any]:
        row = [entry.step, str(entry.fields.get("text", ""))]
        return {entry.name(): self._wandb.Table(columns=["step", "text"], data=[row])}

    def _histogram(self, entry: Entry) -> dict[str, Any]:
        edges, counts = entry.list("edges"), entry.list("counts")
        if len(edges) != len(counts) + 1:
            raise BadRecordError("a histogram has one edge more than counts")
        width = -(-len(counts) // MAX_BINS)
        starts = range(0, len(counts), width)
        merged = [sum(counts[start : start + width]) for start in starts]
        limits = [edges[start] for start in starts] + edges[-1:]
        return {entry.name(): self._wandb.Histogram(np_histogram=(merged, limits))}

    def _image(self, entry: Entry) -> dict[str, Any]:
        assert self._where is not None
        if find_spec("PIL") is None:
            raise BadRecordError("W&B needs the package pillow for images")
        path = media_file(self._where.directory, entry.fields)
        if path is None:
            raise BadRecordError("its image is not there")
        caption = entry.fields.get("caption")
        image = self._wandb.Image(str(path), caption=None if caption is None else str(caption))
        return {entry.name(): image}

    def _hparams(self, run: WandbRun, entry: Entry) -> Mark:
        run.raw.config.update(plain(dict(entry.params())), allow_val_change=True)
        if entry.fields.get("metrics"):
            run.raw.summary.update(dict(entry.numbers()))
        return run.given("config")

    def _artifact(self, run: WandbRun, fields: Mapping[str, Any]) -> Mark | None:
        path = Path(str(fields.get("path")))
        name = _UNFIT.sub("_", str(fields.get("name") or path.name))
        aliases = [str(alias) for alias in fields.get("aliases") or ()]
        try:
            artifact = self._wandb.Artifact(name, type=str(fields.get("type") or "file"))
            add = artifact.add_dir if path.is_dir() else artifact.add_file
            add(str(path), skip_cache=True)
            run.raw.log_artifact(artifact, aliases=aliases)
            # online, it is on its way at once
            mark = run.given("artifact") if run.offline else None
            if registry := fields.get("registry"):
                self._link(run, artifact, str(registry), name, aliases)
        except OSError as error:
            if isinstance(error, ConnectionError):
                raise
            raise BadRecordError(f"{path} cannot be read: {error.strerror}") from error
        except self._wandb.Error as error:
            raise BadRecordError(readable(error)) from error
        return mark

    def _link(
        self, run: WandbRun, artifact: Any, registry: str, name: str, aliases: list[str]
    ) -> None:
        """Link an artifact to a registry; returns when it is uploaded."""
        if run.offline:
            raise BadRecordError("W&B links artifacts to a registry only when it is online")
        target = registry if "/" in registry else f"wandb-registry-{registry}/{name}"
        run.raw.link_artifact(artifact, target, aliases=aliases)

    def _define(self, run: WandbRun, entry: Entry, names: Mapping[str, Any], step: str) -> None:
        """Tell W&B over what to draw the values of a row."""
        for name in (f"{entry.prefix}*",) if entry.fields.get("split") else names:
            known = name in self._defined or len(self._defined) >= MAX_NAMES
            if not known and "*" not in name[:-1]:
                self._defined.add(name)
                run.raw.define_metric(name, step_metric=step)
