"""Records of metrics, media and timers as text: ``step 5 train: loss=0.1234 acc=0.91``.

Only what such a record means; time, level and other fields are shown as for any record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

Text = Callable[[Any], str]


class Shown(NamedTuple):
    """What is shown of a record in the place of its event.

    Attributes:
        text: The text.
        fields: Names of the fields that it has taken in.
    """

    text: str
    fields: frozenset[str]


def kind_text(event: Mapping[str, Any], key: Text, value: Text) -> Shown | None:
    """Return what is shown of a record that is no plain log event; None when there is no way.

    Args:
        event: The record.
        key: Makes the text of a name, ``=`` included.
        value: Makes the text of any other value, so that nothing in it can pass for more.
    """
    kind = event.get("kind")
    shown = _KINDS.get(kind) if type(kind) is str else None
    if shown is None:
        return None
    fields, show = shown
    try:
        return Shown(show(event, key, value), fields)
    except (KeyError, TypeError, ValueError, AttributeError):
        # a record of somebody else's making
        return None


def _metrics(event: Mapping[str, Any], key: Text, value: Text) -> str:
    numbers = _numbers(event["metrics"], key, value)
    place = _place(event, value)
    return f"{place or 'metrics'}: {numbers}"


def _hparams(event: Mapping[str, Any], key: Text, value: Text) -> str:
    text = f"hparams: {_numbers(event['params'], key, value)}"
    metrics = event.get("metrics")
    return f"{text}  metrics: {_numbers(metrics, key, value)}" if metrics else text


def _text(event: Mapping[str, Any], key: Text, value: Text) -> str:
    return f"{_named(event, value)}: {value(event['text'])}"


def _histogram(event: Mapping[str, Any], key: Text, value: Text) -> str:
    low, high = number(event["min"], value), number(event["max"], value)
    return f"{_named(event, value)}: {value(event['num'])} values from {low} to {high}"


def _image(event: Mapping[str, Any], key: Text, value: Text) -> str:
    text = f"{_named(event, value)}: {value(event.get('path', 'dropped'))}"
    if "width" in event:
        text += f" ({value(event['width'])} x {value(event['height'])})"
    return f"{text} {value(event['caption'])}" if "caption" in event else text


def _artifact(event: Mapping[str, Any], key: Text, value: Text) -> str:
    about = ", ".join(value(each) for each in (event["type"], *event["aliases"]))
    text = f"artifact {value(event['name'])} ({about}): {value(event['path'])}"
    return f"{text}, {value(event['size'])} bytes" if "size" in event else text


def _timer(event: Mapping[str, Any], key: Text, value: Text) -> str:
    return f"Timer [{value(event['timer'])}]: {event['elapsed']:.4f}s"


def _named(event: Mapping[str, Any], value: Text) -> str:
    place = _place(event, value)
    text = f"{value(event['kind'])} {value(event['name'])}"
    return f"{text} {place}" if place else text


def _place(event: Mapping[str, Any], value: Text) -> str:
    """Return step and split, as far as the record has them."""
    step, split = event.get("step"), event.get("split")
    parts = [f"step {value(step)}"] if step is not None else []
    return " ".join([*parts, value(split)] if split is not None else parts)


def _numbers(mapping: Mapping[str, Any], key: Text, value: Text) -> str:
    return " ".join(f"{key(name)}{number(item, value)}" for name, item in mapping.items())


def number(item: Any, value: Text) -> str:
    """Return a number with as many digits as people read; anything else as it is."""
    if type(item) is not float:
        return value(item)
    return f"{item:.4g}" if abs(item) < 1e4 else f"{item:.6g}"


_PLACED: Final = ("name", "step", "split")
_KINDS: Final = {
    "metrics": (frozenset(("step", "split", "metrics")), _metrics),
    "hparams": (frozenset(("params", "metrics")), _hparams),
    "text": (frozenset((*_PLACED, "text")), _text),
    "histogram": (
        frozenset((*_PLACED, "edges", "counts", "min", "max", "sum", "sum_squares", "num")),
        _histogram,
    ),
    "image": (frozenset((*_PLACED, "path", "width", "height", "caption", "media")), _image),
    "artifact": (frozenset(("name", "type", "aliases", "path", "size")), _artifact),
    "timer": (frozenset(("timer", "elapsed")), _timer),
}
