"""Metrics, hyperparameters and media as people see them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynclog.sinks.render import render_line

FRONT = {"timestamp": "no time", "level": "info"}


def shown(**fields: Any) -> str:
    """Return what is shown behind time and level."""
    record = {**FRONT, "event": fields["kind"], **fields}
    return render_line(record).partition(" - INFO - ")[2]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (
            {"kind": "metrics", "step": 5, "split": "train", "metrics": {"loss": 0.12341, "n": 3}},
            "step 5 train: loss=0.1234 n=3",
        ),
        ({"kind": "metrics", "step": 0, "metrics": {"x": "NaN"}}, "step 0: x=NaN"),
        ({"kind": "metrics", "split": "val", "metrics": {"a b": 1e9}}, 'val: "a b"=1e+09'),
        ({"kind": "metrics", "metrics": {"x": 12345.678}}, "metrics: x=12345.7"),
        (
            {"kind": "metrics", "logger": "app", "run": 7, "metrics": {"x": 1}},
            "metrics: x=1  run=7 logger=app",
        ),
        (
            {"kind": "hparams", "params": {"lr": 1e-4, "m": {"d": 3}}, "metrics": {"acc": 0.5}},
            'hparams: lr=0.0001 m={"d":3}  metrics: acc=0.5',
        ),
        ({"kind": "hparams", "params": {"lr": 0.1}}, "hparams: lr=0.1"),
        (
            {"kind": "timer", "timer": "load", "elapsed": 0.12345, "stage": "train"},
            "Timer [load]: 0.1235s  stage=train",
        ),
        (
            {"kind": "text", "name": "sample", "text": "two\nlines", "step": 1},
            'text sample step 1: "two\\nlines"',
        ),
        (
            {
                "kind": "histogram",
                "name": "w",
                "step": 3,
                "edges": [0.0, 0.25, 1.0],
                "counts": [1, 2],
                "min": 0.0,
                "max": 1.0,
                "sum": 2.0,
                "sum_squares": 2.0,
                "num": 3,
            },
            "histogram w step 3: 3 values from 0 to 1",
        ),
        (
            {
                "kind": "image",
                "name": "x",
                "step": 1,
                "split": "val",
                "caption": "a cat",
                "path": "media/images/x.png",
                "width": 4,
                "height": 3,
            },
            'image x step 1 val: media/images/x.png (4 x 3) "a cat"',
        ),
        ({"kind": "image", "name": "x", "media": "dropped"}, "image x: dropped"),
        (
            {
                "kind": "artifact",
                "path": "/m.pt",
                "name": "model",
                "type": "model",
                "aliases": ["best"],
                "registry": "r",
                "size": 5,
            },
            "artifact model (model, best): /m.pt, 5 bytes  registry=r",
        ),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else "",
)
def test_records_are_shown(fields: dict[str, Any], text: str) -> None:
    """What a record says is in the place of its event; other fields follow it."""
    assert shown(**fields) == text


def test_a_problem_is_shown_with_it() -> None:
    """What could not be kept is not hidden."""
    assert shown(kind="metrics", metrics={}, log_error="bad").endswith(" log_error=bad")


def test_names_are_dim() -> None:
    """In colour, names stand back."""
    record = {**FRONT, "event": "metrics", "kind": "metrics", "metrics": {"x": 1}}
    assert render_line(record, colors=True).endswith("metrics: \x1b[2mx=\x1b[0m1")


ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
PLACED = ("name", "step", "split", "metrics", "params", "text", "caption", "media", "other")
COUNTED = ("edges", "counts", "min", "max", "num", "width", "height", "size", "type", "aliases")
NAMES = st.sampled_from((*PLACED, *COUNTED, "path"))
KINDS = st.sampled_from(("metrics", "hparams", "text", "histogram", "image", "artifact", "other"))


@given(KINDS | ANY, st.dictionaries(NAMES, ANY, max_size=8))
def test_any_record_is_one_line(kind: Any, fields: dict[str, Any]) -> None:
    """Whoever made it, whatever is in it: shown, without control characters of its own."""
    text = render_line({**FRONT, "event": "x", "kind": kind, **fields})
    # tabs move nothing but what comes behind them
    assert not any(ord(character) < 32 for character in text if character != "\t")
