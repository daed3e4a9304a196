"""Where an OTLP exporter sends to and how, told by its settings and the environment.

The variables and their defaults are those of the OpenTelemetry specification:
https://opentelemetry.io/docs/specs/otel/protocol/exporter/ and
https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit, urlunsplit

from ..._settings import parse_duration
from ...exceptions import SettingError
from ..settings import check_choice
from . import COMPRESSIONS, PROTOCOLS

if TYPE_CHECKING:
    from . import Otlp

DEFAULT_ENDPOINT: Final = "http://localhost:4318"
DEFAULT_TIMEOUT: Final = 10.0
PATH: Final = "/v1/logs"
PREFIX: Final = "OTEL_EXPORTER_OTLP_"
UNKNOWN_SERVICE: Final = "unknown_service:python"

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A header's name, RFC 9110, section 5.6.2."""
_VALUE: Final = re.compile(r"[\t\x20-\x7e]*")
_OWN_HEADERS: Final = frozenset(
    ("content-type", "content-encoding", "content-length", "transfer-encoding", "host")
)


@dataclass(frozen=True, slots=True)
class Exporter:
    """What the sink needs to know; it may hold secrets, and shows none.

    Attributes:
        url: Whole address, e.g. ``http://localhost:4318/v1/logs``.
        headers: To be sent along, names in lower case.
        protocol: ``"http/json"`` or ``"http/protobuf"``.
        gzip: Whether to compress.
        timeout: Seconds until an attempt is given up.
        certificate: File of the certificates to trust, None for the system's.
        client_certificate: File of our own certificate, None without one.
        client_key: File of its key, None when it is in the same file.
        resource: Attributes of the resource.
    """

    url: str
    headers: Mapping[str, str] = field(repr=False)
    protocol: str
    gzip: bool
    timeout: float
    certificate: str | None
    client_certificate: str | None
    client_key: str | None
    resource: Mapping[str, str]

    @classmethod
    def of(cls, settings: Otlp, environment: Mapping[str, str] = os.environ) -> Exporter:
        """Read settings and environment.

        Raises:
            SettingError: One of them breaks its rule; its text holds no secret.
        """

        def variable(name: str) -> tuple[str | None, str]:
            """Return a variable's value, None when it is not set or empty, and its whole name."""
            for whole in (f"{PREFIX}LOGS_{name}", PREFIX + name):
                if value := environment.get(whole, "").strip():
                    return value, whole
            return None, PREFIX + name

        def pick(name: str, given: Any) -> tuple[Any, str]:
            return (given, name.lower()) if given is not None else variable(name)

        protocol, setting = pick("PROTOCOL", settings.protocol)
        if protocol == "grpc":
            hint = f"Set {PREFIX}LOGS_PROTOCOL=http/protobuf; the port is 4318 instead of 4317"
            raise SettingError(setting, "must be a protocol over HTTP", protocol, hint)
        check_choice(protocol or PROTOCOLS[0], PROTOCOLS, setting)
        compression, setting = pick("COMPRESSION", settings.compression)
        check_choice(compression or COMPRESSIONS[0], COMPRESSIONS, setting)
        text, setting = variable("HEADERS")
        return cls(
            url=_url(settings.endpoint, variable),
            headers=_headers(text, setting) if text else {},
            protocol=protocol or PROTOCOLS[0],
            gzip=compression != "none",
            timeout=_timeout(settings.timeout, variable),
            certificate=variable("CERTIFICATE")[0],
            client_certificate=variable("CLIENT_CERTIFICATE")[0],
            client_key=variable("CLIENT_KEY")[0],
            resource=_resource(settings, environment),
        )


def _url(endpoint: str | None, variable: Callable[[str], tuple[str | None, str]]) -> str:
    setting, whole = "endpoint", False
    if endpoint is None:
        endpoint, setting = variable("ENDPOINT")
        # that for logs alone is taken as it is
        whole = setting.startswith(f"{PREFIX}LOGS_")
    endpoint = endpoint or DEFAULT_ENDPOINT
    try:
        parts = urlsplit(endpoint)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise SettingError(setting, "must be an address", _shown(endpoint)) from None
    if not usable or not endpoint.isascii() or not endpoint.isprintable() or " " in endpoint:
        hint = f"Write e.g. {DEFAULT_ENDPOINT}"
        raise SettingError(setting, "must be an http or https address", _shown(endpoint), hint)
    if "@" in parts.netloc:
        rule, hint = "must hold no password", f"Set {PREFIX}HEADERS=authorization=... instead"
        raise SettingError(setting, rule, _shown(endpoint), hint)
    path = parts.path
    if not whole and not path.rstrip("/").endswith(PATH):
        path = path.rstrip("/") + PATH
    return urlunsplit((parts.scheme, parts.netloc, path or "/", parts.query, ""))


def _shown(endpoint: str) -> str:
    scheme, slashes, rest = endpoint.rpartition("//")
    return f"{scheme}{slashes}{rest.rpartition('@')[2]}"


def _headers(text: str, setting: str) -> dict[str, str]:
    """Read ``name=value,name2=value2``, values percent-encoded, as W3C Baggage writes them."""
    found: dict[str, str] = {}
    for number, pair in enumerate(text.split(","), 1):
        if not pair.strip():
            continue
        name, equals, value = pair.partition("=")
        name, value = unquote(name).strip(" \t").lower(), unquote(value).strip(" \t")
        if not (equals and _TOKEN.fullmatch(name) and _VALUE.fullmatch(value)):
            rule = "must be a list of headers such as name=value,name2=value2"
            # the value stays where it is: it is a key
            raise SettingError(setting, rule, f"entry {number}, which is none")
        if name in _OWN_HEADERS:
            raise SettingError(setting, "must not hold a header that is the exporter's own", name)
        found[name] = value
    return found


def _timeout(given: float | str | None, variable: Callable[[str], tuple[str | None, str]]) -> float:
    if given is not None:
        timeout, setting = parse_duration(given, "timeout"), "timeout"
    else:
        text, setting = variable("TIMEOUT")
        if text is None:
            return DEFAULT_TIMEOUT
        if not text.isascii() or not text.isdigit():
            raise SettingError(setting, "must be a number of milliseconds", text)
        given, timeout = text, int(text) / 1000
    if not timeout:
        raise SettingError(setting, "must be positive", given)
    return timeout


def _resource(settings: Otlp, environment: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    name = "OTEL_RESOURCE_ATTRIBUTES"
    for number, pair in enumerate(environment.get(name, "").split(","), 1):
        if pair.strip():
            key, equals, value = pair.partition("=")
            if not equals or not key.strip():
                rule = "must be a list of attributes such as name=value,name2=value2"
                raise SettingError(name, rule, f"entry {number}: {pair.strip()}")
            found[unquote(key).strip()] = unquote(value).strip()
    found |= settings.resource or {}
    service = settings.service_name or environment.get("OTEL_SERVICE_NAME", "").strip()
    if service:
        found["service.name"] = service
    found.setdefault("service.name", UNKNOWN_SERVICE)
    return found
