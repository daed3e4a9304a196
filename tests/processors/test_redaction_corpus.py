"""Secrets in all places of a record: none reaches a sink; and what is no secret is left alone."""

from __future__ import annotations

import base64
import dataclasses
import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import structlog
from hypothesis import assume, given
from hypothesis import strategies as st

import asynclog
from asynclog._secrets.texts import REPLACEMENT, redact_text
from asynclog.processors import AddCallsite, FormatDict, Redact
from asynclog.testing import RecordingSink

PLAIN = "hunter2Xq9"
BASIC = base64.b64encode(f"bob:{PLAIN}".encode()).decode()
# In parts, so that nobody's scanner takes this file for a leak.
JWT = "eyJ" + "hbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THs"
AWS = "AKIA" + "IOSFODNN7EXAMPLE"
GITHUB = "ghp" + "_abcdefghijklmnopqrstuvwxyz0123456789"
GITHUB_FINE = "github" + "_pat_11ABCDEFG0abcdefghijklmnop_qrs"
OPENAI = "sk" + "-proj-abcdefghij0123456789ABCDEF"
ANTHROPIC = "sk" + "-ant-api03-abcdefghij0123456789-ABCDEF_x"
SLACK = "xox" + "b-123456789012-abcdefGHIJ"
HUGGING_FACE = "hf" + "_abcdefghijKLMNOPqrstuvwxyz"
STRIPE = "sk" + "_live_4eC39HqLyjWDarjtT1zdp7dc"
GOOGLE = "AIza" + "SyA-0123456789abcdefghijklmnopqrstuv"
GITLAB = "glpat" + "-abcdefghij0123456789"
HEX = "0123456789abcdef0123456789abcdef01234567"
PEM_BODY = "MIIEowIBAAKCAQEAxyzABC123+/zzz"
PEM = f"-----BEGIN RSA PRIVATE KEY-----\n{PEM_BODY}\n-----END RSA PRIVATE KEY-----"

SECRET_TEXTS = [
    # names and values
    f"password={PLAIN}",
    f"login failed, password: {PLAIN}",
    f"PASSWORD = '{PLAIN} with {PLAIN}'",
    f'{{"user": "bob", "password": "{PLAIN}", "next": 1}}',
    f'{{"user":"bob","password":"{PLAIN}\\"{PLAIN}","next":1}}',
    f'{{\\"password\\": \\"{PLAIN}\\\\\\"{PLAIN}\\"}}',
    f"{{'api_key': b'{PLAIN}'}}",
    f"Config(user='bob', password='{PLAIN}', port=5)",
    f"Config(password={PLAIN}, port=5)",
    f"password='''{PLAIN} ' {PLAIN}'''",
    f'password="{PLAIN} is not closed',
    f"password=['{PLAIN}', '{PLAIN}']",
    f"secrets: {{'a': '{PLAIN}', 'b': '{PLAIN}'}}",
    f"credentials=Credentials(user='x y', key='{PLAIN}')",
    f"api_key={PLAIN}",
    f"API key: {PLAIN}",
    f"apiKey => {PLAIN}",
    f"session id: {PLAIN}",
    f"clientSecret:={PLAIN}",
    f"aws_secret_access_key={PLAIN}",
    f"export DB_PASSWORD={PLAIN}",
    f"DB_PASSWORD_PROD={PLAIN}",
    f"csrftoken={PLAIN}",
    f"pwd={PLAIN}",
    f"the password is {PLAIN}",
    f"token was: '{PLAIN} {PLAIN}'",
    f"password -> {PLAIN}",
    f"password->{PLAIN}",
    f"passphrase: correct {PLAIN} battery {PLAIN}",
    f"<password>{PLAIN}</password>",
    f"[('x', 'y'), ('authorization', 'Bearer {PLAIN}'), (b'cookie', b'{PLAIN}')]",
    f'headers["authorization"] = "{PLAIN}"',
    f"WANDB_API_KEY={HEX}",
    # command lines
    f"mysql --password {PLAIN} --host x",
    f"mysql --password={PLAIN}",
    f"tool --api-key '{PLAIN} {PLAIN}'",
    f"curl -u bob:{PLAIN} https://x",
    f"wandb login {HEX}",
    # headers
    f"Authorization: Bearer {PLAIN}",
    f"Authorization: Basic {BASIC}",
    f"authorization=Bearer {PLAIN}",
    f"Proxy-Authorization: Digest username=x, response={PLAIN}",
    f"curl -H 'Authorization: Token {PLAIN} x' https://x",
    f"Cookie: a={PLAIN}; b={PLAIN}",
    f"Set-Cookie: sid={PLAIN}; Path=/",
    f"X-Api-Key: {PLAIN}",
    # URLs
    f"GET /x?token={PLAIN}&user=bob HTTP/1.1",
    f"GET /x?user=bob&access_token={PLAIN}#part",
    f"https://x/?next=https%3A%2F%2Fy%2F%3Ftoken%3D{PLAIN}%26b%3D1",
    f"https://x/?X-Amz-Signature={PLAIN}&x=1",
    f"https://x/?sig={PLAIN}&x=1",
    f"postgres://bob:{PLAIN}@host:5432/db",
    f"postgres://bob:pa/{PLAIN}@host:5432/db",
    f"redis://:{PLAIN}@host",
    f"https://bob:a@{PLAIN}@host/x",
    f"Server=x;Uid=sa;Pwd={PLAIN};Database=y",
    f"Server=x;Password={PLAIN};Database=y",
    "https://hooks.slack.com/services/" + f"T000/B000/{PLAIN}",
    # what is a secret by its looks
    f"Bearer {PLAIN}",
    f"uses Basic {BASIC} today",
    f"got {JWT}.",
    f"cut {JWT[:50]}",
    f"id {AWS} here",
    f"with {GITHUB}",
    f"with {GITHUB_FINE}",
    f"with {OPENAI}",
    f"with {ANTHROPIC}",
    f"with {SLACK}",
    f"with {HUGGING_FACE}",
    f"with {STRIPE}",
    f"with {GOOGLE}",
    f"with {GITLAB}",
    f"key:\n{PEM}\nend",
    PEM[:70],
]
SECRETS = [
    PLAIN,
    BASIC,
    HEX,
    JWT[:50],
    JWT.split(".")[1],
    AWS,
    GITHUB,
    GITHUB_FINE,
    OPENAI,
    ANTHROPIC,
    SLACK,
    HUGGING_FACE,
    STRIPE,
    GOOGLE,
    GITLAB,
    PEM_BODY[:10],
]

