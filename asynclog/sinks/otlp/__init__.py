"""Otlp: every line as a log record of OpenTelemetry, to any server that speaks OTLP/HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Literal, TypeAlias, cast

from ..._levels import parse_level
from ...exceptions import SettingError
from ..backend import text_or_none

if TYPE_CHECKING:
    from .sink import OtlpSink

Protocol: TypeAlias = Literal["http/json", "http/protobuf"]
PROTOCOLS: Final = ("http/json", "http/protobuf")
Compression: TypeAlias = Literal["gzip", "none"]
COMPRESSIONS: Final = ("gzip", "none")
EXPORT_INTERVAL: Final = 1.0
"""Seconds that lines gather before they are sent, as in OpenTelemetry's own batch processor."""


@dataclass(frozen=True)
class Otlp:
    """Send every line to an OpenTelemetry Collector, or to whatever else takes OTLP/HTTP logs.

    What is not given comes from the standard ``OTEL_EXPORTER_OTLP_*`` variables, those for logs
    (``OTEL_EXPORTER_OTLP_LOGS_ENDPOINT``, ...) before the general ones. Headers, which hold keys,
    and certificates come from there alone. Beside a :class:`JsonlFile` that takes every line, an
    outage loses nothing: the rest is sent when the server is back. Protobuf needs
    ``asynclog[otlp]``, JSON needs nothing.

    Args:
        endpoint: Address of the server, to which ``/v1/logs`` is added; by default
            ``http://localhost:4318``.
        service_name: ``service.name`` of the resource; else ``OTEL_SERVICE_NAME``.
        resource: Further attributes of the resource; they go before those of
            ``OTEL_RESOURCE_ATTRIBUTES``.
        protocol: ``"http/json"`` (default) or ``"http/protobuf"``.
        compression: ``"gzip"`` (default) or ``"none"``.
        timeout: How long an answer may take, seconds or a text (default ``"10 s"``).
        level: Lowest level that is sent, None for all.
    """

    endpoint: str | None = None
    service_name: str | None = None
    resource: Mapping[str, str] | None = None
    protocol: Protocol | None = None
    compression: Compression | None = None
    timeout: float | str | None = None
    level: int | str | None = None
    name: ClassVar[str] = "otlp"
    heavy: ClassVar[bool] = True
    follows: ClassVar[bool] = True
    gathers: ClassVar[float] = EXPORT_INTERVAL

    def __post_init__(self) -> None:
        """Check the settings, and those of the environment.

        Raises:
            SettingError: One of them breaks its rule.
        """
        from .settings import Exporter

        for setting in ("endpoint", "service_name"):
            text_or_none(getattr(self, setting), setting)
        if self.resource is not None:
            object.__setattr__(self, "resource", _attributes(self.resource))
        if self.level is not None:
            parse_level(self.level)
        Exporter.of(self)

    def make(self) -> OtlpSink:
        """Make the sink."""
        from .sink import OtlpSink

        return OtlpSink(self)


def _attributes(value: object) -> dict[str, str]:
    if isinstance(value, Mapping):
        items = dict(cast("Mapping[object, object]", value))
        if all(isinstance(text, str) and text for pair in items.items() for text in pair):
            return cast("dict[str, str]", items)
    raise SettingError("resource", "must map names to texts", cast("object", value))
