"""Numbers on a device: nobody waits for it, and their records keep time and order."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asynclog import JsonlFile, Pipeline
from asynclog._levels import LevelTable
from asynclog._line.encoder import LineEncoder
from asynclog._logger import deferred as deferred_module
from asynclog._logger.deferred import MAX_WAITING
from asynclog._logger.system import LogSystem
from asynclog.testing import RecordingSink

Written = Callable[[], list[dict[str, Any]]]


class Lines:
    """Takes lines as a producer does, and counts what is lost."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.lost: list[str] = []

    def put(self, line: bytes, level: int) -> bool:
        """Take a line."""
        self.lines.append(line)
        return True

    def count_drop(self, level: int, reason: str) -> None:
        """Count a loss."""
        self.lost.append(reason)

    @property
    def events(self) -> list[dict[str, Any]]:
        """All lines parsed."""
        return [json.loads(line) for line in self.lines]


def new_system(**options: Any) -> tuple[LogSystem, Lines]:
    """Return loggers without a pipeline, and where they log."""
    lines = Lines()
    target: Any = lines
    return LogSystem(target, LineEncoder(**options), LevelTable(10), None), lines


def until(condition: Callable[[], bool], timeout: float = 5.0) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.002)


def test_a_number_on_a_device_is_logged_without_waiting(device: Any) -> None:
    """A call begins a copy and returns; the record follows when the number is there."""
    system, lines = new_system()
    log = system.get_logger("train", run=1)
    loss = device.tensor(0.25)
    log.log_metrics({"loss": loss, "acc": 0.5}, step=0, split="train")
    assert lines.events == []
    assert device.copies == 1
    device.work()
    system.deferred.look()
    [record] = lines.events
    assert record["metrics"] == {"loss": 0.25, "acc": 0.5}
    assert (record["step"], record["split"], record["run"]) == (0, "train", 1)
    assert record["kind"] == record["event"] == "metrics"
    assert "log_error" not in record


def test_what_changes_later_does_not_show(device: Any) -> None:
    """The number is that of the call, whatever is done to the tensor afterwards."""
    system, lines = new_system()
    loss = device.tensor(1.0)
    system.get_logger().log_metrics({"loss": loss}, step=1)
    device.set(loss, 2.0)
    device.work()
    system.deferred.look()
    assert lines.events[0]["metrics"] == {"loss": 1.0}


def test_a_record_keeps_the_time_of_its_call(device: Any) -> None:
    """The time stamp is that of the call, not of the arrival."""
    system, lines = new_system()
    system.get_logger().log_metrics({"loss": device.tensor(1.0)}, step=1)
    called = datetime.now(UTC)
    until(lambda: datetime.now(UTC) > called)
    device.work()
    system.deferred.look()
    assert datetime.fromisoformat(lines.events[0]["timestamp"]) <= called


def test_later_calls_put_what_has_arrived(device: Any) -> None:
    """Each call looks after the ones before it, so a training loop needs nobody else."""
    system, lines = new_system()
    log = system.get_logger()
    for step in range(10):
        log.log_metrics({"loss": device.tensor(step / 4)}, step=step)
        device.work()
    assert [event["step"] for event in lines.events] == list(range(9))


def test_metrics_do_not_overtake_one_that_waits(device: Any) -> None:
    """Records of metrics that come behind a waiting one wait behind it; other records do not."""
    system, lines = new_system()
    log = system.get_logger()
    log.log_metrics({"loss": device.tensor(1.0)}, step=0)
    log.log_metrics({"loss": 2.0}, step=1)
    log.log_text("sample", "abc", step=2)
    log.log_metrics({"loss": "no number"}, step=3)
    log.info("plain")
    assert [event["event"] for event in lines.events] == ["plain"]
    device.work()
    log.log_metrics({"loss": 3.0}, step=4)
    assert [event["step"] for event in lines.events[1:]] == [0, 1, 2, 3, 4]
    assert not system.deferred.waiting


def test_order_is_kept_when_streams_finish_out_of_order(device: Any) -> None:
    """A later record whose number is there first still comes second."""
    system, lines = new_system()
    log = system.get_logger()
    device.streams["other"] = device.streams.get("other") or type(device.streams["default"])()
    log.log_metrics({"loss": device.tensor(1.0)}, step=0)
    device.stream = "other"
    log.log_metrics({"loss": device.tensor(2.0)}, step=1)
    device.work(stream="other")
    system.deferred.look()
    assert lines.events == []
    device.work()
    system.deferred.look()
    assert [(event["step"], event["metrics"]["loss"]) for event in lines.events] == [
        (0, 1.0),
        (1, 2.0),
    ]


