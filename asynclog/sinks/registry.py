"""Sink declarations as plain data and back, so that another process can make the sinks."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, cast

from ..exceptions import SettingError
from ..typing import SinkDeclaration

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINT_GROUP: Final = "asynclog.sinks"
"""Packages name their declarations here, ``kind = "module:Class"``."""

_BUILT_IN: Final = {
    "jsonl": "asynclog.sinks.jsonl:JsonlFile",
    "text": "asynclog.sinks.text:TextFile",
    "console": "asynclog.sinks.console:Console",
    "metrics_csv": "asynclog.sinks.metrics_csv:MetricsCsv",
    "metrics_jsonl": "asynclog.sinks.metrics_jsonl:MetricsJsonl",
    "best": "asynclog.sinks.best:Best",
    "wandb": "asynclog.sinks.wandb:Wandb",
    "tensorboard": "asynclog.sinks.tensorboard:TensorBoard",
    "mlflow": "asynclog.sinks.mlflow:MLflow",
    "nats": "asynclog.sinks.nats:Nats",
    "otlp": "asynclog.sinks.otlp:Otlp",
    "reduced": "asynclog.sinks.reduced:Reduced",
}
_IMPORT: Final = "import"
_SINK: Final = "asynclog.sink"
_FORMATTER: Final = "logging.Formatter"
_STYLES: Final = {"PercentStyle": "%", "StrFormatStyle": "{", "StringTemplateStyle": "$"}


def to_data(declaration: object) -> dict[str, Any]:
    """Return a declaration as data that JSON can hold: its ``kind`` and its settings.

    Raises:
        SettingError: It is no dataclass, or one of its settings cannot be found again by another
            process, such as a lambda.
    """
    kind = type(declaration)
    if not is_dataclass(declaration) or isinstance(declaration, type):
        raise SettingError("sinks", "must hold declarations that are dataclasses", declaration)
    place = f"{kind.__module__}:{kind.__qualname__}"
    names = {built_in: name for name, built_in in _BUILT_IN.items()}
    data: dict[str, Any] = {"kind": names.get(place) or _place_of(kind, "sinks")}
    for field in fields(declaration):
        if field.init:
            data[field.name] = _plain(getattr(declaration, field.name), field.name)
    return data


def from_data(data: object) -> SinkDeclaration:
    """Return the declaration that :func:`to_data` has described.

    Args:
        data: ``{"kind": "jsonl", "max_bytes": "10 MB"}``. The kind is a built-in one, one that an
            installed package names in the entry-point group ``asynclog.sinks``, or
            ``"module:Class"``.

    Raises:
        SettingError: The kind or a setting is unknown, or a setting breaks its rule.
    """
    if not isinstance(data, Mapping):
        raise SettingError("sinks", "must be described by a mapping with a kind", data)
    settings = dict(cast(Mapping[str, Any], data))
    kind = settings.pop("kind", None)
    declare = _declaration_class(kind)
    known = {field.name for field in fields(declare) if field.init}
    for name in settings:
        if name not in known:
            raise SettingError(
                f"sinks.{kind}", f"has the settings {', '.join(sorted(known))} and no others", name
            )
    needed = {
        field.name
        for field in fields(declare)
        if field.init and field.default is MISSING and field.default_factory is MISSING
    }
    if missing := sorted(needed - settings.keys()):
        raise SettingError(f"sinks.{kind}", f"needs the setting {missing[0]}", settings)
    return declare(**{name: _rich(value, name) for name, value in settings.items()})


def _declaration_class(kind: object) -> Any:
    if not isinstance(kind, str) or not kind:
        raise SettingError("sinks", "must name their kind", kind)
    place = _BUILT_IN.get(kind)
    if place is not None or ":" in kind:
        found = _imported(place or kind, "sinks")
    else:
        found = None
        for point in _entry_points():
            if point.name != kind:
                continue
            try:
                found = point.load()
            except Exception as error:
                raise SettingError(
                    "sinks", f"cannot load this kind from {point.value} ({error})", kind
                ) from error
    if not isinstance(found, type) or not is_dataclass(found) or not hasattr(found, "make"):
        others = {point.name for point in _entry_points()}
        raise SettingError(
            "sinks", f"must be of the kinds {', '.join(sorted({*_BUILT_IN, *others}))}", kind
        )
    return found


def _entry_points() -> Iterable[EntryPoint]:
    # 10 ms that only those pay who ask for a kind that is not built in
    from importlib.metadata import entry_points

    return entry_points(group=ENTRY_POINT_GROUP)


def _plain(value: Any, setting: str) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(item, setting) for item in cast(list[Any], value)]
    if isinstance(value, Mapping):
        items = cast(Mapping[Any, Any], value).items()
        return {str(key): _plain(item, setting) for key, item in items}
    if type(value) is logging.Formatter:
        return {_FORMATTER: _formatter_arguments(value, setting)}
    if isinstance(value, SinkDeclaration) and not isinstance(value, type):
        return {_SINK: to_data(value)}
    return {_IMPORT: _place_of(value, setting)}


def _rich(value: Any, setting: str) -> Any:
    if isinstance(value, list):
        return tuple(_rich(item, setting) for item in cast(list[Any], value))
    if not isinstance(value, Mapping):
        return value
    data = cast(Mapping[str, Any], value)
    if list(data) == [_IMPORT]:
        return _imported(data[_IMPORT], setting)
    if list(data) == [_SINK]:
        return from_data(data[_SINK])
    if list(data) == [_FORMATTER]:
        return logging.Formatter(**data[_FORMATTER])
    return {key: _rich(item, setting) for key, item in data.items()}


def _formatter_arguments(formatter: logging.Formatter, setting: str) -> dict[str, Any]:
    style = _STYLES.get(type(formatter._style).__name__)
    if style is None:
        raise SettingError(setting, "must have one of logging's own styles", formatter)
    return {"fmt": formatter._fmt, "datefmt": formatter.datefmt, "style": style}


def _place_of(value: Any, setting: str) -> str:
    """Return ``module:name``, by which another process can import the value."""
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    place = f"{module}:{name}"
    try:
        found = _find(place) is value
    except Exception:
        found = False
    if not found or module == "__main__":
        raise SettingError(
            setting,
            "must be importable by another process",
            value,
            "Define it at the top of a module that is not the program itself",
        )
    return place


def _imported(place: Any, setting: str) -> Any:
    try:
        return _find(place)
    except Exception as error:
        raise SettingError(
            setting, f"must be importable ({type(error).__name__}: {error})", place
        ) from error


def _find(place: str) -> Any:
    module, _, name = place.partition(":")
    value: Any = import_module(module)
    for part in name.split("."):
        value = getattr(value, part)
    return value
