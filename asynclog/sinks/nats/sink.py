"""NATS's sink: lines become messages, and the cursor moves when the server has them all.

A message is known by the place of its lines in the run's files. The server drops one that comes
again soon; a receiver that goes by the places drops it for ever, however it was cut.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from ..._complain import complain
from ...typing import Batch, Run
from ..backend import BackendError, readable
from ..loop_thread import LoopThread
from ..rotation import make_directories
from ..select import is_flat, kind_of, parse
from ..span import Span
from . import Nats, presence
from . import link as nats_link
from . import stream as nats_stream
from .names import LOGS, METRIC_KINDS, METRICS, NO_RANK, Part, stream_name, token

MAX_MESSAGE: Final = 128 * 1024
"""Bytes of lines that are put into one message; a longer line has one of its own."""
DIRECTORY_ID: Final = Path(".asynclog") / "nats.id"
"""File in the run directory that tells it from others."""
HEADERS: Final = 1024
"""Bytes that the headers of a message take at most."""
ACK_TIMEOUT: Final = 10.0
"""Seconds that the server may take for a batch of messages: 256 KiB, or one long line."""

_RANK: Final = re.compile(rb'"rank":(\d+)[,}]')


class Message(NamedTuple):
    """Some lines on their way."""

    subject: str
    part: Part
    lines: bytes


class NatsSink:
    """Publishes lines; a blocking sink that is fed from the files.

    Args:
        settings: Where to, and as whom.

    Attributes:
        dropped: Lines that the server does not take, by reason.
    """

    def __init__(self, settings: Nats) -> None:
        self._settings = settings
        self._run = ""
        self._host = ""
        self._directory = ""
        self._middle = ""
        self._loop: LoopThread | None = None
        self._client: Any = None
        self._stream: Any = None
        self._acks: list[asyncio.Future[Any]] = []
        self.dropped: Counter[str] = Counter()

    def open(self, run: Run) -> None:
        """Connect, and make the run's stream where there is none; may be tried again.

        Raises:
            MissingExtraError: The client is not installed.
            OSError: Nothing can be written into the run directory.
            BackendError: The server cannot be reached, or the stream has other settings.
        """
        nats_link.load()
        self._run = self._settings.run or run.name
        self._host = run.host
        self._directory = _directory_id(run.directory)
        self._middle = f"{token(self._run)}.{token(run.host)}"
        if self._loop is None:
            self._loop = LoopThread("asynclog-nats")
        self._loop.run(self._connect())

    def write_blocking(self, batch: Batch) -> None:
        """Publish a batch; return when the server has stored all of it.

        Raises:
            BackendError: It has not; the same batch may come again.
        """
        assert self._loop is not None
        span: Span | None = getattr(batch, "span", None)
        if span is None:
            raise BackendError("needs a JsonlFile beside it that takes every line")
        self._loop.run(self._publish(batch, span))

    def close(self) -> None:
        """Disconnect."""
        if self._loop is not None:
            self._loop.run(self._disconnect())
            self._loop.close()
            self._loop = None

    async def _publish(self, batch: Batch, span: Span) -> None:
        try:
            await self._connect()
            most = self._client.max_payload - HEADERS
            async with asyncio.timeout(ACK_TIMEOUT):
                for message in self._messages(batch.lines, span, most):
                    self._acks.append(await self._send(message))
                await asyncio.gather(*self._acks)
        except Exception as error:
            await self._disconnect()
            raise BackendError(readable(error)) from None
        finally:
            for ack in self._acks:
                if not ack.cancel() and not ack.cancelled():
                    # or asyncio would complain of an error that nobody has looked at
                    ack.exception()
            self._acks.clear()
        if refused := sum(len(line) >= most for line in batch.lines):
            self.dropped["too_large"] += refused
            complain(
                f"sink {self._settings.name}: {refused} lines of more than {most} bytes are left "
                "out; raise the server's max_payload",
                kind="nats payload",
            )

    def _lost(self) -> None:
        """Wait for nothing any more: the connection is lost."""
        for ack in self._acks:
            if not ack.done():
                ack.set_exception(BackendError("the connection to the server is lost"))

    async def _send(self, message: Message) -> asyncio.Future[Any]:
        """Send a message; return what waits for the server's word that it is stored."""
        return await self._stream.publish_async(
            message.subject,
            message.lines,
            wait_stall=ACK_TIMEOUT,
            stream=stream_name(self._run),
            headers={"Nats-Msg-Id": message.part.message_id},
        )

    def _messages(self, lines: list[bytes], span: Span, most: int) -> Iterator[Message]:
        """Cut lines into messages, in their order: neighbours with one subject share one.

        Args:
            lines: The lines.
            span: Where they lie.
            most: Lines that are not shorter than this are left out.
        """
        gathered: list[bytes] = []
        size, start, subject = 0, span.start, ""
        for line in lines:
            own = self._subject(line)
            full = size + len(line) >= min(MAX_MESSAGE, most)
            if gathered and (full or own != subject):
                yield self._message(subject, gathered, span, start)
                start += size
                gathered, size = [], 0
            subject = own
            if len(line) >= most:
                start += len(line) + 1
            else:
                gathered.append(line)
                size += len(line) + 1
        if gathered:
            yield self._message(subject, gathered, span, start)

    def _message(self, subject: str, lines: list[bytes], span: Span, start: int) -> Message:
        content = b"\n".join([*lines, b""])
        part = Part(self._directory, span._replace(start=start), start + len(content))
        return Message(subject, part, content)

    def _subject(self, line: bytes) -> str:
        front = METRICS if kind_of(line) in METRIC_KINDS else LOGS
        return f"{front}.{self._middle}.{_rank(line)}"

    async def _connect(self) -> None:
        if self._client is not None and self._client.is_connected:
            return
        await self._disconnect()
        client = await nats_link.connect(self._settings, f"asynclog {self._host}", self._lost)
        try:
            stream = client.jetstream(timeout=ACK_TIMEOUT)
            await nats_stream.ensure(stream, self._settings, self._run)
            await presence.answer(client, self._run, self._host)
        except Exception as error:
            await nats_link.close(client)
            raise BackendError(readable(error)) from None
        self._client, self._stream = client, stream

    async def _disconnect(self) -> None:
        client, self._client, self._stream = self._client, None, None
        if client is not None:
            await nats_link.close(client)


def _directory_id(run_dir: Path) -> str:
    """Return what tells a run directory from all others: made once, by whoever comes first.

    Neither its path nor the machine would do: it may be moved, or be replayed from elsewhere.
    """
    path = run_dir / DIRECTORY_ID
    make_directories(path.parent)
    made = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        made.write_text(secrets.token_hex(8))
        made.chmod(0o600)
        os.link(made, path)
    except FileExistsError:
        pass
    finally:
        made.unlink(missing_ok=True)
    return path.read_text()


def _rank(line: bytes) -> str:
    """Return the rank that a line names, as a token."""
    found = _RANK.search(line)
    if found is None:
        return NO_RANK
    if is_flat(line):
        return found[1].decode()
    rank = parse(line).get("rank")
    return str(rank) if type(rank) is int and rank >= 0 else NO_RANK
