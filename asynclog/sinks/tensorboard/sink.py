"""TensorBoard's sink: what becomes of each kind of record, and where its events go."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, cast

from ..._flatten import flatten_dict
from ...typing import Run
from ..backend import BackendSink, BadRecordError, Entry, import_backend
from ..media import media_file
from ..template import expand
from . import TensorBoard
from .event_file import EventFile, cut, event_file_name

_PARAMS_TAG = "hparam/"
"""Before the names of metrics that come with hyperparameters, as PyTorch's writer has it."""


class TensorBoardSink(BackendSink):
    """Appends events to a file of its own for each start.

    Args:
        settings: What the user wants.
    """

    kinds: ClassVar[frozenset[str]] = frozenset(
        ("metrics", "hparams", "text", "histogram", "image")
    )

    def __init__(self, settings: TensorBoard) -> None:
        super().__init__(settings.name, settings.ranks)
        self._settings = settings
        self._run: Run | None = None
        self._directory: Path | None = None
        self._path: Path | None = None
        self._file: EventFile | None = None
        self._kept = 0
        # calls without a step, by tag
        self._calls: dict[str, int] = {}

    def open(self, run: Run) -> None:
        """Import tensorboardX and find out where the files go.

        Raises:
            MissingExtraError: It is not installed.
            SettingError: The path leads out of the run directory.
        """

        def module(name: str) -> Any:
            return import_backend(f"tensorboardX.{name}", "tensorboard", "The sink TensorBoard")

        self._summary = module("summary")
        self._checksum = module("record_writer").masked_crc32c
        self._event = module("proto.event_pb2").Event
        proto = module("proto.summary_pb2").Summary
        self._value, self._image_value = proto.Value, proto.Image
        self._run = run
        # The same whichever rank of this machine collects.
        self._directory = expand(self._settings.path, replace(run, rank=None, local_rank=None))

    def restore(self, state: Mapping[str, Any] | None) -> None:
        """Cut the last event file to what it was when the state was taken.

        Without a state, what is in the directory is another's, and a directory beside it is used.

        Raises:
            OSError: It cannot be cut.
        """
        assert self._run is not None
        assert self._directory is not None
        if state is None:
            self._directory = _unused(self._directory)
            return
        directory, name, size = (state.get(key) for key in ("directory", "file", "size"))
        if type(directory) is str and _is_inside(directory):
            self._directory = self._run.directory / directory
        if type(name) is str and os.path.basename(name) == name and type(size) is int:
            cut(self._directory / name, size)
        calls = state.get("calls")
        if isinstance(calls, Mapping):
            items = cast("Mapping[str, object]", calls).items()
            self._calls = {tag: count for tag, count in items if type(count) is int}

    def state(self) -> dict[str, Any]:
        """Return what :meth:`restore` needs; it names the file before the file is there."""
        assert self._run is not None
        assert self._directory is not None
        return {
            "directory": os.path.relpath(self._directory, self._run.directory),
            "file": self._next_path().name,
            "size": self._kept,
            "calls": self._calls,
        }

    def send(self, entries: list[Entry]) -> None:
        """Append the events of some records, all or none.

        Raises:
            OSError: They cannot be written.
        """
        calls = self._calls.copy()
        events: list[bytes] = []
        for entry in entries:
            with self.skipping(entry):
                values = getattr(self, f"_{entry.kind}")(entry)
                step = entry.step
                if step is None:
                    step = calls[values[0].tag] = calls.get(values[0].tag, -1) + 1
                event = self._event(wall_time=entry.time, step=step)
                event.summary.value.extend(values)
                events.append(event.SerializeToString())
        if events:
            self._append(events, entries[0].time)
        self._calls = calls

    def flush(self) -> None:
        """Have the disk hold what was written."""
        if self._file is not None:
            self._file.sync()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    # What becomes of each kind: the values of one event

    def _metrics(self, entry: Entry) -> list[Any]:
        numbers = entry.numbers().items()
        return [self._value(tag=tag, simple_value=number) for tag, number in numbers]

    def _text(self, entry: Entry) -> list[Any]:
        return list(self._summary.text(entry.name(), str(entry.fields.get("text", ""))).value)

    def _histogram(self, entry: Entry) -> list[Any]:
        edges, counts = entry.list("edges"), entry.list("counts")
        if len(edges) != len(counts) + 1:
            raise BadRecordError("a histogram has one edge more than counts")
        sums = {key: entry.number(key) for key in ("min", "max", "sum", "sum_squares", "num")}
        made = self._summary.histogram_raw(
            entry.name(), **sums, bucket_limits=edges[1:], bucket_counts=counts
        )
        return list(made.value)

    def _image(self, entry: Entry) -> list[Any]:
        assert self._run is not None
        path = media_file(self._run.directory, entry.fields)
        if path is None:
            raise BadRecordError("its image is not there")
        image = self._image_value(
            width=entry.fields.get("width"),
            height=entry.fields.get("height"),
            encoded_image_string=path.read_bytes(),
        )
        values = [self._value(tag=entry.name(), image=image)]
        if caption := entry.fields.get("caption"):
            # TensorBoard's images have none.
            values += self._summary.text(f"{entry.name()}/caption", str(caption)).value
        return values

    def _hparams(self, entry: Entry) -> list[Any]:
        params = {
            name: value if isinstance(value, (bool, int, float, str)) else str(value)
            for name, value in flatten_dict(entry.params()).items()
        }
        _, start, end = self._summary.hparams(params, {})
        # Without a list of metrics, TensorBoard shows all that the run has, and all parameters
        # of all runs; with one, only those of the first run that it finds.
        values = list(start.value)
        if entry.fields.get("metrics"):
            numbers = entry.numbers().items()
            values += [
                self._value(tag=_PARAMS_TAG + tag, simple_value=number) for tag, number in numbers
            ]
            values += end.value
        return values

    def _append(self, events: list[bytes], time: float) -> None:
        file = self._file
        if file is not None and file.removed():
            file.close()
            file, self._path = None, None
        if file is None:
            file = EventFile(self._next_path(), self._checksum)
            self._file = file
            first = self._event(wall_time=time, file_version="brain.Event:2")
            events = [first.SerializeToString(), *events]
        file.append(events)
        self._kept = file.size

    def _next_path(self) -> Path:
        assert self._run is not None
        assert self._directory is not None
        if self._path is None:
            self._path = self._directory / event_file_name(self._run.host)
        return self._path


def _is_inside(directory: str) -> bool:
    return not os.path.isabs(directory) and ".." not in Path(directory).parts


def _unused(directory: Path) -> Path:
    """Return the directory, or one beside it when it holds event files already."""
    number, found = 1, directory
    while any(found.glob("*tfevents*")):
        number += 1
        found = directory.with_name(f"{directory.name}-{number}")
    return found