HARMLESS_TEXTS = [
    "request handled",
    "num_tokens=512, tokens_per_second=123.4, tokenizer='gpt2'",
    "prompt_tokens=5 completion_tokens: 7 tokens: 512",
    "step=5, loss=0.123, lr=1.00e-04, token_loss=0.5, tokens/s: 12",
    "train: time_to_first_token=0.12 token/s=5",
    "Unexpected token: }",
    "token count: 512, next token: 'the'",
    "eos_token='</s>' pad_token: '<pad>' token_type_ids=[0, 1]",
    "https://example.com/path?page=2&sort=name#top",
    "http://localhost:8080/x and http://[::1]:8080/y@z",
    "ssh://git@github.com:org/repo",
    f"commit {HEX}",
    f"wandb run at commit {HEX}",
    "secretary: Bob, author: Ann, monkey: see, keyboard: do",
    "the secret garden: a novel",
    "basic authentication is off, bearer of bad news, Bearer tokens expire",
    "sk-learn pipeline, sklearn.linear_model, task-sk-runner-with-a-long-name-1",
    "primary_key=5 key=value cache_key='user:5' sort key: name",
    "password=None token=null has_token=True password: False",
    "token=0.25 password=***",
    "PWD=/home/bob OLDPWD=/",
    "2026-01-31T12:00:00.123456Z - ratio 3:4",
    'Traceback (most recent call last): File "x.py", line 3, in reset_password',
    "KeyError: 'password'",
    "missing 1 required positional argument: 'password'",
    "auth_mode=oauth api_key_id=abc cookie_domain=x.org password_length=12",
    "{'loss': 0.5, 'tokens': 17, 'lr': 1e-4}",
    "mean ± std: 0.5 ± 0.1 — “quoted”",
    "a -u option and --user alone",
    "--token-count 5 --tokenizer gpt2",
    "uuid 123e4567-e89b-12d3-a456-426614174000, sha256 " + "0123456789abcdef" * 4,
    "C:\\Users\\bob: not found",
    "POST /oauth/token: 200",
    "the password is wrong, the token was refreshed, api key is required",
    "the token is 12",
    "",
]
HARMLESS_FIELDS: dict[str, Any] = {
    "num_tokens": 512,
    "tokens": [1, 2, 3],
    "tokens_per_second": 1234.5,
    "tokenizer": "gpt2",
    "total_tokens": 10**9,
    "token_count": 7,
    "eos_token": "</s>",
    "pad_token_id": 0,
    "token_type_ids": [0, 1],
    "throughput/tokens_per_sec": 1.5,
    "token/s": 5,
    "secretary": "Bob",
    "author": "Ann",
    "authenticated": True,
    "has_password": True,
    "password": None,
    "token": 0.25,
    "passwords": 3,
    "cookies": 5,
    "password_length": 12,
    "token_expires_at": "2026-01-31",
    "api_key_id": "abc",
    "primary_key": 5,
    "keys": ["a", "b"],
    "auth_mode": "oauth",
    "PWD": "/home/bob",
    "columns": ["token", "count"],
    "headers": [["accept", "text/html"]],
    "env": [{"name": "HOME", "value": "/root"}],
    "argv": ["train.py", "--tokenizer", "gpt2", "-u", "x"],
    "commit": HEX,
    "metrics": {"loss": 0.5, "tokens": {"total": 5, "per_second": 3.5}},
}


