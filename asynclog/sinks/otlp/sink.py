"""OTLP's sink: sends batches, knows which failures pass, and counts what a server refuses."""

from __future__ import annotations

import gzip
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from http.client import HTTPException
from importlib.metadata import version
from typing import Any, Final

from ..._complain import complain
from ...typing import Batch, Run
from ..backend import BackendError, readable
from ..select import Selector
from . import Otlp
from .encode_json import JsonEncoding
from .encode_protobuf import ProtobufEncoding
from .http import Answer, HttpClient
from .records import LogRecord, log_record
from .settings import Exporter

RETRYABLE: Final = frozenset((429, 502, 503, 504))
"""What the protocol says may be tried again: https://opentelemetry.io/docs/specs/otlp/#failures."""
TOO_LARGE: Final = 413
FIRST_PAUSE: Final = 1.0
"""Seconds after a first failure, doubled after each more."""
LONGEST_PAUSE: Final = 60.0
LONGEST_RETRY_AFTER: Final = 3600.0
"""Seconds that a server can make us wait."""
GZIP_LEVEL: Final = 1
"""A quarter of the time of level 6 for a fifth more bytes."""

_DROPPED: Final = "asynclog.dropped"
_MAX_REASON: Final = 300


class OtlpSink:
    """Sends each batch as one request; a blocking sink.

    Args:
        settings: What the user wants.
        jitter: Returns a number from 0 to 1, so that not all come again at once.

    Attributes:
        dropped: Lines that the server has refused, by reason.
    """

    kinds: frozenset[str] | None = None

    def __init__(self, settings: Otlp, jitter: Callable[[], float] = random.random) -> None:
        self._settings = settings
        self._jitter = jitter
        self._selector = Selector.of(settings.level, None)
        self._exporter: Exporter | None = None
        self._client: HttpClient | None = None
        self._encoding: JsonEncoding | ProtobufEncoding = JsonEncoding()
        self._resource: dict[str, Any] = {}
        self._version = version("asynclog")
        self._failures = 0
        self._resume = 0.0
        # of a batch that comes again, those that the server has
        self._batch: Batch | None = None
        self._done = 0
        self.dropped: Counter[str] = Counter()

    def open(self, run: Run) -> None:
        """Find out where to send to; nothing is sent yet.

        Raises:
            SettingError: A setting or variable breaks its rule.
            MissingExtraError: ``opentelemetry-proto`` is not installed.
        """
        self.close()
        self._exporter = Exporter.of(self._settings)
        if self._exporter.protocol == "http/protobuf":
            self._encoding = ProtobufEncoding()
        self._client = HttpClient(self._exporter)
        self._resource = {
            "telemetry.sdk.name": "asynclog",
            "telemetry.sdk.language": "python",
            "telemetry.sdk.version": self._version,
            "host.name": run.host,
            "asynclog.run": run.name,
            **self._exporter.resource,
        }

    def write_blocking(self, batch: Batch) -> None:
        """Send a batch.

        Raises:
            BackendError: It has to be sent again, not before its ``retry_after``.
        """
        if batch is not self._batch:
            self._batch, self._done = batch, 0
        left = self._resume - time.monotonic()
        if left > 0:
            raise BackendError("waits before it tries again", retry_after=left)
        self._send([log_record(event) for event in self._selector.events(batch)][self._done :])
        self._failures = 0
        self._batch = None

    def close(self) -> None:
        """Close the connection."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _send(self, records: Sequence[LogRecord]) -> None:
        if not records:
            return
        answer = self._post(records)
        if answer.status in RETRYABLE:
            text = f"the server answers {answer.status} {answer.reason}"
            raise self._later(text, answer.retry_after)
        if answer.status == TOO_LARGE and len(records) > 1:
            middle = len(records) // 2
            self._send(records[:middle])
            self._send(records[middle:])
            return
        if 200 <= answer.status < 300:
            self._took(records, answer)
        else:
            reason = self._encoding.reason(answer.body)
            text = f"the server refuses with {answer.status} {answer.reason}"
            self._drop(f"http {answer.status}", records, len(records), text, reason)
        self._done += len(records)

    def _post(self, records: Sequence[LogRecord]) -> Answer:
        exporter, client = self._exporter, self._client
        assert exporter is not None
        assert client is not None
        body = self._encoding.encode(records, self._resource, time.time_ns())
        headers = {
            "content-type": self._encoding.content_type,
            "user-agent": f"asynclog/{self._version}",
        }
        if exporter.gzip:
            body = gzip.compress(body, GZIP_LEVEL)
            headers["content-encoding"] = "gzip"
        try:
            return client.post(body, headers)
        except (OSError, HTTPException) as error:
            raise self._later(f"{exporter.url}: {readable(error)}", None) from None

    def _took(self, records: Sequence[LogRecord], answer: Answer) -> None:
        """Note what a server says of a request that it has taken."""
        try:
            count, reason = self._encoding.rejected(answer.body)
        except ValueError as error:
            # it has them, whatever it says
            self._complain(f"the server's answer cannot be read: {error}")
            return
        if count > 0:
            text = f"the server rejects {count} of {len(records)} records"
            self._drop("rejected", records, min(count, len(records)), text, reason)
        elif reason:
            self._complain(f"the server warns: {self._plain(reason)}")

    def _drop(
        self, why: str, records: Sequence[LogRecord], count: int, text: str, reason: str
    ) -> None:
        """Count what is not sent again."""
        # What says that we have dropped something would make another such record each time.
        own = sum(record.body == _DROPPED for record in records)
        if count > own:
            self.dropped[why] += count - own
        self._complain(f"{text}: {self._plain(reason)}" if reason.strip() else text)

    def _later(self, text: str, asked: float | None) -> BackendError:
        """Return the error that has the same batch come again, later and later."""
        pause = min(FIRST_PAUSE * 2.0**self._failures, LONGEST_PAUSE)
        self._failures = min(self._failures + 1, 16)
        # half to whole, so that the servers' clients spread out
        pause *= 0.5 + self._jitter() / 2
        if asked is not None:
            pause = min(asked, LONGEST_RETRY_AFTER) + self._jitter() * min(1.0, asked / 10)
        self._resume = time.monotonic() + pause
        return BackendError(self._plain(text), retry_after=pause)

    def _complain(self, text: str) -> None:
        complain(f"sink {Otlp.name}: {text}", kind=f"record {Otlp.name}")

    def _plain(self, text: str) -> str:
        """Return a server's text in one line, without the secrets that we have sent it."""
        assert self._exporter is not None
        for value in self._exporter.headers.values():
            for part in (value, value.partition(" ")[2]):
                if len(part) > 3:
                    text = text.replace(part, "***")
        text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        return text if len(text) <= _MAX_REASON else text[:_MAX_REASON] + "..."
