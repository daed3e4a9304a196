"""What asynclog.stdlib offers, and what importing it costs."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any

import pytest

import asynclog.stdlib


@pytest.mark.parametrize("name", asynclog.stdlib.__all__)
def test_names(name: str):
    """Every name is there and says what it does."""
    assert inspect.getdoc(getattr(asynclog.stdlib, name))


def test_all():
    """In order; other names are none."""
    assert list(asynclog.stdlib.__all__) == sorted(asynclog.stdlib.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Hanlder'"):
        asynclog.stdlib.Hanlder  # type: ignore[attr-defined]


def test_import(run_python: Callable[..., Any]):
    """asynclog itself does not need it; the handler needs no sinks; importing changes nothing."""
    code = """
import gc, json, logging, sys, threading, warnings
before = logging.getLogger().handlers[:], warnings.showwarning, gc.callbacks[:]
import asynclog
found = [name for name in sys.modules if name.startswith("asynclog.stdlib")]
import asynclog.stdlib
assert (logging.getLogger().handlers, warnings.showwarning, gc.callbacks) == before
assert threading.active_count() == 1
print(json.dumps([found, [name for name in sys.modules if name.startswith("asynclog.sinks")]]))
"""
    assert json.loads(run_python(code).stdout) == [[], []]
