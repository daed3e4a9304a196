"""Filters and names for code that logs mappings: whose records pass, and how they are shown."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections import UserDict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import pytest

from asynclog.exceptions import SettingError
from asynclog.stdlib import (
    FormatDictFilter,
    IsMappingFilter,
    IsRank0Filter,
    flatten_dict,
    substitute_placeholders,
)


class Collected(logging.Handler):
    """Keeps what it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        self.records.append(record)


@pytest.fixture
def collected() -> Collected:
    """Return a handler that keeps what it gets."""
    return Collected()


@pytest.fixture
def plain(collected: Collected) -> logging.Logger:
    """Return a logger with only that handler."""
    logger = logging.Logger("plain")
    logger.addHandler(collected)
    return logger


def test_mappings_pass(plain: logging.Logger, collected: Collected):
    """A message that is a mapping of any kind passes; a text, a list and their like do not."""
    collected.addFilter(IsMappingFilter())
    for message in ({"a": 1}, UserDict(a=1), {}, "text", ["a"], None, dict):
        plain.info(message)
    assert [record.msg for record in collected.records] == [{"a": 1}, UserDict(a=1), {}]


RANK0: list[tuple[dict[str, Any], Any, dict[str, Any], dict[str, str], bool]] = [
    # arguments, message, extra, environment, whether it passes
    ({}, {"a": 1}, {}, {}, True),
    ({}, {"a": 1}, {}, {"RANK": "0"}, True),
    ({}, {"a": 1}, {}, {"RANK": "3"}, False),
    ({}, {"a": 1}, {}, {"SLURM_PROCID": "3"}, False),
    ({}, {"a": 1}, {}, {"LOCAL_RANK": "3"}, True),
    ({"rank_val": 0}, {"a": 1}, {}, {"RANK": "3"}, True),
    ({"rank_val": 0}, {"rank": 2}, {"rank": 1}, {"RANK": "3"}, True),
    ({"rank_val": 1}, {"rank": 0}, {"rank": 0}, {"RANK": "0"}, False),
    ({}, {"rank": 2}, {"rank": 0}, {"RANK": "3"}, True),
    ({}, {"rank": 0}, {"rank": 1}, {"RANK": "0"}, False),
    ({}, {"rank": 0}, {}, {"RANK": "3"}, True),
    ({}, {"rank": "2"}, {}, {}, False),
    ({}, {"rank": None}, {"rank": None}, {"RANK": "1"}, False),
    ({}, {"rank": "first"}, {}, {"RANK": "1"}, False),
    ({}, "text", {}, {"RANK": "1"}, False),
    ({"local_rank": True}, {"rank": 1}, {}, {"RANK": "1", "LOCAL_RANK": "0"}, True),
    ({"local_rank": True}, {}, {}, {"RANK": "0", "LOCAL_RANK": "1"}, False),
    ({"local_rank": True}, {"local_rank": 1}, {}, {"LOCAL_RANK": "0"}, False),
    ({"local_rank": True}, {}, {"local_rank": 0}, {"LOCAL_RANK": "1"}, True),
    ({"local_rank": True, "rank_val": 0}, {}, {"local_rank": 1}, {"LOCAL_RANK": "1"}, True),
]


@pytest.mark.parametrize(("arguments", "message", "extra", "environment", "passes"), RANK0)
def test_rank_0_passes(
    plain: logging.Logger,
    collected: Collected,
    monkeypatch: pytest.MonkeyPatch,
    arguments: dict[str, Any],
    message: Any,
    extra: dict[str, Any],
    environment: dict[str, str],
    passes: bool,
):
    """The first that tells the rank counts: argument, record, message, environment; 0 is told."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    collected.addFilter(IsRank0Filter(**arguments))
    plain.info(message, extra=extra)
    assert len(collected.records) == passes


def test_rank_of_numpy(plain: logging.Logger, collected: Collected):
    """A number of NumPy's is a rank, too."""
    numpy = pytest.importorskip("numpy")
    collected.addFilter(IsRank0Filter())
    plain.info({"rank": numpy.int64(1)})
    plain.info({"rank": numpy.int64(0)})
    assert len(collected.records) == 1


def test_rank_of_torch(
    plain: logging.Logger, collected: Collected, monkeypatch: pytest.MonkeyPatch
):
    """torch.distributed is asked last, and only if the program has initialised it."""
    torch: Any = ModuleType("torch.distributed")
    initialised = False
    torch.is_available = lambda: True
    torch.is_initialized = lambda: initialised
    torch.get_rank = lambda: 1
    torch.get_world_size = lambda: 2
    monkeypatch.setitem(sys.modules, "torch.distributed", torch)
    collected.addFilter(IsRank0Filter())
    plain.info({"loss": 1})
    initialised = True
    plain.info({"loss": 2})
    monkeypatch.setenv("RANK", "0")
    plain.info({"loss": 3})
    assert [record.msg["loss"] for record in collected.records] == [1, 3]


