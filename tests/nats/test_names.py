"""What things are called in NATS, and which parts have come: no server needed."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynclog.distributed.nats.spans import joined, missing
from asynclog.sinks.nats.names import (
    MAX_TOKEN,
    Part,
    host_of,
    run_of,
    stream_name,
    subjects,
    text_of,
    token,
)
from asynclog.sinks.span import Span

TEXTS = st.text(max_size=60).filter(lambda text: "\0" not in text)
SPANS = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=12)


@given(TEXTS)
def test_token(text: str) -> None:
    """Any text becomes a token that the server takes, and can be read back."""
    found = token(text)
    assert re.fullmatch(r"[A-Za-z0-9_=~-]+", found)
    assert len(found) <= MAX_TOKEN
    if text and "~" not in found:
        assert text_of(found) == text


@given(TEXTS, TEXTS)
def test_tokens_differ(one: str, other: str) -> None:
    """Two texts never share a token, however long they are."""
    if one != other:
        assert token(one) != token(other)
        assert token(one * 9 + "x" * 200) != token(other * 9 + "x" * 200)


def test_names() -> None:
    """Names that people give stay readable."""
    assert stream_name("exp-1_b") == "asynclog-exp-1_b"
    assert subjects("v1.2 *") == ["logs.v1=2E2=20=2A.>", "metrics.v1=2E2=20=2A.>"]
    assert run_of(stream_name("v1.2 *")) == "v1.2 *"
    assert run_of("orders") is None
    assert host_of("logs.x.node1=2Elocal.3") == "node1.local"


@given(TEXTS, TEXTS, st.integers(0, 10**12), st.integers(1, 10**6))
def test_message_id(directory: str, path: str, start: int, size: int) -> None:
    """A message id says which part of which file a message holds."""
    if directory and path and len(token(directory)) < MAX_TOKEN and len(token(path)) < MAX_TOKEN:
        part = Part(directory, Span(path, "5f" * 16, start), start + size)
        assert Part.read(part.message_id) == part


@pytest.mark.parametrize(
    "message_id",
    ["", "17", "a.b.c", "a.b.c.d", "a.b.c.5-5", "a.b.c.7-5", "a.b..1-2", "a.b.c.1-2.x"],
)
def test_foreign_message_id(message_id: str) -> None:
    """What others call their messages is no part of ours."""
    assert Part.read(message_id) is None


@given(SPANS)
def test_spans(parts: list[tuple[int, int]]) -> None:
    """Whatever order parts come in, each byte is missing until it has come, and never again."""
    spans: tuple[tuple[int, int], ...] = ()
    model: set[int] = set()
    for start, size in parts:
        wanted = set(range(start, start + size))
        new = missing(spans, start, start + size)
        assert {byte for first, last in new for byte in range(first, last)} == wanted - model
        spans = joined(spans, start, start + size)
        model |= wanted
        assert {byte for first, last in spans for byte in range(first, last)} == model
        assert all(one[1] < other[0] for one, other in pairwise(spans))
