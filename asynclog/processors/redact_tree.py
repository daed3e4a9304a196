"""Secrets in plain values: what stands under a secret key, at any depth, and in each text."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any, Final

from .._line.arrival import Arrival, on_device
from .._line.plain import Plain, free_name, type_of
from .._secrets.names import Names, may_pass
from .._secrets.texts import Texts

# ``{"name": "DB_PASSWORD", "value": "hunter2"}``, as in Kubernetes and HAR files
_LABELS: Final = ("name", "key", "header", "variable")
_VALUE: Final = "value"
_FEW_ITEMS: Final = 16
_OPTION: Final = re.compile(r"--?([A-Za-z][\w\-]*)")
_LOGIN_OPTIONS: Final = ("-u", "--user", "--proxy-user")
_PAIR: Final = 2


class DeviceNumbers(Arrival):
    """Keeps numbers that lie on a device out of the copy, for the line to fetch them later."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        super().__init__()
        self._kept: dict[str, Any] = {}

    def take(self, value: Any, kind: type[Any]) -> str | None:
        """Return the text that stands for a number on a device; None for all else."""
        if not on_device(value, kind, sys.modules.get("torch")):
            return None
        token = f"<device number {id(self):x} {len(self._kept)}>"
        self._kept[token] = value
        return token

    def get(self, token: str) -> Any:
        """Return what a text stands for, the text itself if it is none of ours."""
        return self._kept.get(token, token) if self._kept else token


class Trees:
    """Takes secrets out of plain values.

    Args:
        names: Which keys are secret.
        texts: Takes secrets out of texts.
        replacement: What is put in the place of a secret.
    """

    __slots__ = ("_replacement", "_texts", "harmless_types")

    def __init__(self, names: Names, texts: Texts, replacement: str) -> None:
        self.harmless_types: Callable[[str], frozenset[type] | None] = names.harmless_types
        self._texts = texts
        self._replacement = replacement

    def redacted(self, value: Plain, numbers: DeviceNumbers) -> Any:
        """Return a copy of a value without secrets.

        Args:
            value: Made by a snapshot, so that its depth and size are bounded.
            numbers: What stands for numbers on a device.
        """
        kind = type_of(value)
        if kind is str:
            known = numbers.get(value)  # pyright: ignore[reportArgumentType]
            return self._texts.redact(known) if type_of(known) is str else known
        if isinstance(value, dict):
            return self._mapping(value, numbers)
        if isinstance(value, list):
            return self._sequence(value, numbers)
        return value

    def _mapping(self, mapping: dict[str, Plain], numbers: DeviceNumbers) -> dict[str, Any]:
        result: dict[str, Any] = {}
        hidden = self._key_of_secret(mapping) if len(mapping) <= _FEW_ITEMS else None
        for key, value in mapping.items():
            harmless = self.harmless_types(key)
            name = free_name(self._texts.redact(key), result)
            if harmless is not None or key == hidden:
                result[name] = self._hidden(value, harmless or frozenset(), numbers)
            else:
                result[name] = self.redacted(value, numbers)
        return result

    def _sequence(self, items: list[Plain], numbers: DeviceNumbers) -> list[Any]:
        result: list[Any] = []
        harmless: frozenset[type] | None = None
        in_private_key = login_follows = False
        for item in items:
            if isinstance(item, str):
                ends = "-----END" in item
                if in_private_key:
                    result.append(self._replacement)
                elif harmless is not None and not item.startswith("-"):
                    result.append(self._hidden(item, harmless, numbers))
                elif login_follows and ":" in item:
                    result.append(f"{item.partition(':')[0]}:{self._replacement}")
                else:
                    result.append(self.redacted(item, numbers))
                in_private_key = (in_private_key or "PRIVATE KEY-----" in item) and not ends
                option = _OPTION.fullmatch(item)
                harmless = None if option is None else self.harmless_types(option[1])
                login_follows = item in _LOGIN_OPTIONS
                continue
            if isinstance(item, list) and len(item) == _PAIR and isinstance(item[0], str):
                of_pair = self.harmless_types(item[0])
                if of_pair is not None:
                    name, value = item
                    result.append([name, self._hidden(value, of_pair, numbers)])
                    continue
            if harmless is not None:
                result.append(self._hidden(item, harmless, numbers))
                harmless = None
            else:
                result.append(self.redacted(item, numbers))
        return result

    def _key_of_secret(self, mapping: dict[str, Plain]) -> str | None:
        """Return the key whose value is a secret because that of another key names it."""
        keys = {key.lower(): key for key in mapping}
        if _VALUE not in keys:
            return None
        for label in _LABELS:
            name = mapping.get(keys.get(label, label))
            if isinstance(name, str) and self.harmless_types(name) is not None:
                return keys[_VALUE]
        return None

    def _hidden(self, value: Plain, harmless: frozenset[type], numbers: DeviceNumbers) -> Any:
        """Return the replacement, or the value where it is no secret even under such a name."""
        if may_pass(value, harmless):
            return value
        if isinstance(value, str) and float in harmless:
            known = numbers.get(value)
            if type_of(known) is not str:
                return known
        return self._replacement
