"""A run's stream on the server: made by the first who publishes, the same for all others."""

from __future__ import annotations

from typing import Any, Final

from ..._settings import parse_duration, parse_size
from ..backend import BackendError, import_backend
from . import Nats
from .link import FEATURE
from .names import stream_name, subjects

_NAME_TAKEN: Final = 10058
_SUBJECTS_TAKEN: Final = 10065
_NO_ROOM: Final = 10047
"""From https://github.com/nats-io/nats-server/blob/main/server/errors.json."""


async def ensure(stream: Any, settings: Nats, run: str) -> None:
    """Make the stream of a run, or see that the one that is there is the one that is wanted.

    Args:
        stream: A ``nats.js.JetStreamContext``.
        settings: How it has to be.
        run: Name of the run.

    Raises:
        BackendError: The server cannot make it, or has another one in its place.
    """
    errors = import_backend("nats.js.errors", "nats", FEATURE)
    wanted = _config(settings, run)
    try:
        there = await info(stream, run)
        if there is None:
            there = await stream.add_stream(wanted)
    except errors.APIError as error:
        there = await info(stream, run) if error.err_code == _NAME_TAKEN else None
        if there is None:
            raise BackendError(_reason(error, run)) from None
    different = [
        f"{name} {_plain(getattr(there.config, name))!r} instead of {_plain(value)!r}"
        for name in ("subjects", "max_bytes", "max_age", "num_replicas", "retention", "discard")
        if _plain(value := getattr(wanted, name)) != _plain(getattr(there.config, name))
    ]
    if different:
        raise BackendError(
            f"the stream {stream_name(run)} has other settings than this sink, "
            f"{', '.join(different)}: give the same on all machines, or remove the stream"
        )


async def info(stream: Any, run: str) -> Any:
    """Return what the server says of a run's stream, None when there is none.

    Raises:
        BackendError: The server has no JetStream.
        Exception: It cannot be asked.
    """
    errors = import_backend("nats.js.errors", "nats", FEATURE)
    try:
        return await stream.stream_info(stream_name(run))
    except errors.NotFoundError:
        return None
    except errors.ServiceUnavailableError:
        raise BackendError(
            "the server has no JetStream for us; start it with: nats-server -js"
        ) from None


def _config(settings: Nats, run: str) -> Any:
    api = import_backend("nats.js.api", "nats", FEATURE)
    return api.StreamConfig(
        name=stream_name(run),
        description="asynclog",
        subjects=subjects(run),
        retention=api.RetentionPolicy.LIMITS,
        storage=api.StorageType.FILE,
        discard=api.DiscardPolicy.OLD,
        max_bytes=parse_size(settings.max_bytes, "max_bytes"),
        max_age=parse_duration(settings.max_age, "max_age"),
        num_replicas=settings.replicas,
    )


def _plain(value: Any) -> Any:
    """Return a setting as it can be compared: the server's words are plain texts."""
    return getattr(value, "value", value)


def _reason(error: Any, run: str) -> str:
    text = f"the stream {stream_name(run)} cannot be made: {error.description}"
    if error.err_code == _SUBJECTS_TAKEN:
        return f"{text}; another stream takes {' or '.join(subjects(run))}"
    if error.err_code == _NO_ROOM:
        return f"{text}; give the server more room, or the sink a smaller max_bytes"
    return text
