"""Metrics, hyperparameters and texts of a training run: the methods of a logger that log them.

Backends are not its business; media are another module's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, cast

from .._json import dumps
from .._line.encoder import Kind, LineEncoder
from .._line.plain import MAX_ITEMS, MAX_KEY, type_of
from .._this_rank import this_rank
from .chain import encode_line
from .contextvars import bound_contextvars, variables
from .fastpath import encode_context
from .front import (
    INFO,
    KEPT_TEXTS,
    MICROS,
    PLAIN_OPTIONS,
    SHORT,
    VALUE_OPTIONS,
    clock,
    fits,
    plain_dumps,
    time_ns,
)
from .numbers import Problems, names_and_values, number_of, plain_numbers, problem
from .records import RecordMethods, placed, text_of

METRICS: Final = Kind("metrics")
HPARAMS: Final = Kind("hparams")
TEXT: Final = Kind("text")
MODES: Final = ("min", "max")

# as Any: which keys and values there are, nobody can know here
_DICT: Final[Any] = dict
_HEAD: Final = b'","kind":"metrics","level":"info","event":"metrics"'
_FIELDS: Final = frozenset(("step", "split", "metrics", "best", "mode", "rank", "quiet"))
_SMALL: Final = 1000
_NUMBER_ROOM: Final = 40
"""Bytes that a number, or the token for it, takes in a line with all around it."""
MAX_STEP: Final = 1 << 63
_frames: dict[tuple[Any, ...], tuple[bytes, bytes]] = {}
"""What stands before and behind the metrics, by split, track_best, mode, show and rank."""


class MetricsMethods(RecordMethods):
    """The methods for numbers and texts; a part of BoundLogger."""

    __slots__ = ()

    def log_metrics(
        self,
        metrics: Mapping[str, Any],
        *,
        step: int | None = None,
        split: str | None = None,
        track_best: bool = True,
        mode: Literal["min", "max"] | None = None,
        show: bool = False,
    ) -> None:
        """Log numbers of a step, for metric files and backends; some microseconds, never waits.

        Numbers are those of Python, NumPy and PyTorch, and whatever has ``__float__``. One that is
        on a GPU is copied in the background: the record, which keeps the time of the call, is
        written once the number is there. A text among the values becomes a record of its own; what
        is no number is named in the field ``log_error``.

        Args:
            metrics: Numbers by name; nested mappings get names with ``/``.
            step: Step of the run; 0 is one.
            split: ``"train"``, ``"val"``, ...
            track_best: Whether the best of these values are kept track of.
            mode: ``"min"`` or ``"max"`` for what is best; guessed from the name by default.
            show: Whether the console shows the record, too.
        """
        if self._gate.level > 20:
            return
        if self._log_plain_metrics(metrics, step, split, track_best, mode, show):
            return
        try:
            plain = plain_numbers(metrics)
            if plain is None or not self._log_plain_metrics(
                plain, step, split, track_best, mode, show
            ):
                self._log_any_metrics(metrics, step, split, track_best, mode, show)
        except Exception:
            self._count_failure(20)

    def log_params(
        self,
        params: Any,
        metrics: Mapping[str, Any] | None = None,
        *,
        show: bool = False,
    ) -> None:
        """Log the hyperparameters of a run.

        Args:
            params: A mapping, which may be nested; also a dataclass or an ``argparse.Namespace``.
            metrics: What came of them in the end, for tables that compare runs.
            show: Whether the console shows the record, too.
        """
        if self._gate.level > 20:
            return
        problems, arrival = Problems(), self._arrival()
        fields: dict[str, Any] = {"params": _attributes(params)}
        if metrics is not None:
            kept: dict[str, Any] = {}
            for name, value in names_and_values(metrics, problems):
                try:
                    kept[name] = number_of(value, arrival)
                except Exception as error:
                    problems.add(f"{name!r} is no number: {problem(error)}")
            fields["metrics"] = kept
        self._send(HPARAMS, fields, problems, arrival, show=show)

    def log_text(
        self,
        name: str,
        text: str,
        *,
        step: int | None = None,
        split: str | None = None,
        show: bool = False,
    ) -> None:
        """Log a text that belongs to a run: a sample, a summary, a prompt and its answer.

        Args:
            name: Its name, as of a metric.
            text: The text; beyond ``max_event_bytes`` it is shortened.
            step: Step of the run.
            split: ``"train"``, ``"val"``, ...
            show: Whether the console shows the record, too.
        """
        if self._gate.level > 20:
            return
        problems, arrival = Problems(), self._arrival()
        fields: dict[str, Any] = {"name": text_of(name, problems), "text": text}
        placed(fields, step, split, problems, arrival)
        if type(text) is not str:
            try:
                fields["text"] = str(text)
            except Exception as error:
                problems.add(problem(error))
                fields["text"] = ""
        self._send(TEXT, fields, problems, arrival, show=show)

    def _log_plain_metrics(
        self, metrics: Any, step: Any, split: Any, track_best: bool, mode: Any, show: bool
    ) -> bool:
        """Log what most calls are given; say whether it was done.

        That is: finite numbers of Python's in a flat dict. Each Python call more would cost a
        twentieth of the whole.
        """
        if type(metrics) is not _DICT:
            return False
        try:
            for value in metrics.values():
                kind = type_of(value)
                if kind is float:
                    if value - value != 0.0:
                        return False
                elif kind is not int:
                    return False
            outlet = self._logger
            rank = outlet.system.rank
            if rank is None:
                rank = this_rank()
            form = split, track_best, mode, show, rank
            before, after = _frames.get(form) or _new_frame(*form)
            if step is None:
                number = b""
            elif type(step) is int and -MAX_STEP < step < MAX_STEP:
                number = b'"step":%d,' % step
            else:
                return False
            if not (PLAIN_OPTIONS and metrics and self._taken.isdisjoint(_FIELDS)):
                return False
            if self._processors[0] is encode_line:
                tail = self._tail
                if tail is None:
                    tail = encode_context(self, _FIELDS)
                if variables:
                    tail = _with_contextvars(self, tail)
                encoded = plain_dumps(metrics, None, VALUE_OPTIONS)
                start, front = clock.current
                micros = (time_ns() - start) // 1000
                if not 0 <= micros < 1000:
                    micros, front = clock.turn()
                parts = front, MICROS[micros], _HEAD, tail, number, before, encoded, after
                line = b"".join(parts)
                if len(line) > MAX_KEY and max(map(len, metrics)) > MAX_KEY:
                    return False
                if len(line) > SHORT and not fits(line, outlet):
                    return False
            elif self._values.keys().isdisjoint(_FIELDS) and _is_small(metrics, outlet.encoder):
                fields = _fields(step, split, metrics, track_best, mode, show, rank)
                line = self._line(INFO, "metrics", (), {"kind": METRICS, **fields})
                if line is None:
                    return True
            else:
                return False
        except Exception:
            # whatever it is, the other way knows what to do about it
            return False
        try:
            system = outlet.system
            if track_best:
                system.best.note_metrics(metrics, step, split, mode)
            deferred = system.deferred
            if deferred.waiting:
                # in the order of the calls: it overtakes none that waits for its numbers
                deferred.put(line, 20)
            else:
                outlet.put(line, 20)
        except Exception:
            self._count_failure(20)
        return True

    def _log_any_metrics(
        self, metrics: Any, step: Any, split: Any, track_best: bool, mode: Any, show: bool
    ) -> None:
        """Log metrics of any kind: in several records where they are too many for one."""
        problems, texts = Problems(), dict[str, str]()
        if mode is not None and mode not in MODES:
            problems.add(f'mode must be "min" or "max": {text_of(mode, problems)}')
            mode = None
        room = self._logger.encoder.max_event_bytes // 2
        kept: dict[str, Any] = {}
        arrival, size, sent = self._arrival(), 0, False

        def send() -> None:
            fields = placed({}, step, split, problems, arrival)
            fields["metrics"] = kept
            if not track_best:
                fields["best"] = False
            if mode is not None:
                fields["mode"] = mode
            # numbers on a device are texts as yet, and looked at when they are there
            self._logger.system.best.note_record(fields)
            self._send(METRICS, fields, problems, arrival, show=show)

        for name, value in names_and_values(metrics, problems):
            if issubclass(type_of(value), str):
                texts[name] = value
                continue
            length = len(dumps(name)) + _NUMBER_ROOM
            if size + length > room or len(kept) == MAX_ITEMS:
                send()
                kept, arrival, size, sent = {}, self._arrival(), 0, True
            try:
                kept[name] = number_of(value, arrival)
                size += length
            except Exception as error:
                problems.add(f"{name!r} is no number: {problem(error)}")
        if kept or problems.found or not (sent or texts):
            send()
        for name, text in texts.items():
            self.log_text(name, text, step=step, split=split, show=show)


def _is_small(metrics: dict[str, Any], encoder: LineEncoder) -> bool:
    """Tell whether metrics fit into a line whatever their names are, and those are fit to be kept.

    Raises:
        TypeError: A name is none.
    """
    names = list(map(len, metrics))
    return sum(names) < _SMALL and max(names) <= MAX_KEY and encoder.max_event_bytes >= 8 * _SMALL


def _with_contextvars(logger: RecordMethods, tail: bytes) -> bytes:
    """Return the bound context of a line with what is bound to the context variables behind it.

    Raises:
        ValueError: The record has to take the ordinary path.
    """
    bound = bound_contextvars() if logger._logger.system.merges_contextvars else None
    if not bound:
        return tail
    if not (logger._taken.isdisjoint(bound) and _FIELDS.isdisjoint(bound)):
        raise ValueError("a name twice")
    encoded = plain_dumps(bound, None, VALUE_OPTIONS)[1:-1]
    if 91 in encoded or 123 in encoded or b"null" in encoded:
        raise ValueError("values that need a closer look")
    return b"%b%b," % (tail, encoded)


def _fields(
    step: Any, split: Any, metrics: Any, track_best: bool, mode: Any, show: bool, rank: int | None
) -> dict[str, Any]:
    """Return the fields of a record of metrics, in order."""
    fields = {
        "step": step,
        "split": split,
        "metrics": metrics,
        "best": None if track_best else False,
        "mode": mode,
        "rank": rank,
        "quiet": None if show else True,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _new_frame(
    split: Any, track_best: bool, mode: Any, show: bool, rank: int | None
) -> tuple[bytes, bytes]:
    """Return what stands in a line before and behind the metrics; keep it for the next calls.

    Raises:
        ValueError: Split or mode is none.
    """
    form = split, track_best, mode, show, rank
    if split is not None and (type(split) is not str or len(split) > MAX_KEY):
        raise ValueError("split")
    if mode is not None and mode not in MODES:
        raise ValueError("mode")
    fields = _fields(None, split, 0, track_best, mode, show, rank)
    before, after = plain_dumps(fields, None, PLAIN_OPTIONS).split(b'"metrics":0', 1)
    frame = before[1:] + b'"metrics":', after
    if len(_frames) >= KEPT_TEXTS:
        _frames.clear()
    _frames[form] = frame
    return frame


def _attributes(params: Any) -> Any:
    """Return what a namespace holds; anything else as it is."""
    kind = type_of(params)
    if issubclass(kind, Mapping) or hasattr(kind, "__dataclass_fields__"):
        return params
    try:
        held: object = params.__dict__
    except Exception:  # AttributeError, or whatever its own code raises
        return params
    if type(held) is not dict:
        return params
    return {
        name: value
        for name, value in cast("dict[str, Any]", held).items()
        if not name.startswith("_")
    }
