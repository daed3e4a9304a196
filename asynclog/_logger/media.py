"""Images, histograms and artifacts of a training run: the methods of a logger that log them."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from .._complain import complain
from .._line.arrival import PENDING, Arrival, on_device
from .._line.encoder import Kind
from .._line.plain import type_of
from .._line.problem import PROBLEM_KEY, describe
from .metrics import MetricsMethods
from .numbers import Problems
from .records import placed, text_of

if TYPE_CHECKING:
    from ..intake.media import MediaSpool, Picture

IMAGE: Final = Kind("image")
HISTOGRAM: Final = Kind("histogram")
ARTIFACT: Final = Kind("artifact")

DEFAULT_BINS: Final = 64
MAX_BINS: Final = 512
MAX_EARLY_BYTES: Final = 8 << 20
"""Bytes of images that are kept until the pipeline starts."""
MAX_ALIASES: Final = 20
_BYTES_PER_BIN: Final = 64
_MAX_PARTS: Final = 4
_MAX_PART: Final = 60
_UNSAFE: Final = "[^A-Za-z0-9._-]+"


class MediaStore:
    """Where images go at the call: into the run's spool; before the start, into memory."""

    __slots__ = ("_early", "_early_bytes", "_spool", "_stopped")

    def __init__(self) -> None:
        self._spool: MediaSpool | None = None
        self._early: dict[str, Picture] = {}
        self._early_bytes = 0
        self._stopped = False

    def attach(self, spool: MediaSpool) -> None:
        """Begin to use a spool, and bring there what was kept until now."""
        early, self._early, self._early_bytes = self._early, {}, 0
        self._spool = spool
        self._stopped = False
        for path, picture in early.items():
            if spool.put(path, picture) is None:
                complain(f"no room for {path}", kind="media")

    def detach(self) -> None:
        """Take nothing any more: the pipeline has stopped."""
        self._spool = None
        self._stopped = True

    def keep(self, path: str, picture: Picture) -> os.PathLike[str] | bool:
        """Keep an image; return what it is kept in, or whether it is kept at all."""
        spool = self._spool
        if spool is not None:
            kept = spool.put(path, picture)
            if kept is None:
                complain(f"no room for {path}", kind="media")
            return kept or False
        size = len(picture.data)
        if self._stopped or self._early_bytes + size > MAX_EARLY_BYTES:
            return False
        self._early_bytes += size
        self._early[path] = picture
        return True

    def discard(self, path: str, kept: os.PathLike[str] | bool) -> None:
        """Forget an image whose record was not accepted."""
        if isinstance(kept, bool):
            picture = self._early.pop(path, None)
            if picture is not None:
                self._early_bytes -= len(picture.data)
            return
        try:
            os.unlink(kept)
        except OSError:
            pass  # the collector has it already


class _Shot:
    """The image of one record, kept once its samples are there.

    Args:
        store: Where.
        fields: Of the record: what the file is named after.
    """

    __slots__ = ("_kept", "_path", "_place", "_store")

    def __init__(self, store: MediaStore, fields: dict[str, Any]) -> None:
        self._store = store
        self._place = fields["name"], fields.get("split"), fields.get("step")
        self._path = ""
        self._kept: os.PathLike[str] | bool = False

    def fields(self, image: Any) -> dict[str, Any]:
        """Keep an image; return the fields that refer to it, or say why not."""
        from .pictures import NoPictureError, picture_of

        try:
            picture = picture_of(image)
            extension = "png" if picture.encoding == "raw" else picture.encoding
            self._path = media_path(*self._place, extension)
            self._kept = self._store.keep(self._path, picture)
        except NoPictureError as error:
            return {"media": "dropped", PROBLEM_KEY: f"no image: {error}"}
        except Exception as error:
            return {"media": "dropped", PROBLEM_KEY: f"no image: {describe(error)}"}
        size = {"width": picture.width, "height": picture.height}
        return {"path": self._path, **size} if self._kept else {**size, "media": "dropped"}

    def discard(self) -> None:
        """Forget the image, because its record was not accepted."""
        if self._kept:
            self._store.discard(self._path, self._kept)


def _histogram_fields(values: Any, bins: int) -> dict[str, Any]:
    from .histogram import NoHistogramError, histogram_of

    try:
        return histogram_of(values, bins)
    except NoHistogramError as error:
        return {PROBLEM_KEY: f"no histogram: {error}"}
    except Exception as error:
        return {PROBLEM_KEY: f"no histogram: {describe(error)}"}


def _add(
    fields: dict[str, Any],
    value: Any,
    arrival: Arrival | None,
    problems: Problems,
    make: Callable[[Any], dict[str, Any]],
    lost: dict[str, Any],
) -> None:
    """Add to a record what is made of an array: now, or when it has come from its device.

    Args:
        fields: Of the record.
        value: The array.
        arrival: Takes what is on a device.
        problems: Gets to know why nothing could be made of it.
        make: Makes the fields; the reason why not is one of them.
        lost: The fields when the device fails.
    """
    token = None
    if arrival is not None and on_device(value, type_of(value), sys.modules.get("torch")):
        token = arrival.take_array(value, make, lost)
    if token is not None:
        fields[PENDING] = token
        return
    made = make(value)
    problem = made.pop(PROBLEM_KEY, None)
    if problem is not None:
        problems.add(problem)
    fields |= made


