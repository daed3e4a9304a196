"""JSONFormatter: records as JSON, for those who stay with handlers of their own."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from .._json import dumps
from .._line.encoder import LineEncoder
from .._line.fit import fit, put
from .._line.plain import free_name, type_of
from .._line.problem import add_problem
from .._line.snapshot import Snapshot
from .._logger.front import nearest_level
from .._settings import DEFAULT_MAX_EVENT_BYTES
from ..exceptions import SettingError
from .record import event_of, extra_fields, message_of, timestamp

_encoder: Final = LineEncoder()


class JSONFormatter(logging.Formatter):
    """Formats each record as one line of strict JSON, at most 64 KiB long.

    Values are made JSON as in every line of ours: NaN, dates, arrays, cycles and whatever raises
    in its ``repr()`` included. Nothing is raised; what goes wrong is named in ``log_error``.

    Without ``fmt_keys`` the line is the one that :class:`Handler` would make, so that all tools
    for our files read it. With it, the names are the user's::

        JSONFormatter(fmt_keys={"level": "levelname", "logger": "name", "line": "lineno"})

    gives ``{"level":"INFO","logger":"app","line":12,"message":"hello","timestamp":"2026-...Z"}``,
    followed by ``exc_info`` and ``stack_info`` as text, if there are any, the items of a mapping
    given as message, and the ``extra=`` fields. Of these, one whose name is taken gets ``_``
    behind it.

    Args:
        fmt_keys: Names in the output, in their order, and the attribute of the record behind
            each. ``message``, ``timestamp`` (UTC, microseconds), ``exc_info`` and ``stack_info``
            are there anyway and get another name or place in this way. An attribute that a
            record has not is null.

    Raises:
        SettingError: They do not map names to names.
    """

    def __init__(self, fmt_keys: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self._keys = None if fmt_keys is None else _checked(fmt_keys)

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as a line of JSON, without a line end."""
        if self._keys is None:
            level = nearest_level(record.levelno)
            event, fields = event_of(record, level.name)
            if "event" in fields:
                fields[free_name("event_", fields)] = fields.pop("event")
            line = _encoder.encode({"event": event, **fields}, level=level.name, logger=record.name)
            return line[:-1].decode()
        snapshot = Snapshot(DEFAULT_MAX_EVENT_BYTES)
        plain = snapshot.fields(self._mapped(record, self._keys))
        if snapshot.cut:
            put(plain, "truncated", True)
        line = dumps(plain) + b"\n"
        if len(line) > DEFAULT_MAX_EVENT_BYTES:
            line = fit(plain, DEFAULT_MAX_EVENT_BYTES)
        return line[:-1].decode()

    def _mapped(self, record: logging.LogRecord, keys: Mapping[str, str]) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        always: dict[str, Any] = {
            "message": message_of(record, fields),
            "timestamp": timestamp(record.created),
        }
        try:
            if record.exc_info and record.exc_info[1] is not None:
                always["exc_info"] = self.formatException(record.exc_info)
            elif record.exc_text:
                always["exc_info"] = record.exc_text
            if record.stack_info:
                always["stack_info"] = self.formatStack(record.stack_info)
        except Exception as error:
            # some exceptions cannot even be printed
            add_problem(fields, "formatting", error)
        result = {
            name: always[source] if source in always else self._attribute(record, source)
            for name, source in keys.items()
        }
        named = frozenset(keys.values())
        for name, value in always.items():
            if name not in named:
                result[free_name(name, result)] = value
        for name, value in (*fields.items(), *extra_fields(record)):
            if name not in named:
                result[free_name(name, result)] = value
        return result

    def _attribute(self, record: logging.LogRecord, name: str) -> Any:
        if name == "asctime":
            return self.formatTime(record)
        return getattr(record, name, None)


def _checked(fmt_keys: Any) -> dict[str, str]:
    hint = 'Write e.g. fmt_keys={"level": "levelname", "logger": "name"}'
    rule = "must map names in the output to attributes of a LogRecord"
    keys: dict[str, str] = {}
    if not issubclass(type_of(fmt_keys), Mapping):
        raise SettingError("fmt_keys", rule, fmt_keys, hint)
    for name, source in fmt_keys.items():
        if type_of(name) is not str or type_of(source) is not str:
            raise SettingError("fmt_keys", rule, fmt_keys, hint)
        keys[name] = source
    return keys
