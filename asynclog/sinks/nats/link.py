"""A connection to a NATS server: who we are, TLS, and why it did not work, without secrets.

There is no reconnecting in here: whoever uses a link and fails drops it and makes another, with a
patience of its own.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable
from typing import Any, Final

from ...exceptions import SettingError
from ..backend import BackendError, import_backend, readable
from . import Nats

CONNECT_TIMEOUT: Final = 5.0
"""Seconds for one try of all servers."""
CLOSE_TIMEOUT: Final = 1.0
"""Seconds to take leave; nothing waits for it that was not acknowledged."""
PING_INTERVAL: Final = 10
"""Seconds between looks whether the server still answers; after three in vain it is gone."""
FEATURE: Final = "NATS"


def load() -> None:
    """Import the client.

    Raises:
        MissingExtraError: It is not installed.
    """
    import_backend("nats", "nats", FEATURE)


async def connect(settings: Nats, name: str, lost: Callable[[], None] | None = None) -> Any:
    """Connect to one of the servers.

    Args:
        settings: Where, and as whom.
        name: How the server lists us.
        lost: Called when the connection ends.

    Returns:
        A ``nats.aio.client.Client``.

    Raises:
        BackendError: None of them can be reached, or wants us.
        SettingError: A file cannot be read.
    """
    client_module = import_backend("nats.aio.client", "nats", FEATURE)
    servers = settings.addresses()
    client = client_module.Client()
    reasons: list[Exception] = []

    async def note(error: Exception) -> None:
        reasons.append(error)

    async def end() -> None:
        if lost is not None:
            lost()

    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            await client.connect(
                list(servers),
                name=name,
                error_cb=note,
                closed_cb=end,
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0.2,
                connect_timeout=CONNECT_TIMEOUT,
                ping_interval=PING_INTERVAL,
                **_identity(settings),
                **_tls(settings, servers),
            )
    except Exception as error:
        await close(client)
        if isinstance(error, SettingError):
            raise
        reason = readable(_cause([error, *reasons, client.last_error]))
        raise BackendError(f"no connection to {', '.join(servers)}: {reason}") from None
    return client


async def close(client: Any) -> None:
    """Close a connection, whatever state it is in."""
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT):
            await client.close()
    except Exception:  # it is of no use any more, and says so
        pass


def _cause(errors: list[Exception | None]) -> Exception:
    """Return the one that says most: the end of a connection comes after its reason."""
    found = [error for error in errors if error is not None]
    told = [error for error in found if type(error).__name__ == "AuthorizationError"]
    return (told or found)[-1]


def _identity(settings: Nats) -> dict[str, Any]:
    environment = os.environ.get
    found: dict[str, Any] = {}
    if creds := settings.creds or environment("NATS_CREDS"):
        found["user_credentials"] = _readable_file(creds, "creds")
    elif nkey := settings.nkey or environment("NATS_NKEY"):
        found["nkeys_seed"] = _readable_file(nkey, "nkey")
    elif token := environment("NATS_TOKEN"):
        found["token"] = token
    elif user := settings.user or environment("NATS_USER"):
        found.update(user=user, password=environment("NATS_PASSWORD") or "")
    if "user_credentials" in found or "nkeys_seed" in found:
        import_backend("nkeys", "nats", "NATS with NKEYs")
    return found


def _tls(settings: Nats, servers: tuple[str, ...]) -> dict[str, Any]:
    environment = os.environ.get
    ca = settings.ca or environment("NATS_CA")
    cert = settings.cert or environment("NATS_CERT")
    key = settings.key or environment("NATS_KEY")
    if not (ca or cert or any(server.startswith("tls:") for server in servers)):
        return {}
    context = ssl.create_default_context(cafile=_readable_file(ca, "ca") if ca else None)
    if cert:
        try:
            context.load_cert_chain(cert, key)
        except OSError as error:
            raise SettingError(
                "cert", f"must be a certificate with its key ({error})", cert
            ) from None
    return {"tls": context}


def _readable_file(path: str, setting: str) -> str:
    try:
        with open(path, "rb"):
            return path
    except OSError as error:
        raise SettingError(setting, f"must be a file to read ({error.strerror})", path) from None
