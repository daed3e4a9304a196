"""Whatever a line holds, it can be sent: one that could not would hold up all behind it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asynclog.sinks.otlp.encode_json import JsonEncoding
from asynclog.sinks.otlp.encode_protobuf import ProtobufEncoding
from asynclog.sinks.otlp.records import log_record

from .conftest import as_request

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
FIELDS = """
timestamp kind level event logger host rank pid file line function thread exception stack
trace_id span_id trace_flags quiet metrics other
"""
EXCEPTION = "type message notes frames cause context exceptions text source"


def _records(names: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(names.split()), values)


@given(_records(FIELDS, VALUES | _records(EXCEPTION, VALUES)))
@settings(deadline=None, max_examples=40)
def test_any_line(event: dict[str, Any]) -> None:
    """Both encodings are valid for any record, and say the same."""
    pytest.importorskip("opentelemetry.proto")
    record = log_record(json.loads(json.dumps(event)))
    resource = {"host.name": "h"}
    in_json = as_request(JsonEncoding().encode([record], resource, 1), "application/json")
    in_protobuf = as_request(ProtobufEncoding().encode([record], resource, 1), "")
    assert in_json == in_protobuf
