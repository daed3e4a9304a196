"""Nats: every line of a run, published to a stream of NATS JetStream."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, ClassVar, Final, cast
from urllib.parse import urlsplit

from ..._settings import parse_duration, parse_size
from ...exceptions import SettingError
from ..backend import text_or_none

if TYPE_CHECKING:
    from .sink import NatsSink

DEFAULT_SERVER: Final = "nats://localhost:4222"
DEFAULT_MAX_BYTES: Final = "1 GB"
"""What a run's stream keeps: some five million lines."""
DEFAULT_MAX_AGE: Final = "168 h"
"""How long a run's stream keeps it: a week."""
MAX_REPLICAS: Final = 5
_SCHEMES: Final = ("nats", "tls")
_URL_HINT: Final = "Write e.g. nats://host:4222, and tls://host:4222 for TLS"
_SECRET_HINT: Final = (
    "Set NATS_USER and NATS_PASSWORD, or NATS_TOKEN, or name a file by creds or nkey"
)


@dataclass(frozen=True)
class Nats:
    """Publish every line to a stream of NATS JetStream.

    Each message holds whole lines of one process's rank, as they are in the files, on the subject
    ``logs.<run>.<host>.<rank>`` or, for metrics and their like, ``metrics.<run>.<host>.<rank>``.
    The sink reads on in the run's files from a cursor: while the server is away the files grow, and
    it catches up afterwards. ``asynclog collect`` takes the messages up. Needs ``asynclog[nats]``,
    and a :class:`JsonlFile` that takes every line.

    Password and token come from ``NATS_PASSWORD`` and ``NATS_TOKEN``; what is None here comes from
    the variables that NATS's own command line knows: ``NATS_URL``, ``NATS_USER``, ``NATS_CREDS``,
    ``NATS_NKEY``, ``NATS_CA``, ``NATS_CERT``, ``NATS_KEY``.

    Args:
        servers: Address of the server, or of all servers of a cluster; ``nats://localhost:4222``
            without ``NATS_URL``.
        run: Name of the run, the same on all machines; that of the run directory by default.
        max_bytes: What the run's stream may take on the server; the oldest messages go first.
        max_age: How long it keeps a message.
        replicas: How many servers of a cluster keep it.
        user: Name of the user.
        creds: File with the user's JWT and seed.
        nkey: File with the user's NKEY seed.
        ca: File with the certificates to trust, instead of the system's.
        cert: File with the client's certificate.
        key: File with its key.
    """

    servers: str | Sequence[str] | None = None
    _: KW_ONLY
    run: str | None = None
    max_bytes: int | str = DEFAULT_MAX_BYTES
    max_age: float | str = DEFAULT_MAX_AGE
    replicas: int = 1
    user: str | None = None
    creds: str | None = None
    nkey: str | None = None
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    name: ClassVar[str] = "nats"
    heavy: ClassVar[bool] = True
    follows: ClassVar[bool] = True
    gathers: ClassVar[float] = 0.1
    """Seconds to let lines gather: fewer messages, later."""

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            SettingError: One of them breaks its rule.
        """
        if self.servers is not None:
            object.__setattr__(self, "servers", checked_servers(self.servers))
        for setting in ("run", "user", "creds", "nkey", "ca", "cert", "key"):
            text_or_none(getattr(self, setting), setting)
        if parse_size(self.max_bytes, "max_bytes") < 1:
            raise SettingError("max_bytes", "must be positive", self.max_bytes)
        if parse_duration(self.max_age, "max_age") < 1:
            raise SettingError("max_age", "must be a second at least", self.max_age)
        if type(self.replicas) is not int or not 1 <= self.replicas <= MAX_REPLICAS:
            raise SettingError(
                "replicas", f"must be a number from 1 to {MAX_REPLICAS}", self.replicas
            )
        if (self.cert is None) != (self.key is None):
            missing = "key" if self.key is None else "cert"
            raise SettingError(missing, "must be given as well: cert and key go together", None)

    def make(self) -> NatsSink:
        """Make the sink."""
        from .sink import NatsSink

        return NatsSink(self)

    def addresses(self) -> tuple[str, ...]:
        """Return the servers' addresses: the setting, ``NATS_URL``, or the default.

        Raises:
            SettingError: ``NATS_URL`` holds something else.
        """
        if self.servers is not None:
            return checked_servers(self.servers)
        return checked_servers(os.environ.get("NATS_URL") or DEFAULT_SERVER, "NATS_URL")


def checked_servers(value: object, setting: str = "servers") -> tuple[str, ...]:
    """Return servers' addresses, given as a text with commas or as a list.

    Raises:
        SettingError: One of them is no address, or holds a password.
    """
    items: Sequence[object] = ()
    if isinstance(value, str):
        items = [part.strip() for part in value.split(",")]
    elif isinstance(value, (list, tuple)):
        items = cast("Sequence[object]", value)
    if not items:
        rule = "must be an address or several"
        raise SettingError(setting, rule, cast("object", value), _URL_HINT)
    return tuple(_checked(item, setting) for item in items)


def _checked(value: object, setting: str) -> str:
    if not isinstance(value, str):
        raise SettingError(setting, "must be an address", value, _URL_HINT)
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        # not shown: what cannot be read may hold a password
        raise SettingError(setting, "must be an address", "something else", _URL_HINT) from None
    if parts.username is not None or parts.password is not None:
        shown = f"{parts.scheme}://***@{parts.hostname}"
        raise SettingError(setting, "must hold no user or password", shown, _SECRET_HINT)
    if parts.scheme not in _SCHEMES or not parts.hostname or parts.path.strip("/") or parts.query:
        raise SettingError(setting, "must be an address", value, _URL_HINT)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{4222 if port is None else port}"
