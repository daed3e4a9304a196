"""One connection to an OTLP server: posts bodies, and knows proxies and certificates.

It waits and tries again for nobody; that is the sink's business.
"""

from __future__ import annotations

import ssl
import time
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import BadStatusLine, HTTPConnection, HTTPException, HTTPSConnection
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from ...exceptions import SettingError
from .settings import Exporter

MAX_ANSWER: Final = 64 * 1024
"""Bytes of an answer that are read; one of a server's own is some hundred bytes long."""


class Answer(NamedTuple):
    """What a server says.

    Attributes:
        status: Its status code.
        reason: The text that comes with it.
        retry_after: Seconds to wait before the next attempt, None when it does not say.
        body: The beginning of what else it says.
    """

    status: int
    reason: str
    retry_after: float | None
    body: bytes


class HttpClient:
    """Posts to one address, over one connection that is kept; used by one thread at a time.

    Args:
        exporter: Where to and how.

    Raises:
        SettingError: A certificate cannot be read.
    """

    def __init__(self, exporter: Exporter) -> None:
        parts = urlsplit(exporter.url)
        assert parts.hostname is not None
        self._secure = parts.scheme == "https"
        self._host = parts.hostname
        self._port = parts.port
        self._path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        self._timeout = exporter.timeout
        self._headers = dict(exporter.headers)
        self._tls = _tls(exporter) if self._secure else None
        proxy = getproxies().get(parts.scheme)
        self._proxy = None if proxy is None or proxy_bypass(parts.netloc) else urlsplit(proxy)
        if self._proxy is not None and self._proxy.hostname is None:
            raise SettingError(f"{parts.scheme}_proxy", "must be an address", "one without a host")
        if self._proxy is not None and not self._secure:
            self._path = f"http://{parts.netloc}{self._path}"
            self._headers |= self._for_proxy()
        self._connection: HTTPConnection | None = None

    def post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Post a body and return the answer.

        Raises:
            OSError: The server cannot be reached, is silent, or breaks off.
            HTTPException: It does not speak HTTP.
        """
        headers = {**headers, **self._headers}
        kept = self._connection is not None
        try:
            return self._post(body, headers)
        except (ConnectionError, BadStatusLine):
            if not kept:
                raise
        # A connection that was idle may be gone without a word.
        return self._post(body, headers)

    def close(self) -> None:
        """Close the connection; the next post opens one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        connection = self._connection = self._connection or self._connect()
        try:
            connection.request("POST", self._path, body, headers)
            response = connection.getresponse()
            content = response.read(MAX_ANSWER)
            answer = Answer(
                response.status,
                response.reason,
                retry_after(response.getheader("Retry-After")),
                content,
            )
            if response.will_close or not response.isclosed():
                self.close()
            return answer
        except (OSError, HTTPException):
            self.close()
            raise

    def _connect(self) -> HTTPConnection:
        proxy = self._proxy
        host, port = self._host, self._port
        if proxy is not None:
            host, port = proxy.hostname or "", proxy.port
        if self._tls is None:
            return HTTPConnection(host, port, timeout=self._timeout)
        connection = HTTPSConnection(host, port, timeout=self._timeout, context=self._tls)
        if proxy is not None:
            connection.set_tunnel(self._host, self._port or 443, headers=self._for_proxy())
        return connection

    def _for_proxy(self) -> dict[str, str]:
        proxy = self._proxy
        if proxy is None or proxy.username is None:
            return {}
        user = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        return {"Proxy-Authorization": f"Basic {b64encode(user.encode()).decode()}"}


def retry_after(value: str | None, now: float | None = None) -> float | None:
    """Read a ``Retry-After``: seconds, or a date (RFC 9110, section 10.2.3).

    Args:
        value: The header's value, None without one.
        now: Seconds since 1970; the present by default.

    Returns:
        Seconds to wait, None when it does not say.
    """
    value = (value or "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    present = datetime.fromtimestamp(time.time() if now is None else now, UTC)
    return max(0.0, (moment - present).total_seconds())


def _tls(exporter: Exporter) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=exporter.certificate)
    except OSError as error:
        rule = f"must name a file of certificates ({error.strerror or error})"
        name = "OTEL_EXPORTER_OTLP_CERTIFICATE"
        raise SettingError(name, rule, exporter.certificate) from None
    if exporter.client_certificate is not None:
        try:
            context.load_cert_chain(exporter.client_certificate, exporter.client_key)
        except OSError as error:
            rule = f"must name a certificate and its key ({error.strerror or error})"
            name = "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"
            raise SettingError(name, rule, exporter.client_certificate) from None
    return context
