"""The sink against a real server: subjects, repeats, streams, credentials, outages."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("nats")

import asynclog
from asynclog import JsonlFile, Nats, Pipeline
from asynclog.exceptions import AsynclogError
from asynclog.sinks.nats import link as nats_link
from asynclog.sinks.nats import sink as nats_sink
from asynclog.typing import Run

from .conftest import Link, Server, eventually


class Taken:
    """All messages of a run, as any client gets them."""

    def __init__(self, server: Server, run: str, **options: Any) -> None:
        self.subjects: list[str] = []
        self.lines: list[bytes] = []
        self.config: Any = None
        asyncio.run(self._take(server.url, run, options))

    async def _take(self, url: str, run: str, options: dict[str, Any]) -> None:
        import nats

        client = await nats.connect(url, **options)
        stream = client.jetstream()
        try:
            info = await stream.stream_info(f"asynclog-{run}")
            self.config = info.config
            first = info.state.last_seq - info.state.messages + 1
            for number in range(first, info.state.last_seq + 1):
                message = await stream.get_msg(f"asynclog-{run}", number)
                self.subjects.append(message.subject)
                self.lines += message.data.splitlines()
        finally:
            await client.close()


def _pipeline(run_dir: Path, *sinks: Any, **options: Any) -> Pipeline:
    options = {"collector": "thread", "stop_timeout": "60 s"} | options
    pipeline = Pipeline(run_dir, sinks=[JsonlFile(), *sinks], **options)
    pipeline.start_sync()
    return pipeline


def _unsent(report: asynclog.Report) -> int:
    return report.sinks["nats"].dropped.get("unsent", 0)


def test_subjects(run_dir: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines come as they are in the files, in order, on subjects by kind, host and rank."""
    monkeypatch.setenv("RANK", "3")
    pipeline = _pipeline(run_dir, Nats(server.url, run="exp 1.b"))
    log = pipeline.get_logger("app")
    log.info("one")
    log.info("two")
    log.log_metrics({"loss": 0.5}, step=1)
    log.info("three")
    report = pipeline.stop_sync()
    assert report.sinks["nats"].written == 4
    taken = Taken(server, "exp=201=2Eb")
    host = asynclog.rank_info().host
    front = "{}.exp=201=2Eb." + host.replace(".", "=2E") + ".3"
    assert list(dict.fromkeys(taken.subjects)) == [front.format("logs"), front.format("metrics")]
    assert taken.subjects[-1] == front.format("logs")
    assert b"\n".join([*taken.lines, b""]) == (run_dir / "events_rank3.jsonl").read_bytes()


def test_stream_is_bounded(run_dir: Path, server: Server) -> None:
    """The run's stream has the bounds that the sink was given, and drops the oldest first."""
    sink = Nats(server.url, run="x", max_bytes="2 MB", max_age="2 h")
    pipeline = _pipeline(run_dir, sink)
    assert _unsent(pipeline.stop_sync()) == 0
    config = Taken(server, "x").config
    assert (config.max_bytes, config.max_age, config.discard) == (2_000_000, 7200.0, "old")
    assert (config.storage, config.retention, config.num_replicas) == ("file", "limits", 1)