def test_rank_val_is_checked():
    """What is no rank is refused where it is given."""
    for value in (-1, True, "first", 1.5):
        with pytest.raises(SettingError, match="rank_val must be a number"):
            IsRank0Filter(value)  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="local_rank must be True or False"):
        IsRank0Filter(local_rank="yes")  # type: ignore[arg-type]


def test_a_mapping_is_shown_well(plain: logging.Logger, collected: Collected):
    """By the rules of FormatDict; other handlers, before and after, still see the mapping."""
    before, after = Collected(), Collected()
    plain.handlers = [before, collected, after]
    collected.addFilter(FormatDictFilter())
    given = {"loss": 0.12345, "lr": 1e-4, "val": {"acc": 0.5, "n": 3}, "name": "x"}
    plain.info(given)
    plain.info("plain %s", "text")
    text = "loss=0.123, lr=1.00e-04, val/acc=0.500, val/n=3, name='x'"
    assert [record.getMessage() for record in collected.records] == [text, "plain text"]
    for handler in (before, after, collected):
        assert handler.records[0].msg == given
        assert IsMappingFilter().filter(handler.records[0])
    if sys.version_info >= (3, 12):
        assert after.records[0] is before.records[0]
        assert after.records[0].msg is given


def test_a_mapping_is_shown_well_on_a_logger(plain: logging.Logger, collected: Collected):
    """As a filter of a logger it serves all handlers, and those of metrics get their mapping."""
    plain.addFilter(FormatDictFilter())
    plain.info({"loss": 0.12345})
    [record] = collected.records
    assert logging.Formatter("%(message)s").format(record) == "loss=0.123"
    assert record.msg["loss"] == 0.12345


def test_filters_do_not_raise(plain: logging.Logger, collected: Collected):
    """A mapping whose own code raises passes as it is."""

    class Broken(UserDict[str, Any]):
        def __iter__(self) -> Any:
            raise ValueError("broken")

        def get(self, key: str, default: Any = None) -> Any:
            raise ValueError("broken")

    for each in (FormatDictFilter(), IsRank0Filter(), IsMappingFilter()):
        collected.addFilter(each)
    plain.info(Broken())
    assert type(collected.records[0].msg) is Broken


# Names


def test_placeholders(monkeypatch: pytest.MonkeyPatch):
    """Ranks come from the launcher's environment; what is no placeholder stays."""
    assert substitute_placeholders("r{rank}l{local_rank}{other}{}{{rank}}") == "r0l0{other}{}{0}"
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert substitute_placeholders("r{rank}l{local_rank}") == "r3l1"
    assert substitute_placeholders(None, "x{rank}") == "x3"
    assert substitute_placeholders(None).endswith("_rank3")
    assert substitute_placeholders("") == ""


def test_times(monkeypatch: pytest.MonkeyPatch):
    """They are ISO 8601 in its basic form, which Python reads back, and no two names are alike."""
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    import time

    time.tzset()
    try:
        local, utc = substitute_placeholders("{time} {utc_time}").split()
    finally:
        monkeypatch.undo()
        time.tzset()
    assert re.fullmatch(r"\d{8}T\d{6}\.\d{6}", local)
    assert re.fullmatch(r"\d{8}T\d{6}\.\d{6}Z", utc)
    told = datetime.fromisoformat(utc)
    assert abs(datetime.now(UTC) - told) < timedelta(minutes=1)
    ahead = datetime.fromisoformat(local) - told.replace(tzinfo=None)
    assert ahead == timedelta(hours=5, minutes=30)
    assert os.sep not in local + utc
    names = {substitute_placeholders(None) for _ in range(3)}
    assert len(names) == 3


def test_flatten_dict():
    """Nested mappings become flat names."""
    assert flatten_dict({"a": 1, "b": {"c": 2}}) == {"a": 1, "b/c": 2}
    assert flatten_dict({"a": {"b": 1}}, sep=".", prefix="x-") == {"x-a.b": 1}


def test_callables_stay_filters(collected: Collected, run_python: Callable[..., Any]):
    """They are imported without sinks' vendors."""
    assert all(
        isinstance(each, logging.Filter)
        for each in (IsMappingFilter(), IsRank0Filter(), FormatDictFilter())
    )
    code = """
import sys
from asynclog.stdlib import FormatDictFilter, IsRank0Filter, WandbHandler, setup_metric_logger
vendors = {"torch", "wandb", "mlflow", "tensorboardX", "numpy"}
print(sorted(vendors.intersection(sys.modules)))
"""
    assert run_python(code).stdout.strip() == "[]"