class MediaMethods(MetricsMethods):
    """The methods for images, histograms and artifacts; a part of BoundLogger."""

    __slots__ = ()

    def log_image(
        self,
        name: str,
        image: Any,
        *,
        caption: str | None = None,
        step: int | None = None,
        split: str | None = None,
        show: bool = False,
    ) -> None:
        """Log an image: a copy of it is taken now, encoded and written by the collector.

        The record refers to ``media/images/...png`` in the run directory. At most 64 MiB wait for
        the collector; an image for which there is no room is dropped and counted, and its record
        says so. Costs about a third of a millisecond per megabyte.

        Args:
            name: Its name, as of a metric; ``/`` makes directories.
            image: A NumPy array or PyTorch tensor of height x width (x channels), channels first
                or last: integers 0 to 255, floats 0 to 1 or truth values. Or a PIL image, or a PNG
                or JPEG file as bytes or by its path. A tensor on a device is copied in the
                background, and the record written once it is there.
            caption: A text that goes with it.
            step: Step of the run.
            split: ``"train"``, ``"val"``, ...
            show: Whether the console shows the record, too.
        """
        if self._gate.level > 20:
            return
        problems, arrival = Problems(), self._arrival()
        fields: dict[str, Any] = {"name": text_of(name, problems)}
        placed(fields, step, split, problems)
        if caption is not None:
            fields["caption"] = caption
        shot = _Shot(self._logger.system.media, fields)
        _add(fields, image, arrival, problems, shot.fields, {"media": "dropped"})
        if not self._send(IMAGE, fields, problems, arrival, show=show):
            shot.discard()

    def log_histogram(
        self,
        name: str,
        values: Any,
        *,
        step: int | None = None,
        split: str | None = None,
        bins: int = DEFAULT_BINS,
        show: bool = False,
    ) -> None:
        """Log how many values are distributed, weights or gradients for instance.

        Counted at the call, on its thread: about 10 ms for a million values in an array. A tensor
        on a device is copied in the background (64 MiB at most may be under way) and counted by
        another thread.

        Args:
            name: Its name, as of a metric.
            values: Numbers in a NumPy array, in a PyTorch tensor, or any iterable of at most a
                million. Those that are not finite are counted apart, as ``not_finite``.
            step: Step of the run.
            split: ``"train"``, ``"val"``, ...
            bins: Number of bins, 1 to 512.
            show: Whether the console shows the record, too.
        """
        if self._gate.level > 20:
            return
        problems, arrival = Problems(), self._arrival()
        fields: dict[str, Any] = {"name": text_of(name, problems)}
        placed(fields, step, split, problems)
        if type(bins) is not int or not 1 <= bins <= MAX_BINS:
            problems.add(f"bins must be an integer from 1 to {MAX_BINS}")
            bins = DEFAULT_BINS
        # all of it has to fit into one line
        bins = max(1, min(bins, self._logger.encoder.max_event_bytes // _BYTES_PER_BIN))
        count = partial(_histogram_fields, bins=bins)
        _add(fields, values, arrival, problems, count, {"num": 0})
        self._send(HISTOGRAM, fields, problems, arrival, show=show)

    def log_artifact(
        self,
        path: str | os.PathLike[str],
        name: str | None = None,
        type: str = "artifact",
        aliases: Iterable[str] = (),
        registry: str | None = None,
        *,
        show: bool = False,
    ) -> None:
        """Log that a file or directory belongs to the run, for backends to store it.

        It is not copied: a backend reads it some time later.

        Args:
            path: The file or directory.
            name: Its name in the backends; the file's by default.
            type: ``"model"``, ``"dataset"``, ...
            aliases: Further names of this version, ``"best"`` for instance.
            registry: Registry that the backend shall link it to.
            show: Whether the console shows the record, too.
        """
        if self._gate.level > 20:
            return
        problems = Problems()
        fields: dict[str, Any] = {}
        try:
            place = os.path.abspath(os.fsdecode(path))
            fields["path"] = place
            fields["name"] = os.path.basename(place) if name is None else text_of(name, problems)
            fields["type"] = text_of(type, problems)
            given = (aliases,) if isinstance(aliases, str) else tuple(aliases)
            fields["aliases"] = [text_of(alias, problems) for alias in given[:MAX_ALIASES]]
            if registry is not None:
                fields["registry"] = text_of(registry, problems)
            status = os.stat(place)
            if not os.path.isdir(place):
                fields["size"] = status.st_size
        except Exception as error:
            problems.add(f"artifact: {describe(error)}")
        self._send(ARTIFACT, fields, problems, show=show)


def media_path(name: str, split: str | None, step: object, extension: str) -> str:
    """Return where an image goes in the run directory: never outside of it, never twice the same.

    Args:
        name: Its name; what is not fit for a file name becomes ``_``.
        split: Part of the data, if any.
        step: Step, if any.
        extension: Of the file.
    """
    parts = [*([split] if split else []), *(part for part in name.split("/") if part)]
    plain = [re.sub(_UNSAFE, "_", part) for part in parts[-_MAX_PARTS:]]
    safe = [part[:_MAX_PART].strip(".") or "_" for part in plain]
    number = f"-{step:08d}" if isinstance(step, int) else ""
    place = "/".join(safe) or "_"
    return f"media/images/{place}{number}-{os.urandom(4).hex()}.{extension}"