def test_other_stream(run_dir: Path, server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    """A stream that exists with other settings is named, with both values; nothing is changed."""
    _pipeline(run_dir / "a", Nats(server.url, run="x", max_bytes="2 MB")).stop_sync()
    pipeline = _pipeline(run_dir / "b", Nats(server.url, run="x", max_bytes="3 MB"))
    pipeline.get_logger("app").info("hello")
    assert _unsent(pipeline.stop_sync()) == 1
    said = capfd.readouterr().err
    assert "max_bytes 2000000 instead of 3000000: give the same on all machines" in said
    assert Taken(server, "x").config.max_bytes == 2_000_000


def test_no_jetstream(
    run_dir: Path, start_server: Callable[..., Server], capfd: pytest.CaptureFixture[str]
) -> None:
    """A server without JetStream is told from one that is away."""
    pipeline = _pipeline(run_dir, Nats(start_server(jetstream=False).url))
    pipeline.get_logger("app").info("hello")
    assert _unsent(pipeline.stop_sync()) == 1
    assert "start it with: nats-server -js" in capfd.readouterr().err


def test_answer_is_lost(run_dir: Path, server: Server, link: Link) -> None:
    """A message whose acknowledgement was lost is sent again, and the server drops it."""
    pipeline = _pipeline(run_dir, Nats(link.url, run="x"))
    log = pipeline.get_logger("app")
    log.info("hello", n=0)
    eventually(lambda: pipeline.stats().sinks["nats"].written)
    link.keep_answers()
    log.info("hello", n=1)
    eventually(lambda: len(Taken(server, "x").lines) == 2)
    link.cut()
    eventually(lambda: pipeline.stats().sinks["nats"].suspended)
    link.restore()
    log.info("hello", n=2)
    report = pipeline.stop_sync()
    assert report.sinks["nats"] == asynclog.SinkReport(3, {})
    assert b"\n".join([*Taken(server, "x").lines, b""]) == (run_dir / "events.jsonl").read_bytes()


def test_catches_up(run_dir: Path, server: Server, link: Link) -> None:
    """What is logged while the server is away is published when it is back, once, in order."""
    pipeline = _pipeline(run_dir, Nats(link.url, run="x"))
    log = pipeline.get_logger("app")
    log.info("hello", n=0)
    eventually(lambda: pipeline.stats().sinks["nats"].written)
    link.cut()
    for number in range(1, 500):
        log.info("hello", n=number)
    pipeline.flush_sync()
    server.kill()
    server.start()
    link.restore()
    assert _unsent(pipeline.stop_sync()) == 0
    lines = Taken(server, "x").lines
    assert b"\n".join([*lines, b""]) == (run_dir / "events.jsonl").read_bytes()


def test_silence(
    run_dir: Path, server: Server, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link that says nothing any more is given up after a while, and made anew."""
    for module in (nats_sink, nats_link):
        monkeypatch.setattr(module, "CONNECT_TIMEOUT", 0.5, raising=False)
        monkeypatch.setattr(module, "ACK_TIMEOUT", 0.5, raising=False)
    pipeline = _pipeline(run_dir, Nats(link.url, run="x"))
    log = pipeline.get_logger("app")
    log.info("hello", n=0)
    eventually(lambda: pipeline.stats().sinks["nats"].written)
    link.freeze()
    for number in range(1, 20_000):
        log.info("x" * 200, n=number)
    eventually(lambda: pipeline.stats().sinks["nats"].suspended)
    link.restore()
    assert _unsent(pipeline.stop_sync()) == 0
    lines = Taken(server, "x").lines
    assert b"\n".join([*lines, b""]) == (run_dir / "events.jsonl").read_bytes()


def test_no_sink_without_files(
    run_dir: Path, server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    """Without a file to read on in, the sink says what it needs."""
    pipeline = Pipeline(run_dir, sinks=[Nats(server.url)], collector="thread")
    pipeline.start_sync()
    pipeline.get_logger("app").info("hello")
    pipeline.stop_sync()
    assert "needs a JsonlFile beside it that takes every line" in capfd.readouterr().err


def test_long_lines(run_dir: Path, start_server: Callable[..., Server]) -> None:
    """A line that the server does not take is counted and said; the others go through."""
    server = start_server("max_payload: 8192")
    pipeline = _pipeline(run_dir, Nats(server.url, run="x"))
    log = pipeline.get_logger("app")
    for size in (10, 5000, 9000, 20):
        log.info("x" * size)
    report = pipeline.stop_sync()
    assert report.sinks["nats"] == asynclog.SinkReport(3, {"too_large": 1})
    assert len(Taken(server, "x").lines) == 3


def _fails(run_dir: Path, sink: Nats) -> str:
    """Return why a sink cannot be used."""
    made = sink.make()
    try:
        made.open(Run(run_dir, "x", datetime.now(UTC), "host", 1))
    except AsynclogError as error:
        return str(error)
    finally:
        made.close()
    return ""


def test_token(
    run_dir: Path, start_server: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token lets us in; without it, or with another, it is said, and never shown."""
    server = start_server('authorization { token: "hunter2" }')
    assert "Authorization" in _fails(run_dir, Nats(server.url))
    monkeypatch.setenv("NATS_TOKEN", "hunter3")
    text = _fails(run_dir, Nats(server.url))
    assert "Authorization" in text
    assert "hunter3" not in text
    monkeypatch.setenv("NATS_TOKEN", "hunter2")
    assert _fails(run_dir, Nats(server.url)) == ""


def test_user(
    run_dir: Path, start_server: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user with a password is let in, with the wrong one not."""
    server = start_server('authorization { user: "me", password: "hunter2" }')
    monkeypatch.setenv("NATS_PASSWORD", "hunter3")
    text = _fails(run_dir, Nats(server.url, user="me"))
    assert "Authorization" in text
    assert "hunter" not in text
    monkeypatch.setenv("NATS_PASSWORD", "hunter2")
    assert _fails(run_dir, Nats(server.url, user="me")) == ""


def test_nkey(run_dir: Path, start_server: Callable[..., Server], tmp_path: Path) -> None:
    """The seed of an NKEY lets us in; that of another one does not."""
    nkeys = pytest.importorskip("nkeys")
    seeds = [nkeys.encode_seed(bytes([number]) * 32, nkeys.PREFIX_BYTE_USER) for number in (1, 2)]
    public = nkeys.from_seed(bytearray(seeds[0])).public_key.decode()
    server = start_server(f"authorization {{ users: [ {{ nkey: {public} }} ] }}")
    texts: list[str] = []
    for number, seed in enumerate(seeds):
        path = tmp_path / f"{number}.nk"
        path.write_bytes(seed)
        texts.append(_fails(run_dir, Nats(server.url, nkey=str(path))))
    assert texts[0] == ""
    assert "Authorization" in texts[1]
    assert seeds[1].decode() not in texts[1]


def _jwt(issuer: Any, subject: Any, claims: dict[str, Any]) -> str:
    """Return claims as NATS signs them."""

    def encoded(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    payload = {
        "jti": "x",
        "iat": 1_700_000_000,
        "iss": issuer.public_key.decode(),
        "sub": subject.public_key.decode(),
        "name": "test",
        "nats": claims | {"version": 2},
    }
    head = {"typ": "JWT", "alg": "ed25519-nkey"}
    signed = ".".join(encoded(json.dumps(part).encode()) for part in (head, payload))
    return f"{signed}.{encoded(issuer.sign(signed.encode()))}"


def test_credentials_file(
    run_dir: Path, start_server: Callable[..., Server], tmp_path: Path
) -> None:
    """A credentials file, as NATS's tools write it, lets us in; one of another account does not."""
    nkeys = pytest.importorskip("nkeys")
    prefixes = (nkeys.PREFIX_BYTE_OPERATOR, nkeys.PREFIX_BYTE_ACCOUNT, nkeys.PREFIX_BYTE_USER)
    seeds = [nkeys.encode_seed(bytes([n]) * 32, prefix) for n, prefix in enumerate(prefixes)]
    operator, account, user = [nkeys.from_seed(bytearray(seed)) for seed in seeds]
    system, stranger = [
        nkeys.from_seed(bytearray(nkeys.encode_seed(letter * 32, prefixes[1])))
        for letter in (b"s", b"t")
    ]
    names = ("subs", "data", "payload", "imports", "exports", "conn", "leaf")
    limits = dict.fromkeys([*names, "mem_storage", "disk_storage", "streams", "consumer"], -1)
    claims = {"type": "account", "limits": limits | {"wildcards": True}}
    known = {
        account: claims,
        system: {"type": "account", "limits": dict.fromkeys(names, -1)},
    }
    preload = [f"{key.public_key.decode()}: {_jwt(operator, key, known[key])}" for key in known]
    server = start_server(
        f"operator: {_jwt(operator, operator, {'type': 'operator'})}\n"
        f"system_account: {system.public_key.decode()}\n"
        f"resolver: MEMORY\nresolver_preload: {{ {', '.join(preload)} }}\n"
    )
    texts: list[str] = []
    for number, issuer in enumerate((account, stranger)):
        path = tmp_path / f"{number}.creds"
        token = _jwt(issuer, user, {"type": "user", "subs": -1, "data": -1, "payload": -1})
        path.write_text(
            f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{seeds[2].decode()}\n"
            "------END USER NKEY SEED------\n"
        )
        texts.append(_fails(run_dir, Nats(server.url, creds=str(path))))
    assert texts[0] == ""
    assert "Authorization" in texts[1]
    assert seeds[2].decode() not in texts[1]


def test_tls(run_dir: Path, start_server: Callable[..., Server], tmp_path: Path) -> None:
    """With TLS the server is checked, and our certificate shown where it is asked for."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    certificates = tmp_path / "certificates"
    certificates.mkdir()
    key, cert = certificates / "key.pem", certificates / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        + ["-nodes", "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"]
        + ["-keyout", str(key), "-out", str(cert)],
        check=True,
        capture_output=True,
    )
    server = start_server(
        f'tls {{ cert_file: "{cert}", key_file: "{key}", ca_file: "{cert}", verify: true }}'
    )
    url = server.url.replace("nats:", "tls:")
    assert "certificate verify failed" in _fails(run_dir, Nats(url))
    assert _fails(run_dir, Nats(url, ca=str(cert), cert=str(cert), key=str(key))) == ""
    with_bad_key = Nats(url, ca=str(cert), cert=str(cert), key=str(cert))
    assert "cert must be a certificate with its key" in _fails(run_dir, with_bad_key)


def test_nothing_but_records(run_dir: Path, server: Server) -> None:
    """What the client itself logs does not come back into the stream."""
    pipeline = _pipeline(run_dir, Nats(server.url, run="x"))
    pipeline.get_logger("app").info("hello")
    eventually(lambda: pipeline.stats().sinks["nats"].written)
    server.kill()
    eventually(lambda: pipeline.stats().sinks["nats"].written)
    server.start()
    pipeline.get_logger("app").info("bye")
    pipeline.stop_sync()
    events = Counter(line.partition(b'"event":')[2][:7] for line in Taken(server, "x").lines)
    assert set(events) == {b'"hello"', b'"bye","'}