@settings(max_examples=150, deadline=None)
@given(
    data=st.lists(
        st.one_of(
            st.tuples(st.just("device"), st.floats(width=32)),
            st.tuples(st.just("host"), st.floats()),
            st.tuples(st.just("work"), st.integers(1, 5)),
            st.tuples(st.just("work elsewhere"), st.integers(1, 5)),
            st.tuples(st.just("stream"), st.sampled_from(["default", "second"])),
            st.tuples(st.just("look"), st.none()),
        ),
        max_size=60,
    )
)
def test_any_order_of_events_keeps_the_order_of_steps(
    data: list[tuple[str, Any]], make_device: Callable[[], Any]
) -> None:
    """Whatever the device does when: every number is right, in the order of the calls, once."""
    device = make_device()
    device.streams["second"] = type(device.streams["default"])()
    system, lines = new_system()
    log = system.get_logger()
    before, expected = sys.modules.get("torch"), []
    sys.modules["torch"] = device.torch
    try:
        for what, value in data:
            if what in ("device", "host"):
                number = device.tensor(value) if what == "device" else value
                log.log_metrics({"x": number}, step=len(expected))
                expected.append(value)
            elif what == "work":
                device.work(value)
            elif what == "work elsewhere":
                device.work(value, "second")
            elif what == "stream":
                device.stream = value
            else:
                system.deferred.look()
        device.work()
        device.work(stream="second")
        system.deferred.look()
    finally:
        if before is None:
            del sys.modules["torch"]
        else:
            sys.modules["torch"] = before
    assert device.waits == []
    assert [event["step"] for event in lines.events] == list(range(len(expected)))
    for event, value in zip(lines.events, expected, strict=True):
        found = float(event["metrics"]["x"])
        assert found == value or (found != found and value != value)


def test_the_tick_puts_what_no_call_comes_by_for(
    device: Any, pipeline: Pipeline, sink: RecordingSink
) -> None:
    """The last record of a loop does not wait for a flush."""
    pipeline.get_logger().log_metrics({"loss": device.tensor(0.5)}, step=7)
    device.work()
    [record] = sink.wait_for_sync(1)
    assert (record["step"], record["metrics"]) == (7, {"loss": 0.5})


def test_the_tick_works_beside_a_collector_process(device: Any, run_dir: Path) -> None:
    """The same where the collector is another process."""
    with Pipeline(run_dir, sinks=[JsonlFile()], collector="process") as pipeline:
        pipeline.get_logger().log_metrics({"loss": device.tensor(0.5)}, step=7)
        device.work()
        until(lambda: '"loss":0.5' in (run_dir / "events.jsonl").read_text())


def test_flush_sees_to_what_is_on_its_way(device: Any, pipeline: Pipeline, sink: Any) -> None:
    """A flush returns when the numbers are in the files."""
    pipeline.get_logger().log_metrics({"loss": device.tensor(0.5)}, step=1)
    worker = threading.Timer(0.05, device.work)
    worker.start()
    assert pipeline.flush_sync()
    worker.join()
    assert [event["metrics"] for event in sink.events] == [{"loss": 0.5}]


@pytest.mark.anyio
async def test_flush_waits_on_every_event_loop(device: Any, run_dir: Path) -> None:
    """The same with ``await``, and the loop goes on meanwhile."""
    sink = RecordingSink()
    async with Pipeline(run_dir, sinks=[sink]) as pipeline:
        pipeline.get_logger().log_metrics({"loss": device.tensor(0.5)}, step=1)

        async def work() -> None:
            await anyio.sleep(0.02)
            device.work()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            assert await pipeline.flush()
        assert [event["metrics"] for event in sink.events] == [{"loss": 0.5}]


def test_a_flush_that_is_too_late_says_so(device: Any, pipeline: Pipeline) -> None:
    """A device that hangs holds nobody up for longer than the time-out."""
    log = pipeline.get_logger()
    log.log_metrics({"loss": device.tensor(0.5)}, step=1)
    began = time.monotonic()
    assert not pipeline.flush_sync(0.05)
    assert time.monotonic() - began < 60
    device.work()


def test_stop_counts_what_never_arrived(device: Any, run_dir: Path) -> None:
    """What was still on a hung device at the end is counted, and the end comes in time."""
    sink = RecordingSink()
    pipeline = Pipeline(run_dir, sinks=[sink], stop_timeout="0.5 s").start_sync()
    log = pipeline.get_logger()
    log.log_metrics({"loss": device.tensor(0.5)}, step=1)
    log.log_metrics({"loss": 1.0}, step=2)
    log.info("plain")
    began = time.monotonic()
    report = pipeline.stop_sync()
    assert time.monotonic() - began < 60
    assert report.dropped == {"timeout": 2}
    assert report.accepted == report.written + 2 == 3
    log.log_metrics({"loss": device.tensor(0.5)}, step=3)
    assert not pipeline.loggers.deferred.waiting
    assert pipeline.stats().dropped["stopped"] == 1


