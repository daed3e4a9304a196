"""OTLP's JSON encoding: identifiers in hexadecimal, 64-bit integers as text.

https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, cast

from ..._json import dumps, loads
from .records import LogRecord, by_resource

_MAX: Final = 2**63 - 1


class JsonEncoding:
    """Encodes requests as JSON."""

    content_type: ClassVar[str] = "application/json"

    def encode(
        self,
        records: Sequence[LogRecord],
        resource: Mapping[str, Any],
        observed: int,
    ) -> bytes:
        """Return an ``ExportLogsServiceRequest``.

        Args:
            records: What to send.
            resource: Attributes of the resource; ``host.name`` is that of a record which names one.
            observed: When the records came to us, nanoseconds since 1970.
        """
        seen = str(observed)
        resources = [
            {
                "resource": {
                    "attributes": _pairs({**resource, "host.name": host} if host else resource)
                },
                "scopeLogs": [
                    {
                        "scope": {"name": scope},
                        "logRecords": [_record(record, seen) for record in group],
                    }
                    for scope, group in scopes.items()
                ],
            }
            for host, scopes in by_resource(records).items()
        ]
        return dumps({"resourceLogs": resources})

    def rejected(self, body: bytes) -> tuple[int, str]:
        """Return how many records a server has not taken, and why, from its answer.

        Raises:
            ValueError: It is no ``ExportLogsServiceResponse``.
        """
        answer: object = loads(body) if body.strip() else {}
        if not isinstance(answer, dict):
            raise ValueError("it is no JSON object")
        partial: object = cast("dict[str, Any]", answer).get("partialSuccess") or {}
        if not isinstance(partial, dict):
            raise ValueError("partialSuccess is no object")
        found = cast("dict[str, Any]", partial)
        return int(found.get("rejectedLogRecords") or 0), str(found.get("errorMessage") or "")

    def reason(self, body: bytes) -> str:
        """Return the text of a ``Status``, with which a server says what is wrong."""
        try:
            status: object = loads(body)
        except ValueError:
            return body.decode(errors="replace")
        if isinstance(status, dict) and (message := cast("dict[str, Any]", status).get("message")):
            return str(message)
        return body.decode(errors="replace")


def _record(record: LogRecord, observed: str) -> dict[str, Any]:
    made: dict[str, Any] = {
        "timeUnixNano": str(record.time),
        "observedTimeUnixNano": observed,
        "severityNumber": record.severity,
        "severityText": record.level,
        "body": {"stringValue": record.body},
        "attributes": _pairs(record.attributes),
    }
    if record.trace_id:
        made["traceId"] = record.trace_id
        if record.span_id:
            made["spanId"] = record.span_id
        if record.flags:
            made["flags"] = record.flags
    return made


def _pairs(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in values.items()]


def _value(value: Any) -> dict[str, Any]:
    kind = cast("type[object]", type(value))
    if kind is str:
        return {"stringValue": value}
    if kind is int:
        fits = -_MAX <= value <= _MAX
        return {"intValue": str(value)} if fits else {"stringValue": str(value)}
    if kind is float:
        return {"doubleValue": value}
    if kind is bool:
        return {"boolValue": value}
    if kind is dict:
        return {"kvlistValue": {"values": _pairs(value)}}
    if kind is list:
        return {"arrayValue": {"values": [_value(item) for item in value]}}
    return {}
