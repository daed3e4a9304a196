"""What the sinks of metric backends share: which records they take, and whose fault a failure is.

A record that a backend cannot take is skipped and complained of; a backend that cannot be reached
raises, so that the same records come again. No secret gets into either text.
"""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from typing import Any, ClassVar, Final, cast

from .._complain import complain
from ..exceptions import AsynclogError, MissingExtraError, SettingError
from ..typing import Batch, Run
from .ranked import rank_of
from .settings import Ranks

DIED: Final = "died"
"""Field of a note that a process is gone: ``"failed"`` or ``"killed"``."""
SECRETS: Final = (
    "WANDB_API_KEY",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "NATS_PASSWORD",
    "NATS_TOKEN",
)
"""Variables whose values must not be shown."""

_NO_NUMBERS: Final = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
_IN_URL: Final = re.compile(r"(?<=//)[^/@\s]+@")


class BadRecordError(AsynclogError):
    """A record cannot be taken by a backend; its text says why."""


class BackendError(AsynclogError):
    """A backend cannot be reached or does not work.

    Args:
        text: What is wrong; it holds no secret.
        retry_after: Seconds before the next attempt makes sense, None when that is not known.
    """

    def __init__(self, text: str, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Entry:
    """A record as backends want it.

    Attributes:
        kind: Kind of the record.
        fields: The record itself.
        prefix: Put before names: ``train/``, ``rank1/train/``, or nothing.
        step: Its step, None without one.
        time: When it was logged, seconds since 1970.
    """

    kind: str
    fields: Mapping[str, Any]
    prefix: str
    step: int | None
    time: float

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> Entry:
        """Read a record."""
        rank = rank_of(event)
        split, step = event.get("split"), event.get("step")
        prefix = f"rank{rank}/" if rank else ""
        if split is not None and split != "":
            prefix += f"{split}/"
        return cls(
            kind=str(event.get("kind")),
            fields=event,
            prefix=prefix,
            step=step if type(step) is int else None,
            time=_seconds(event.get("timestamp")),
        )

    def name(self) -> str:
        """Return the name of what the record holds, its split included.

        Raises:
            BadRecordError: It has none.
        """
        name = self.fields.get("name")
        if type(name) is not str or not name:
            raise BadRecordError("it has no name")
        return self.prefix + name

    def numbers(self, field: str = "metrics") -> dict[str, float]:
        """Return the metrics in one of its fields; what is no number is left out.

        Raises:
            BadRecordError: There is no number.
        """
        values: object = self.fields.get(field)
        found: dict[str, float] = {}
        if isinstance(values, Mapping):
            for name, value in cast("Mapping[str, object]", values).items():
                number = _number(value)
                if number is not None:
                    found[self.prefix + name] = number
        if not found:
            raise BadRecordError("it holds no number")
        return found

    def number(self, field: str) -> float:
        """Return the number in one of its fields.

        Raises:
            BadRecordError: There is none.
        """
        number = _number(self.fields.get(field))
        if number is None:
            raise BadRecordError(f"{field} is no number")
        return number

    def params(self) -> Mapping[str, Any]:
        """Return the hyperparameters as they were given, nested.

        Raises:
            BadRecordError: There are none.
        """
        params: object = self.fields.get("params")
        if not isinstance(params, Mapping):
            raise BadRecordError("it holds no parameters")
        return cast("Mapping[str, Any]", params)

    def list(self, field: str) -> list[float]:
        """Return a list of numbers.

        Raises:
            BadRecordError: It is none.
        """
        values: object = self.fields.get(field)
        numbers = [_number(value) for value in _items(values)]
        if not numbers or None in numbers:
            raise BadRecordError(f"{field} is no list of numbers")
        return cast("list[float]", numbers)


class BackendSink:
    """Feeds one backend; a blocking sink, whose thread is the only one to use it.

    Nothing is asked of the backend before there is a record for it, so that neither a start nor a
    process without metrics waits for one.

    Args:
        name: The sink's name, for complaints.
        ranks: ``"zero"`` takes rank 0 and processes without a rank.
    """

    kinds: ClassVar[frozenset[str]] = frozenset()
    """Kinds it takes; with ``"note"`` it also gets those that say that a process has died."""

    def __init__(self, name: str, ranks: Ranks) -> None:
        self.sink_name = name
        self._all_ranks = ranks == "all"
        self._batch: Batch | None = None
        self._done = 0
        self._died: dict[int, tuple[str, str]] = {}

    def open(self, run: Run) -> None:
        """Import the backend's package and note the run.

        Raises:
            MissingExtraError: The package is not installed.
        """
        raise NotImplementedError

    def write_blocking(self, batch: Batch) -> None:
        """Send what a batch holds for the backend.

        Raises:
            BackendError: The backend cannot be reached; what it has already is not sent again
                when the same batch comes again.
        """
        if batch is not self._batch:
            self._batch, self._done = batch, 0
        entries = [Entry.of(event) for event in batch.events if self._takes(event)]
        if entries:
            try:
                self.send(entries[self._done :])
            except Exception as error:
                raise BackendError(readable(error)) from None
        self._batch = None

    def send(self, entries: list[Entry]) -> None:
        """Send some records.

        Raises:
            Exception: The backend cannot be reached.
        """
        raise NotImplementedError

    def sent(self, count: int = 1) -> None:
        """Note that the backend has some of the records it is being sent."""
        self._done += count

    @contextmanager
    def skipping(self, entry: Entry, *bad: type[Exception]) -> Generator[None]:
        """Skip a record, and say so, when its own content is what is wrong.

        Args:
            entry: The record.
            bad: What the backend raises for such content, beside ValueError and its like.
        """
        try:
            yield
        except (BadRecordError, ValueError, TypeError, LookupError, ArithmeticError, *bad) as error:
            self.complain(f"a record of kind {entry.kind} is left out: {readable(error)}")

    def complain(self, text: str) -> None:
        """Say what is wrong; at most once a second."""
        complain(f"sink {self.sink_name}: {text}", kind=f"record {self.sink_name}")

    def end_of_run(self) -> str | None:
        """Return how the run ended badly, ``"failed"`` or ``"killed"``; None when it did not."""
        return max((status for status, _ in self._died.values()), default=None)

    def _takes(self, event: Mapping[str, Any]) -> bool:
        kind = event.get("kind")
        if kind not in self.kinds:
            return False
        rank = rank_of(event)
        if kind == "note":
            status = event.get(DIED)
            if not isinstance(status, str):
                return False
            self._died[rank] = status, str(event.get("timestamp", ""))
            return True
        _, died = self._died.get(rank, ("", ""))
        if died and str(event.get("timestamp", "")) > died:
            # it logs, so it lives: its run directory was started again
            del self._died[rank]
        return self._all_ranks or not rank


def import_backend(package: str, extra: str, feature: str) -> Any:
    """Import a backend's package or a module of it.

    Raises:
        MissingExtraError: The package is not installed.
        Exception: It is, and cannot be imported.
    """
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        name = package.partition(".")[0]
        if error.name != name:
            raise
        raise MissingExtraError(feature, name, extra) from None


def readable(error: BaseException) -> str:
    """Return the type and text of an error in one line, without secrets."""
    text = " ".join(str(error).split())
    if not isinstance(error, AsynclogError):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return redacted(text)


def redacted(text: str) -> str:
    """Return a text without the values of :data:`SECRETS` and without passwords in URLs."""
    for variable in SECRETS:
        if secret := os.environ.get(variable):
            text = text.replace(secret, "***")
    return _IN_URL.sub("***@", text)


def text_or_none(value: object, setting: str) -> None:
    """Raise SettingError unless this is a text that is not empty, or None."""
    if value is not None and (not isinstance(value, str) or not value):
        raise SettingError(setting, "must be a text, or None", value)


def data(value: Any, setting: str) -> Any:
    """Return nested data in the form in which it comes back from JSON: with tuples for lists.

    Raises:
        SettingError: There is something in it that JSON does not know.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return tuple(data(item, setting) for item in cast("Iterable[Any]", value))
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value).items()
        return {str(key): data(item, setting) for key, item in items}
    raise SettingError(setting, "must hold texts, numbers, lists and mappings only", value)


def plain(value: Any) -> Any:
    """Return what :func:`data` gave, with lists again."""
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value).items()
        return {key: plain(item) for key, item in items}
    if isinstance(value, tuple):
        return [plain(item) for item in cast("Iterable[Any]", value)]
    return value


def _items(value: object) -> Iterable[object]:
    return cast("list[object]", value) if isinstance(value, list) else ()


def _number(value: object) -> float | None:
    if isinstance(value, (int, float)):
        return value
    return _NO_NUMBERS.get(value) if isinstance(value, str) else None


def _seconds(timestamp: object) -> float:
    try:
        time = datetime.fromisoformat(cast("str", timestamp))
    except (TypeError, ValueError):
        time = datetime.now(UTC)
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