def test_a_pipeline_that_starts_again_takes_numbers_again(device: Any, run_dir: Path) -> None:
    """Stop and start leave nothing closed."""
    sink = RecordingSink()
    pipeline = Pipeline(run_dir, sinks=[sink])
    for _ in range(2):
        with pipeline:
            pipeline.get_logger().log_metrics({"loss": device.tensor(0.5)}, step=1)
            device.work()
    assert len(sink.events) == 2


def test_the_number_of_waiting_records_is_bounded(device: Any) -> None:
    """Beyond the bound records are dropped and counted."""
    system, lines = new_system()
    log = system.get_logger()
    for step in range(MAX_WAITING + 10):
        log.log_metrics({"loss": device.tensor(1.0)}, step=step)
    assert len(system.deferred.waiting) == MAX_WAITING
    assert lines.lost == ["full"] * 10
    device.work()
    system.deferred.look(MAX_WAITING)
    assert [event["step"] for event in lines.events] == list(range(MAX_WAITING))


def test_a_forked_child_leaves_its_parents_numbers_alone(
    device: Any, pipeline: Pipeline, written: Written
) -> None:
    """The parent logs them; the child logs its own."""
    log = pipeline.get_logger()
    log.log_metrics({"loss": device.tensor(1.0)}, step=0)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            assert not pipeline.loggers.deferred.waiting
            log.log_metrics({"loss": 5.0}, step=5)
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    device.work()
    assert written()
    until(lambda: len(written()) == 2)
    assert sorted(event["step"] for event in written()) == [0, 5]


