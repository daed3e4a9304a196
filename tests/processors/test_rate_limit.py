"""RateLimit: what passes, and what is said of the rest."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
import structlog
from structlog import DropEvent

import asynclog
from asynclog._line.encoder import Kind
from asynclog.processors import AddCallsite, RateLimit
from asynclog.testing import RecordingSink, capture_events

THREADS = 8
TASKS = 20
CALLS = 200


def passed(processor: Any, method: str = "info", **event: Any) -> dict[str, Any] | None:
    """Return what a processor makes of a record, None when it drops it."""
    try:
        return dict(processor(None, method, event))
    except DropEvent:
        return None


def passes(processor: Any, method: str = "info", **event: Any) -> bool:
    """Tell whether a record passes."""
    return passed(processor, method, **event) is not None


def test_the_next_one_that_passes_says_how_many_did_not() -> None:
    """Each once, as the last field."""
    limit = RateLimit(every=3, key="event")
    assert [passed(limit, event="x") for _ in range(7)] == [
        {"event": "x"},
        None,
        None,
        {"event": "x", "suppressed": 2},
        None,
        None,
        {"event": "x", "suppressed": 2},
    ]
    assert (limit.passed, limit.suppressed) == (3, 4)


def test_once() -> None:
    """Of each key."""
    limit = RateLimit(once=True, key="event")
    assert [passes(limit, event=text) for text in "aabab"] == [True, False, True, False, False]


def test_rate_and_burst() -> None:
    """At once as many as the burst; the default is what one second allows."""
    assert sum(passes(RateLimit(rate=0.001, burst=4), event="x") for _ in [1]) == 1
    for limit, expected in (
        (RateLimit(rate=0.001, burst=4, key="event"), 4),
        (RateLimit(rate=0.001, key="event"), 1),
        (RateLimit(rate=0.0015, key="event", burst=2), 2),
    ):
        assert sum(passes(limit, event="x") for _ in range(10)) == expected
    assert "burst" not in repr(RateLimit(rate=3))


def test_seconds_as_a_number_or_a_text() -> None:
    """An hour is long enough for a test."""
    for seconds in (3600, "1 h"):
        limit = RateLimit(seconds=seconds, key="event")
        assert [passes(limit, event="x") for _ in range(3)] == [True, False, False]


def test_by_call_site() -> None:
    """The default: each place in the code by itself, whatever it says."""
    asynclog.configure(processors=[RateLimit(once=True)])
    log = asynclog.get_logger("app")
    with capture_events() as events:
        for number in range(3):
            log.info(f"first {number}")
            log.info(f"second {number}")
    asynclog.configure(processors=[])
    assert [event["event"] for event in events] == ["first 0", "second 0"]


def test_by_the_call_site_that_a_record_names() -> None:
    """Of a library, or of AddCallsite before it."""
    limit = RateLimit(once=True)
    assert passes(limit, file="a.py", line=1)
    assert not passes(limit, file="a.py", line=1)
    assert passes(limit, file="a.py", line=2)
    chain = [AddCallsite(), RateLimit(every=2)]

    def run() -> bool:
        return passes(chain[1], **chain[0](None, "info", {}))

    assert [run() for _ in range(2)] == [True, False]
    assert chain[1].take_unreported()[0][0].startswith(f"{__file__}:")  # type: ignore[union-attr]


def test_by_fields() -> None:
    """Equal values of all of them; a field that is missing is None."""
    limit = RateLimit(once=True, key=["user", "path"])
    assert passes(limit, user=1, path="/a")
    assert not passes(limit, user=1, path="/a", other=5)
    assert passes(limit, user=1, path="/b")
    assert passes(limit, user=1)
    assert not passes(limit, user=1, path=None)
    assert passes(limit, user=[1, 2], path=b"x"), "values of any type"
    assert not passes(limit, user=[1, 2], path=b"x")
    assert passes(limit, user=float("nan"))
    assert not passes(limit, user=float("nan"))
    assert ("user=1, path=/a", 1) in limit.take_unreported()


def test_by_a_function() -> None:
    """Of the event dict."""
    limit = RateLimit(once=True, key=lambda event: event["status"] // 100)
    assert [passes(limit, status=status) for status in (200, 201, 500)] == [True, False, True]


@pytest.mark.parametrize("result", [{"a": 1}, object(), (1, ["x"]), "x" * 100_000, None])
def test_a_function_may_return_anything(result: Any) -> None:
    """What is no plain value counts by what it says; long texts by their hash."""
    limit = RateLimit(once=True, key=lambda _: result)
    assert [passes(limit) for _ in range(2)] == [True, False]
    [(text, count)] = limit.take_unreported()
    assert len(text) <= 300
    assert count == 1


def test_long_texts_are_told_apart() -> None:
    """Though their beginnings are the same."""
    limit = RateLimit(once=True, key="event")
    assert passes(limit, event="x" * 10_000 + "a")
    assert passes(limit, event="x" * 10_000 + "b")
    assert not passes(limit, event="x" * 10_000 + "a")


def test_a_function_that_fails_lets_records_pass() -> None:
    """And each names it."""
    limit = RateLimit(once=True, key=lambda event: event["missing"])
    for _ in range(2):
        assert passed(limit, event="x") == {
            "event": "x",
            "log_error": "RateLimit: KeyError: 'missing'",
        }


def test_errors_always_pass() -> None:
    """And are not counted; what else does is a setting."""
    limit = RateLimit(once=True, key="event")
    assert all(passes(limit, method, event="x") for method in ("error", "exception") * 3)
    assert all(passes(limit, "info", event="x", level="critical") for _ in range(3))
    assert limit.passed == 0
    assert [passes(limit, "warning", event="x") for _ in range(2)] == [True, False]
    below = RateLimit(once=True, key="event", below="WARNING")
    assert all(passes(below, "warning", event="x") for _ in range(3))
    assert [passes(below, event="x") for _ in range(2)] == [True, False]
    everything = RateLimit(once=True, key="event", below=None)
    assert [passes(everything, "critical", event="x") for _ in range(2)] == [True, False]


def test_metrics_always_pass() -> None:
    """A number that is missing is no noise less."""
    limit = RateLimit(once=True, key="event")
    assert all(passes(limit, event="x", kind=Kind("metrics")) for _ in range(3))
    assert [passes(limit, event="x", kind="metrics") for _ in range(2)] == [True, False]


def test_fields_called_like_ours_move() -> None:
    """Nobody's value is lost."""
    limit = RateLimit(every=2, key="event")
    passed(limit, event="x")
    passed(limit, event="x")
    assert passed(limit, event="x", suppressed="mine") == {
        "event": "x",
        "suppressed_": "mine",
        "suppressed": 1,
    }


