"""What things are called in NATS: streams, subjects, message ids; nothing here sends anything.

A subject is made of tokens with dots between them, in which blanks and ``*`` and ``>`` must not
stand (https://docs.nats.io/nats-concepts/subjects#characters-allowed-and-recommended-for-subject-names).
Percent signs are left out as well: nats-server before 2.10 takes them for formatting.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Final, NamedTuple

from ..span import Span

LOGS: Final = "logs"
METRICS: Final = "metrics"
METRIC_KINDS: Final = frozenset(("metrics", "hparams", "text", "histogram", "image", "artifact"))
"""Kinds of records whose subjects begin with ``metrics``."""
NO_RANK: Final = "none"
"""Last token of the subject of records without a rank."""
MAX_TOKEN: Final = 180
"""Bytes of a token; the name of a stream must not have more than 255."""

_STREAM: Final = "asynclog-"
_PRESENCE: Final = "asynclog.presence"
_UNSAFE: Final = re.compile(rb"[^A-Za-z0-9_-]")
_ESCAPED: Final = re.compile(r"=([0-9A-F]{2})")


def token(text: str) -> str:
    """Return a text as one token: bytes other than ``A-Za-z0-9_-`` become ``=2E`` and so on.

    Different texts give different tokens; only one that is longer than :data:`MAX_TOKEN` cannot be
    read back.
    """
    raw = text.encode(errors="surrogateescape") or b"\0"
    found = _UNSAFE.sub(lambda match: b"=%02X" % match[0][0], raw).decode()
    if len(found) > MAX_TOKEN:
        digest = blake2b(raw, digest_size=8).hexdigest()
        return f"{found[: MAX_TOKEN - len(digest) - 1]}~{digest}"
    return found


def text_of(token: str) -> str:
    """Return the text that :func:`token` was given."""
    raw = _ESCAPED.sub(lambda match: chr(int(match[1], 16)), token).encode("latin-1")
    return raw.decode(errors="replace")


def stream_name(run: str) -> str:
    """Return the name of a run's stream."""
    return _STREAM + token(run)


def run_of(stream: str) -> str | None:
    """Return the run that a stream belongs to, None when it is none of ours."""
    return text_of(stream.removeprefix(_STREAM)) if stream.startswith(_STREAM) else None


def subjects(run: str) -> list[str]:
    """Return the subjects of a run, as its stream takes them."""
    return [f"{LOGS}.{token(run)}.>", f"{METRICS}.{token(run)}.>"]


def presence_subject(run: str) -> str:
    """Return the subject on which a run's publishers are asked whether they are there."""
    return f"{_PRESENCE}.{token(run)}"


def host_of(subject: str) -> str:
    """Return the machine that a message of a run comes from."""
    tokens = subject.split(".")
    return text_of(tokens[2]) if len(tokens) > 2 else ""


class Part(NamedTuple):
    """Some whole lines of a durable file, which tells them from all others.

    Attributes:
        directory: Tells the run directory from all others, wherever it is read.
        span: Where in it they begin.
        end: Bytes of the file up to their end.
    """

    directory: str
    span: Span
    end: int

    @property
    def source(self) -> str:
        """The file: parts of one source overlap or do not."""
        return f"{token(self.directory)}.{token(self.span.path)}.{self.span.mark}"

    @property
    def message_id(self) -> str:
        """What the server knows a message by, so that it drops repeats."""
        return f"{self.source}.{self.span.start}-{self.end}"

    @classmethod
    def read(cls, message_id: str) -> Part | None:
        """Return what :attr:`message_id` was made of, None when it was not made here."""
        match message_id.split("."):
            case [directory, path, mark, place] if mark:
                start, _, end = place.partition("-")
                if start.isdecimal() and end.isdecimal() and int(start) < int(end):
                    span = Span(text_of(path), mark, int(start))
                    return cls(text_of(directory), span, int(end))
            case _:
                pass
        return None