def test_a_device_that_fails_is_named(device: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """A number lost with its device is NaN, the record says why, and others are not held up."""
    system, lines = new_system()
    log = system.get_logger()
    log.log_metrics({"loss": device.tensor(1.0), "lr": 0.1}, step=0)
    device.broken = RuntimeError("illegal memory \udcff access")
    log.log_metrics({"loss": 2.0}, step=1)
    first, second = lines.events
    assert first["metrics"] == {"loss": "NaN", "lr": 0.1}
    assert "illegal memory" in first["log_error"]
    assert second["metrics"] == {"loss": 2.0}
    assert "lost on their device" in capfd.readouterr().err


def test_fields_of_plain_records_arrive_too(device: Any) -> None:
    """``log.info("step", loss=loss)`` shows the number as well, at any depth."""
    system, lines = new_system()
    log = system.get_logger("app", run=1)
    log.info("step", loss=device.tensor(0.5), more={"lr": [device.tensor(2, "int64")]}, done=True)
    log.info("later")
    device.work()
    system.deferred.look()
    later, step = lines.events
    assert later["event"] == "later"
    assert (step["loss"], step["more"], step["done"]) == (0.5, {"lr": [2]}, True)


@pytest.mark.anyio
async def test_the_a_methods_do_not_wait_for_a_device(device: Any, run_dir: Path) -> None:
    """``await log.ainfo`` waits for room, not for numbers."""
    sink = RecordingSink()
    async with Pipeline(run_dir, sinks=[sink]) as pipeline:
        await pipeline.get_logger().ainfo("step", loss=device.tensor(0.5))
        device.work()
        assert await pipeline.flush()
        assert [event["loss"] for event in sink.events] == [0.5]


def test_numbers_pass_the_processors(device: Any) -> None:
    """Processors run at the call, with the context of the call; what they take away stays away."""
    system, lines = new_system()
    threads: list[int] = []

    def processor(logger: Any, name: str, event: Any) -> Any:
        threads.append(threading.get_ident())
        event["seen"] = True
        event["metrics"].pop("secret", None)
        event["text"] = f"loss is {event['metrics']['loss']}"
        return event

    system.set_processors([processor])
    log = system.get_logger()
    log.log_metrics({"loss": device.tensor(0.5), "secret": device.tensor(3.0)}, step=1)
    device.work()
    worker = threading.Thread(target=system.deferred.look)
    worker.start()
    worker.join()
    [record] = lines.events
    assert record["metrics"] == {"loss": 0.5}
    assert record["text"] == "loss is 0.5"
    assert record["seen"] is True
    assert threads == [threading.get_ident()]


def test_a_record_without_its_numbers_waits_for_nothing(device: Any) -> None:
    """When a processor takes all numbers of a device away, there is nothing to wait for."""
    system, lines = new_system()

    def processor(logger: Any, name: str, event: Any) -> Any:
        return {"event": "short", "step": event["step"]}

    system.set_processors([processor])
    system.get_logger().log_metrics({"loss": device.tensor(0.5)}, step=1)
    assert [event["step"] for event in lines.events] == [1]


def test_what_is_no_scalar_is_named(device: Any) -> None:
    """A whole tensor on a device is no metric; nothing is copied, and the rest is kept."""
    system, lines = new_system()
    weights = device.tensor(0.0, shape=(3, 2))
    system.get_logger().log_metrics({"weights": weights, "loss": 1.0}, step=1)
    [record] = lines.events
    assert record["metrics"] == {"loss": 1.0}
    assert "'weights' is no number: <Tensor shape=(3, 2)" in record["log_error"]
    assert device.copies == 0


def test_one_element_is_a_scalar_whatever_its_shape(device: Any) -> None:
    """Losses of shape (1,) or (1, 1) are numbers."""
    system, lines = new_system()
    system.get_logger().log_metrics({"loss": device.tensor(1.5, shape=(1, 1))}, step=1)
    device.work()
    system.deferred.look()
    assert lines.events[0]["metrics"] == {"loss": 1.5}


def test_a_captured_graph_is_left_alone(device: Any) -> None:
    """While a CUDA graph is captured nothing is queued on the stream."""
    system, lines = new_system()
    device.capturing = True
    system.get_logger().log_metrics({"loss": device.tensor(1.0)}, step=1)
    assert device.copies == 0
    assert not any(device.streams.values())
    assert "no number" in lines.events[0]["log_error"]


def test_truth_values_and_steps_on_a_device(device: Any) -> None:
    """A truth value counts as 0 or 1 among metrics; a step may be on the device, too."""
    system, lines = new_system()
    log = system.get_logger()
    log.log_metrics({"ok": device.tensor(True, "bool")}, step=device.tensor(3, "int64"))
    log.log_metrics({"x": 1}, step=device.tensor(3.0))
    log.info("plain", ok=device.tensor(True, "bool"))
    device.work()
    system.deferred.look()
    first, second, plain = lines.events
    assert (first["metrics"], first["step"]) == ({"ok": 1}, 3)
    assert type(first["metrics"]["ok"]) is int
    assert "step must be an integer" in second["log_error"]
    assert "step" not in second
    assert plain["ok"] is True


def test_a_level_that_is_off_copies_nothing(device: Any) -> None:
    """Metrics are of level info."""
    system, lines = new_system()
    system.levels.set_level(None, "WARNING")
    log = system.get_logger()
    log.log_metrics({"loss": device.tensor(1.0)})
    log.log_params({"lr": device.tensor(1.0)})
    log.log_text("x", "y")
    assert device.copies == 0
    assert lines.events == []


def test_whoever_left_the_queue_locked_is_replaced(
    device: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception between taking the lock and giving it back stops nothing for good."""
    system, lines = new_system()
    monkeypatch.setattr(deferred_module, "STALE", 0.01)
    system.get_logger().log_metrics({"loss": device.tensor(1.0)})
    device.work()
    assert system.deferred._lock.acquire()  # pyright: ignore[reportPrivateUsage]

    def arrived() -> bool:
        system.deferred.look()
        return bool(lines.events)

    until(arrived)


def test_threads_that_log_at_once_lose_nothing(device: Any, pipeline: Pipeline) -> None:
    """Every record of every thread is there once, each thread's in order."""
    log = pipeline.get_logger()
    done = threading.Event()

    def train(split: str) -> None:
        for step in range(300):
            log.log_metrics({"x": device.tensor(float(step))}, step=step, split=split)

    def work() -> None:
        while not done.is_set():
            device.work(3)

    threads = [threading.Thread(target=train, args=(name,)) for name in "abc"]
    worker = threading.Thread(target=work)
    for thread in [*threads, worker]:
        thread.start()
    for thread in threads:
        thread.join()
    assert pipeline.flush_sync()
    done.set()
    worker.join()
    sink: Any = pipeline._settings.sinks[0]  # type: ignore[union-attr]
    for split in "abc":
        steps = [event["step"] for event in sink.events if event.get("split") == split]
        assert steps == list(range(300))


def test_before_the_start_numbers_are_kept(device: Any, run_dir: Path) -> None:
    """What is logged before ``start()`` comes out after it, numbers on a device included."""
    sink = RecordingSink()
    pipeline = Pipeline(run_dir, sinks=[sink])
    pipeline.get_logger().log_metrics({"loss": device.tensor(0.5)}, step=1)
    with pipeline:
        device.work()
    assert [event["metrics"] for event in sink.events] == [{"loss": 0.5}]