def leaks(data: bytes | str) -> list[str]:
    """Return the secrets that are in something written."""
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
    return [secret for secret in SECRETS if secret in text]


@pytest.mark.parametrize("text", SECRET_TEXTS)
def test_secrets_in_texts(text: str) -> None:
    """Replaced, and replaced once: what comes out stays as it is."""
    seen = redact_text(text)
    assert leaks(text)
    assert not leaks(seen)
    assert REPLACEMENT in seen
    assert redact_text(seen) == seen


@pytest.mark.parametrize("text", HARMLESS_TEXTS)
def test_harmless_texts(text: str) -> None:
    """They come out as they are."""
    assert redact_text(text) == text


def test_what_is_around_a_secret_stays() -> None:
    """As far as it can be told from it."""
    for text, expected in (
        (f"a=1 password={PLAIN}, b=2", "a=1 password=[redacted], b=2"),
        (f'{{"token":"{PLAIN}","b":2}}', '{"token":"[redacted]","b":2}'),
        (f"GET /x?token={PLAIN}&user=bob", "GET /x?token=[redacted]&user=bob"),
        (f"postgres://bob:{PLAIN}@host/db", "postgres://bob:[redacted]@host/db"),
        (f"--password {PLAIN} --host x", "--password [redacted] --host x"),
        (f"(key {OPENAI}).", "(key [redacted])."),
    ):
        assert redact_text(text) == expected


@given(
    st.lists(
        st.sampled_from(
            [
                *("password", "token", "Authorization", "cookie", "x", "api", "key", "--", "-u"),
                *("=", ":", " ", "'", '"', "\\", "(", ")", "[", "]", "{", "}", ",", ";", "&", "?"),
                *(
                    "%3D",
                    "%26",
                    "\n",
                    "://",
                    "@",
                    "Bearer ",
                    "eyJ",
                    ".",
                    "sk-",
                    "<",
                    ">",
                    "é",
                    "🔑",
                ),
                *(REPLACEMENT, "***", "None", "0.5", "-----BEGIN PRIVATE KEY-----"),
            ]
        ),
        max_size=25,
    )
)
def test_any_text_is_taken(parts: list[str]) -> None:
    """Nothing is raised, and what comes out stays as it is."""
    seen = redact_text("".join(parts))
    assert redact_text(seen) == seen


@given(
    secret=st.text("abcXYZ0189", min_size=12, max_size=12),
    name=st.sampled_from(["password", "api_key", "Token", "clientSecret", "X-Api-Key", "cookie"]),
    sign=st.sampled_from(["=", ": ", " = ", ":", "=>"]),
    quote=st.sampled_from(["", "'", '"', "b'"]),
    before=st.text(max_size=20),
    after=st.text(max_size=20),
)
def test_a_value_never_survives_behind_its_name(
    secret: str, name: str, sign: str, quote: str, before: str, after: str
) -> None:
    """Whatever is before and behind."""
    assume(secret not in before + after)
    text = f"{before} {name}{sign}{quote}{secret}{quote[-1:]}{after}"
    assert secret not in redact_text(text)


