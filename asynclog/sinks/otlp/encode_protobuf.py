"""OTLP's protobuf encoding, by the code that OpenTelemetry generates from its definitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, cast

from ..backend import import_backend
from .records import LogRecord, by_resource

_FEATURE = "The protocol http/protobuf of the sink Otlp"
_MAX: Final = 2**63 - 1


class ProtobufEncoding:
    """Encodes requests as protobuf.

    Raises:
        MissingExtraError: ``opentelemetry-proto`` is not installed.
    """

    content_type: ClassVar[str] = "application/x-protobuf"

    def __init__(self) -> None:
        def module(name: str) -> Any:
            return import_backend(f"opentelemetry.proto.{name}_pb2", "otlp", _FEATURE)

        service = module("collector.logs.v1.logs_service")
        self._request: Any = service.ExportLogsServiceRequest
        self._response: Any = service.ExportLogsServiceResponse
        self._any: Any = module("common.v1.common").AnyValue

    def encode(
        self,
        records: Sequence[LogRecord],
        resource: Mapping[str, Any],
        observed: int,
    ) -> bytes:
        """Return an ``ExportLogsServiceRequest``; see :class:`JsonEncoding`."""
        request = self._request()
        for host, scopes in by_resource(records).items():
            attributes = {**resource, "host.name": host} if host else resource
            by_host = request.resource_logs.add()
            self._set(by_host.resource.attributes, attributes)
            for scope, group in scopes.items():
                by_scope = by_host.scope_logs.add()
                by_scope.scope.name = scope
                for record in group:
                    self._record(by_scope.log_records.add(), record, observed)
        return request.SerializeToString()

    def rejected(self, body: bytes) -> tuple[int, str]:
        """Return how many records a server has not taken, and why; see :class:`JsonEncoding`.

        Raises:
            ValueError: It is no ``ExportLogsServiceResponse``.
        """
        try:
            partial = self._response.FromString(body).partial_success
        except Exception as error:  # DecodeError, which is protobuf's own
            raise ValueError(str(error)) from None
        return partial.rejected_log_records, partial.error_message

    def reason(self, body: bytes) -> str:
        """Return what is readable of a ``Status``."""
        # google.rpc.Status is in another package, for a text between a few other bytes
        return "".join(filter(str.isprintable, body.decode(errors="ignore")))

    def _record(self, made: Any, record: LogRecord, observed: int) -> None:
        made.time_unix_nano = record.time
        made.observed_time_unix_nano = observed
        made.severity_number = record.severity
        made.severity_text = record.level
        made.body.string_value = record.body
        self._set(made.attributes, record.attributes)
        if record.trace_id:
            made.trace_id = bytes.fromhex(record.trace_id)
            made.span_id = bytes.fromhex(record.span_id)
            made.flags = record.flags

    def _set(self, pairs: Any, values: Mapping[str, Any]) -> None:
        add, value_of = pairs.add, self._value
        for key, value in values.items():
            add(key=key, value=value_of(value))

    def _value(self, value: Any) -> Any:
        kind = cast("type[object]", type(value))
        if kind is str:
            return self._any(string_value=value)
        if kind is int:
            if -_MAX <= value <= _MAX:
                return self._any(int_value=value)
            return self._any(string_value=str(value))
        if kind is float:
            return self._any(double_value=value)
        if kind is bool:
            return self._any(bool_value=value)
        made = self._any()
        if kind is dict:
            made.kvlist_value.SetInParent()
            self._set(made.kvlist_value.values, value)
        elif kind is list:
            made.array_value.SetInParent()
            made.array_value.values.extend(map(self._value, value))
        return made
