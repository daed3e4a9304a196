"""What all processors keep: they are picklable, light, say what they are, and work anywhere."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import structlog

import asynclog
from asynclog import processors
from asynclog.processors import (
    AddCallsite,
    AddRank,
    AddTraceContext,
    FormatDict,
    RateLimit,
    Redact,
)
from asynclog.testing import capture_events

EXAMPLES = [
    pytest.param(AddCallsite(["file", "line", "pid"]), id="AddCallsite"),
    pytest.param(AddRank(), id="AddRank"),
    pytest.param(AddTraceContext(), id="AddTraceContext"),
    pytest.param(FormatDict(), id="FormatDict"),
    pytest.param(RateLimit(rate=1e6, key=["user"], below=None), id="RateLimit"),
    pytest.param(Redact(keys=["card"], patterns=["x{3}"], replacement="***"), id="Redact"),
]


def test_the_package_offers_each_of_them() -> None:
    """``__all__`` names the classes, sorted, and every one has an example here."""
    assert list(processors.__all__) == sorted(processors.__all__)
    assert [parameter.id for parameter in EXAMPLES] == list(processors.__all__)


@pytest.mark.parametrize("processor", EXAMPLES)
def test_a_pickled_one_does_the_same(processor: Any) -> None:
    """It arrives in another process with its settings, also after it was used."""

    def run(used: Any) -> Any:
        return used(None, "info", {"event": {"loss": 0.5}, "user": 1, "xxx": "xxx", "card": "1"})

    run(processor)
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        copy = pickle.loads(pickle.dumps(processor, protocol))
        assert type(copy) is type(processor)
        assert repr(copy) == repr(processor)
        place = {"line": 0, "file": ""}
        assert {**run(copy), **place} == {**run(processor), **place}


@pytest.mark.parametrize("processor", EXAMPLES)
def test_its_repr_names_it_and_its_settings(processor: Any) -> None:
    """So that a chain can be read; patterns may be secrets and are not shown."""
    text = repr(processor)
    assert text.startswith(f"{type(processor).__name__}(")
    assert "x{3}" not in text


@pytest.mark.parametrize("processor", EXAMPLES)
def test_it_has_no_dict(processor: Any) -> None:
    """Nothing can be set on it by mistake."""
    assert not hasattr(processor, "__dict__")


@pytest.mark.parametrize("processor", EXAMPLES)
def test_it_works_under_plain_structlog(processor: Any) -> None:
    """An ordinary processor: no pipeline of ours is needed."""
    structlog.configure(
        processors=[processor, structlog.processors.JSONRenderer()],
        logger_factory=structlog.testing.CapturingLoggerFactory(),
    )
    log = structlog.get_logger()
    log.info({"loss": 0.5}, user=1)
    text = log.bind()._logger.calls[0].args[0]
    assert json.loads(text)["user"] == 1


@pytest.mark.parametrize("processor", EXAMPLES)
def test_it_works_in_our_loggers(processor: Any) -> None:
    """With no problem named in the record."""
    asynclog.configure(processors=[processor])
    with capture_events() as events:
        asynclog.get_logger("app").info("hello", user=1)
    asynclog.configure(processors=[])
    assert [(event["event"], event["user"]) for event in events] == [("hello", 1)]
    assert "log_error" not in events[0]


def test_importing_them_loads_nothing_optional(tmp_path: Path) -> None:
    """No torch, NumPy or OpenTelemetry, also when they are used."""
    code = """
import sys
from asynclog.processors import *
for processor in AddCallsite(), AddRank(), AddTraceContext(), FormatDict(), Redact():
    processor(None, "info", {"event": {"loss": 0.5}, "a": object()})
print([name for name in ("torch", "numpy", "opentelemetry") if name in sys.modules])
"""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert result.stdout == "[]\n"