LONG = 200_000
UGLY = [
    *("a", "a.", "a-", "=", "-", "_", "'", '"', "token=", "token=(", "token='", "token=)"),
    *("token=x ", "token ", 'token="\\', 'token=\\"', "'token': [", '"token":{', "key]", "pw:"),
    *("eyJ", "eyJ_", "eyJ.", "sk-", "sk-a", " sk-a", "://", "://a:", "://a:1", "://a@", "-u a:"),
    *("-----BEGIN PRIVATE KEY-----", "-----BEGIN A", "wandb ", "wandb key ", "wandb api key "),
    *("bearer ", "basic ", "token\t", "&token=", "%26token%3D", "('password', ", "--password "),
    *("<password>", "key ", "0123456789:AA", "xoxb-", "ghp_", "cookie: ", "'cookie: ", ";pwd="),
    *("authorization=bearer ", "KeyKEYkey", "api_", "passPass", "?sig=", "password: 'x' "),
]


@pytest.mark.slow
@pytest.mark.parametrize("piece", UGLY)
def test_no_text_takes_long(piece: str) -> None:
    """Time in proportion to the length: twice the text does not take four times as long."""

    def measured(length: int) -> float:
        text = (piece * (length // len(piece) + 1))[:length] + "!"
        times: list[float] = []
        for _ in range(3):
            start = time.process_time()
            redact_text(text)
            times.append(time.process_time() - start)
        return min(times)

    # a generous bound: 10 us for each character, where 0.2 us are usual
    assert measured(LONG) < 2.0


class Point(NamedTuple):
    """A named tuple."""

    name: str
    password: str


@dataclasses.dataclass
class Login:
    """A dataclass."""

    user: str
    password: str


class Client:
    """An object whose repr() tells too much."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        """Return it."""
        return f"<Client {self.text}>"


def raise_with(text: str) -> None:
    """Raise a group of exceptions that tell the text everywhere."""
    try:
        try:
            raise KeyError(text)
        except KeyError as error:
            error.add_note(text)
            raise ValueError(text) from error
    except ValueError as error:
        raise ExceptionGroup(text, [OSError(2, text), error]) from Exception(text)


def log_everywhere(log: Any, text: str) -> None:
    """Log a text in all places that there are."""
    log.info(text)
    log.warning("%s and %r", text, {"a": text})
    log.info("hello", field=text, nested={"a": [(1, {"b": text})]}, data=text.encode())
    log.info("hello", client=Client(text), error=ValueError(text), path=Path(text.strip("\n")))
    log.info("hello", **{text: 1}, nested={text: 1}, many=[text] * 20)
    log.info({"a": text, "b": {"c": [text]}})
    log.bind(bound=text).info("hello")
    with structlog.contextvars.bound_contextvars(variable=text):
        log.info("hello")
    log.info("too %s few %s", text)  # noqa: PLE1206
    try:
        raise_with(text)
    except ExceptionGroup as error:
        log.exception("failed")
        log.error(text, exc_info=error)
        log.error("failed", exc_info=(type(error), error, error.__traceback__), stack_info=True)
    log.info("from logging", stack_info=f"Stack (most recent call last):\n  {text}")
    log.info("formatted", exception=f"Traceback (most recent call last):\n  {text}")


def log_under_names(log: Any) -> None:
    """Log values that only their names betray."""
    for name in (
        *("password", "PASSWORD", "userPassword", "X-Auth-Token", "api_key", "apiKey", "apikey"),
        *("secret", "SECRET_KEY_BASE", "private_key", "authorization", "Cookie", "Set-Cookie"),
        *("session_id", "credentials", "access_token", "HF_TOKEN", "PGPASSWORD", "auth"),
    ):
        log.info("hello", **{name: PLAIN})
        log.info("hello", **{name: [PLAIN, {"a": PLAIN}]})
        log.info("hello", nested={"a": [{name: PLAIN}]}, pairs=[(name, PLAIN), (b"x", 1)])
        log.info("hello", env=[{"name": name, "value": PLAIN}, {"Key": name, "Value": PLAIN}])
        log.info({name: PLAIN, "a": {name: {"b": PLAIN}}})
        log.info("hello", **{name: Client(PLAIN), "data": {name.encode(): PLAIN.encode()}})
    log.info("hello", login=Login("bob", PLAIN), point=Point("bob", PLAIN))
    log.info("hello", namespace=SimpleNamespace(password=PLAIN))
    log.info("hello", argv=["x", "--password", PLAIN, "-u", f"bob:{PLAIN}"], pin={"password": 1234})
    log.info("hello", lines=PEM.split("\n"), headers=[[b"cookie", PLAIN.encode()]])
    log.info("password=%s", PLAIN)
    log.info("password=%(password)s %(user)s", {"password": PLAIN, "user": "bob"})
    log.info("password=%s %s", PLAIN)  # noqa: PLE1206
    log.info("json", body=json.dumps({"a": json.dumps({"password": f'{PLAIN}" {PLAIN}'})}))


def fail_with_a_secret_in_the_code() -> None:
    """Raise where the source line itself is a secret; the line is found by its name below."""
    raise ValueError("password=hunter2Xq9")


@pytest.mark.slow
@pytest.mark.parametrize("tracebacks", ["short", "full", "pretty"])
@pytest.mark.parametrize("exception_text", [False, True])
def test_no_secret_reaches_a_sink(
    run_dir: Path, capfd: pytest.CaptureFixture[str], tracebacks: Any, exception_text: bool
) -> None:
    """Through a real pipeline, into every file, the console and a sink that keeps all."""
    recording = RecordingSink()
    sinks = [
        asynclog.JsonlFile(),
        asynclog.TextFile(),
        asynclog.Console(tracebacks=tracebacks, max_rate=None, colors=False),
        recording,
    ]
    pipeline = asynclog.Pipeline(
        run_dir,
        sinks=sinks,
        level="DEBUG",
        processors=[AddCallsite(), FormatDict(), Redact()],
        exception_text=exception_text,
        ring_size="16 MiB",
        overflow_timeout="20 s",
    )
    with pipeline:
        log = pipeline.get_logger("app")
        for text in SECRET_TEXTS:
            log_everywhere(log, text)
        log_under_names(log)
        try:
            fail_with_a_secret_in_the_code()
        except ValueError:
            log.exception("in the code", stack_info=True)
        log.info("the end")
        pipeline.flush_sync()
    report = pipeline.stop_sync()
    assert not report.dropped
    written = {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()}
    assert {"events.jsonl", "events.log"} <= {path.name for path in written}
    shown = capfd.readouterr()
    for place, data in {**written, "stdout": shown.out, "stderr": shown.err}.items():
        lines = data.splitlines() if isinstance(data, str) else data.split(b"\n")
        for line in lines:
            assert not leaks(line), f"{leaks(line)} in {place}: {line!r}"
    assert not leaks(b"\n".join(recording.lines))
    assert len(recording.lines) > len(SECRET_TEXTS) * 10
    assert "the end" in shown.err
    assert 'raise ValueError("password=[redacted]")' in shown.err
    events = recording.events
    assert all("log_error" not in event or "formatting" in event["log_error"] for event in events)


def test_harmless_values_are_left_alone(run_dir: Path) -> None:
    """Nothing of them is redacted, and their lines are the same as without the processor."""

    def lines(*processors: Any) -> list[dict[str, Any]]:
        sink = RecordingSink()
        with asynclog.Pipeline(run_dir, sinks=[sink], processors=processors) as pipeline:
            log = pipeline.get_logger("app")
            for text in HARMLESS_TEXTS:
                log.info(text, field=text, nested={"a": [text]})
            log.info("hello", **HARMLESS_FIELDS)
            log.info(
                "hello", nested=HARMLESS_FIELDS, long=list(range(5000)), many={"a": "b" * 9000}
            )
            log.info("long", **{f"text{number}": "x" * 70_000 for number in range(10)})
            log.info(("a", 1), value={1: 2.5, "é": {"ü"}}, raw=b"\xff", error=ValueError("bad"))
            log.info({"a": [1]}, nan=float("nan"), big=2**70, truncated=3)
        return [{**event, "timestamp": ""} for event in sink.events]

    with_it, without = lines(Redact()), lines()
    assert [event for event in with_it if REPLACEMENT in json.dumps(event)] == []
    assert with_it == without
