"""The settings of the sink: what is refused at once, and that no secret shows anywhere."""

from __future__ import annotations

from typing import Any

import pytest

from asynclog import Nats, SettingError
from asynclog.sinks.nats.link import _identity


@pytest.mark.parametrize(
    ("servers", "kept"),
    [
        ("nats://node0", ("nats://node0:4222",)),
        ("nats://a:1, tls://b:2", ("nats://a:1", "tls://b:2")),
        (["nats://[::1]:7"], ("nats://[::1]:7",)),
    ],
)
def test_servers(servers: Any, kept: tuple[str, ...]) -> None:
    """One address or several, as a text or as a list."""
    assert Nats(servers).servers == kept


@pytest.mark.parametrize(
    "servers", ["", "node0", "http://a", "nats://", "nats://a:port", "nats://a/b", [], [1], 5]
)
def test_bad_servers(servers: Any) -> None:
    """What is no address is refused, and it is said what one looks like."""
    with pytest.raises(SettingError, match=r"servers must .*nats://host:4222"):
        Nats(servers)


@pytest.mark.parametrize(
    "servers", ["nats://me:hunter2@a:1", "nats://hunter2@a", "nats://:hunter2@a"]
)
def test_password_in_address(servers: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address with a password is refused, wherever it comes from, and does not show it."""
    with pytest.raises(SettingError, match="NATS_PASSWORD") as found:
        Nats(servers)
    assert "hunter2" not in str(found.value)
    monkeypatch.setenv("NATS_URL", servers)
    with pytest.raises(SettingError, match="NATS_URL must hold no user or password") as found:
        Nats().addresses()
    assert "hunter2" not in str(found.value)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"max_bytes": 0}, "max_bytes must be positive"),
        ({"max_bytes": "much"}, "max_bytes must be a size"),
        ({"max_age": "0.1 s"}, "max_age must be a second at least"),
        ({"replicas": 0}, "replicas must be a number from 1 to 5"),
        ({"replicas": True}, "replicas must be a number from 1 to 5"),
        ({"cert": "a.pem"}, "key must be given as well"),
        ({"key": "a.pem"}, "cert must be given as well"),
        ({"run": ""}, "run must be a text"),
        ({"creds": 5}, "creds must be a text"),
    ],
)
def test_bad_settings(settings: dict[str, Any], text: str) -> None:
    """A setting that breaks its rule is refused at once."""
    with pytest.raises(SettingError, match=text):
        Nats(**settings)


def test_who_we_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """The credentials file counts before the seed, the seed before the token, then the user."""
    seed, creds = tmp_path / "seed", tmp_path / "creds"
    seed.touch()
    creds.touch()
    monkeypatch.setenv("NATS_USER", "me")
    monkeypatch.setenv("NATS_PASSWORD", "hunter2")
    assert _identity(Nats()) == {"user": "me", "password": "hunter2"}
    assert _identity(Nats(user="you")) == {"user": "you", "password": "hunter2"}
    monkeypatch.setenv("NATS_TOKEN", "hunter3")
    assert _identity(Nats()) == {"token": "hunter3"}
    monkeypatch.setenv("NATS_NKEY", str(seed))
    assert _identity(Nats()) == {"nkeys_seed": str(seed)}
    monkeypatch.setenv("NATS_CREDS", str(creds))
    assert _identity(Nats()) == {"user_credentials": str(creds)}
    monkeypatch.delenv("NATS_CREDS")
    with pytest.raises(SettingError, match="nkey must be a file to read"):
        _identity(Nats(nkey=str(tmp_path / "nowhere")))