def test_what_was_dropped_of_forgotten_keys_is_told() -> None:
    """By the next record that passes, whatever its key."""
    limit = RateLimit(once=True, key="event", max_keys=2)
    for text in ("a", "a", "a", "b"):
        passed(limit, event=text)
    assert passed(limit, event="c") == {"event": "c", "suppressed_others": 2}
    assert limit.take_unreported() == []


def test_what_nobody_has_told_can_be_taken() -> None:
    """Once; a secret in a key is not shown."""
    limit = RateLimit(once=True, key="event")
    for text in ("plain", "plain", "password=hunter2", "password=hunter2"):
        passed(limit, event=text)
    assert limit.take_unreported() == [("plain", 1), ("password=[redacted]", 1)]
    assert limit.take_unreported() == []
    assert limit.suppressed == 2


@pytest.mark.anyio
async def test_counts_are_exact_from_threads_and_tasks_at_once(
    run_dir: Path, anyio_backend_name: str
) -> None:
    """Through a real pipeline: what arrived and what it says add up to what was logged."""
    sink = RecordingSink()
    limit = RateLimit(every=10, key=["key"])
    pipeline = asynclog.Pipeline(run_dir, sinks=[sink], processors=[limit])
    async with pipeline:
        log = pipeline.get_logger("app")

        def in_thread() -> None:
            for number in range(CALLS):
                log.info("x", key=number % 3)

        async def in_task() -> None:
            for number in range(CALLS):
                await log.ainfo("x", key=number % 3)

        threads = [threading.Thread(target=in_thread) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        async with anyio.create_task_group() as tasks:
            for _ in range(TASKS):
                tasks.start_soon(in_task)
        for thread in threads:
            await anyio.to_thread.run_sync(thread.join)
        unreported = sum(count for _, count in limit.take_unreported())
        await pipeline.flush()
    events = [event for event in sink.events if event["event"] == "x"]
    per_key = Counter(number % 3 for number in range(CALLS))
    logged = {key: count * (THREADS + TASKS) for key, count in per_key.items()}
    assert Counter(event["key"] for event in events) == {
        key: -(-count // 10) for key, count in logged.items()
    }
    told = sum(event.get("suppressed", 0) for event in events)
    assert len(events) + told + unreported == sum(logged.values())
    assert limit.passed == len(events)


def test_the_pipeline_tells_the_rest_at_its_end(run_dir: Path) -> None:
    """What no record has mentioned is in a note."""
    sink = RecordingSink()
    limit = RateLimit(once=True, key="event")
    with asynclog.Pipeline(run_dir, sinks=[sink], processors=[limit]) as pipeline:
        for _ in range(5):
            pipeline.get_logger("app").info("again")
    [note] = [event for event in sink.events if event["event"] == "asynclog.suppressed"]
    assert note["suppressed"] == {"again": 4}


def test_under_plain_structlog() -> None:
    """DropEvent is structlog's own."""
    structlog.configure(
        processors=[RateLimit(every=2), structlog.processors.JSONRenderer()],
        logger_factory=structlog.testing.CapturingLoggerFactory(),
    )
    log = structlog.get_logger()
    for _ in range(4):
        log.info("x")
    assert len(log.bind()._logger.calls) == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "rate, every, seconds and once must be given one of, got: 'none of them'"),
        ({"rate": 1, "every": 2}, "must be given one of"),
        ({"rate": 0}, "rate must be a number of records a second, got: 0"),
        ({"rate": -1}, "rate must be"),
        ({"rate": float("nan")}, "rate must be"),
        ({"rate": "10/s"}, "rate must be"),
        ({"rate": True}, "rate must be"),
        ({"rate": 1, "burst": 0}, "burst must be a whole number, 1 or more, got: 0"),
        ({"every": 2, "burst": 2}, "burst must come with rate"),
        ({"every": 0}, "every must be a whole number"),
        ({"every": 1.5}, "every must be a whole number"),
        ({"every": True}, "every must be a whole number"),
        ({"seconds": "soon"}, "seconds must be a length of time"),
        ({"seconds": 0}, "seconds must be positive"),
        ({"once": True, "max_keys": 0}, "max_keys must be a whole number"),
        ({"once": True, "below": "LOUD"}, "below must be one of debug"),
        ({"once": True, "key": "user"}, r'key must be "callsite".*Write key=\["user"\]'),
        ({"once": True, "key": []}, "key must be"),
        ({"once": True, "key": [1]}, "key must be"),
        ({"once": True, "key": None}, "key must be"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], message: str) -> None:
    """At once, with name, rule and value."""
    with pytest.raises(asynclog.SettingError, match=message):
        RateLimit(**settings)


@pytest.mark.parametrize(
    "make",
    [
        lambda: RateLimit(rate=5, burst=2),
        lambda: RateLimit(once=True, below=None, key=("a", "b"), max_keys=3),
    ],
)
def test_its_repr_can_be_typed_in(make: Callable[[], RateLimit]) -> None:
    """It shows what was set."""
    limit = make()
    assert repr(eval(repr(limit))) == repr(limit)
