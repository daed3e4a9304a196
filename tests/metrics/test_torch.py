"""The same with PyTorch itself: what is called on it, what it stores, and a GPU if there is one."""

from __future__ import annotations

import ctypes
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynclog import JsonlFile, Pipeline
from asynclog._levels import LevelTable
from asynclog._line import arrival
from asynclog._line.encoder import LineEncoder
from asynclog._logger.system import LogSystem

torch = pytest.importorskip("torch")
no_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")

# All that a log call may ask of a tensor on a device, or do with it.
HARMLESS = {
    "torch.Tensor.device.__get__",
    "torch.Tensor.dtype.__get__",
    "torch.Tensor.layout.__get__",
    "torch.Tensor.numel",
    "torch.Tensor.detach",
    "torch.Tensor.reshape",
    "torch.Tensor.copy_",
    "torch.Tensor.element_size",
    "torch.Tensor.data_ptr",
    "torch.Tensor.shape.__get__",
    "torch.empty",
}


class Event:
    """An event that nobody may wait for."""

    reached = False

    def record(self, stream: Any) -> None:
        """Be put on a stream."""
        assert stream == "the stream"

    def query(self) -> bool:
        """Tell whether it was reached."""
        return type(self).reached


def new_system() -> tuple[LogSystem, list[bytes]]:
    """Return loggers without a pipeline, and the lines that they make."""
    lines: list[bytes] = []

    class Target:
        def put(self, line: bytes, level: int) -> bool:
            lines.append(line)
            return True

    target: Any = Target()
    return LogSystem(target, LineEncoder(), LevelTable(10), None), lines


def spy_on(pretended: Any) -> tuple[Any, list[str]]:
    """Return a mode that lets a tensor pretend to be on a GPU, and what is called under it."""
    overrides = pytest.importorskip("torch.overrides")
    called: list[str] = []

    class Spy(overrides.TorchFunctionMode):  # type: ignore[misc, name-defined]
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            name = overrides.resolve_name(func) or str(func)
            called.append(name)
            kwargs = dict(kwargs or {})
            if args and args[0] is pretended and name == "torch.Tensor.device.__get__":
                return torch.device("cuda", 0)
            if name == "torch.Tensor.copy_":
                assert kwargs["non_blocking"] is True
            if name == "torch.empty":
                # there is nothing to pin memory for without a GPU
                assert kwargs.pop("pin_memory") is True
                assert kwargs["device"] == "cpu"
            return func(*args, **kwargs)

    return Spy(), called


@pytest.mark.parametrize("log_method", ["log_metrics", "info"])
def test_nothing_that_waits_is_called_on_a_tensor(
    gpu: type[Event], monkeypatch: pytest.MonkeyPatch, log_method: str
) -> None:
    """Of PyTorch's functions the logging thread calls a few that queue work or ask the host."""
    system, lines = new_system()
    log = system.get_logger()
    loss = torch.tensor([0.25], requires_grad=True)
    mode, called = spy_on(loss)
    with mode:
        if log_method == "info":
            log.info("step", loss=loss)
        else:
            log.log_metrics({"loss": loss}, step=1)
        log.log_metrics({"next": 1.0}, step=2)
        system.deferred.look()
        monkeypatch.setattr(gpu, "reached", True)
        system.deferred.look()
    assert set(called) <= HARMLESS
    assert "torch.Tensor.copy_" in called
    first = next(record for record in map(json.loads, lines) if "next" not in str(record))
    assert (first["metrics"] if log_method == "log_metrics" else first)["loss"] == 0.25


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> type[Event]:
    """Let PyTorch have an event for a GPU that is not there; nothing has reached it yet."""
    monkeypatch.setattr(torch.cuda, "Event", Event)

    def current_stream(device: Any) -> str:
        return "the stream"

    monkeypatch.setattr(torch.cuda, "current_stream", current_stream)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    monkeypatch.setattr(Event, "reached", False)
    return Event


def log_from_gpu(log: Any, method: str, tensor: Any) -> None:
    """Log a tensor that pretends to be on a GPU, and see what is called on it."""
    mode, called = spy_on(tensor)
    with mode:
        getattr(log, method)("x", tensor, step=3)
    assert set(called) <= HARMLESS
    assert "torch.Tensor.copy_" in called


def test_images_and_histograms_on_a_gpu(
    gpu: type[Event], monkeypatch: pytest.MonkeyPatch, run_dir: Path
) -> None:
    """They are copied in the background, and their records are those of tensors on the CPU."""
    image, weights = torch.rand(3, 8, 6), torch.randn(500).to(torch.bfloat16)
    with Pipeline(run_dir, sinks=[JsonlFile()]) as pipeline:
        log = pipeline.get_logger()
        log.log_image("x", image, step=3)
        log.log_histogram("x", weights, step=3)
        log_from_gpu(log, "log_image", image)
        log_from_gpu(log, "log_histogram", weights)
        log.log_metrics({"later": 1.0}, step=4)
        assert len(pipeline.loggers.deferred.waiting) == 3
        monkeypatch.setattr(gpu, "reached", True)
        assert pipeline.flush_sync(60)
    lines = (run_dir / "events.jsonl").read_text().splitlines()
    plain_image, plain_histogram, from_image, from_histogram, later = map(json.loads, lines)
    assert later["metrics"] == {"later": 1.0}
    images = [(run_dir / record.pop("path")).read_bytes() for record in (plain_image, from_image)]
    assert images[0] == images[1]
    for plain, found in ((plain_image, from_image), (plain_histogram, from_histogram)):
        del plain["timestamp"], found["timestamp"]
        assert plain == found


def test_making_fields_of_a_tensor_is_left_to_another_thread(
    gpu: type[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log call puts numbers for others, but counts no histogram where somebody else will."""
    system, lines = new_system()
    log = system.get_logger()
    log_from_gpu(log, "log_histogram", torch.ones(10))
    monkeypatch.setattr(gpu, "reached", True)
    system.deferred.attended = True
    log.log_metrics({"x": 1.0}, step=1)
    assert lines == []
    system.deferred.attended = False
    log.log_metrics({"x": 1.0}, step=2)
    assert [json.loads(line)["step"] for line in lines] == [3, 1, 2]


@pytest.mark.parametrize(
    ("method", "tensor", "field"),
    [("log_image", torch.rand(4, 4), "media"), ("log_histogram", torch.rand(4), "num")],
)
def test_a_tensor_lost_on_its_device(
    gpu: type[Event], monkeypatch: pytest.MonkeyPatch, method: str, tensor: Any, field: str
) -> None:
    """Its record says so."""
    system, lines = new_system()

    def broken(_: Event) -> bool:
        raise RuntimeError("device-side assert")

    log_from_gpu(system.get_logger(), method, tensor)
    monkeypatch.setattr(gpu, "query", broken)
    system.deferred.look()
    [record] = map(json.loads, lines)
    assert record[field] == ("dropped" if field == "media" else 0)
    assert "device-side assert" in record["log_error"]
    assert "pending" not in record


def test_tensors_under_way_are_bounded(gpu: type[Event], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where too many bytes wait for the device already, the next tensor is left out by name."""
    system, lines = new_system()
    monkeypatch.setattr(arrival, "MAX_ARRAY_BYTES", 100)
    log_from_gpu(system.get_logger(), "log_histogram", torch.ones(20))
    mode, called = spy_on(more := torch.ones(20))
    with mode:
        system.get_logger().log_histogram("more", more)
    assert "torch.Tensor.copy_" not in called
    monkeypatch.setattr(gpu, "reached", True)
    system.deferred.look()
    first, second = map(json.loads, lines)
    assert first["num"] == 20
    assert "without waiting" in second["log_error"]
    lines.clear()
    log_from_gpu(system.get_logger(), "log_histogram", torch.ones(20))
    system.deferred.look()
    assert json.loads(lines[0])["num"] == 20


@given(st.sampled_from([*arrival._FORMATS, "bfloat16"]), st.integers(-(2**70), 2**70), st.data())
def test_every_dtype_is_read_as_pytorch_reads_it(name: str, whole: int, data: Any) -> None:
    """What lies in pinned memory becomes the number that ``item()`` would give."""
    dtype = getattr(torch, name)
    if dtype.is_floating_point:
        value = torch.tensor(data.draw(st.floats()), dtype=torch.float64).to(dtype)
    elif name == "bool":
        value = torch.tensor(bool(whole % 2))
    else:
        limits = torch.iinfo(dtype)
        value = torch.tensor(limits.min + whole % (limits.max - limits.min + 1), dtype=dtype)
    read = arrival._reader(dtype, torch)
    assert read is not None
    found = read(ctypes.string_at(value.data_ptr(), value.element_size()))
    expected = value.item()
    assert type(found) is type(expected)
    assert found == expected or (math.isnan(found) and math.isnan(expected))


@pytest.mark.gpu
@no_gpu
def test_a_loss_on_a_gpu(run_dir: Path) -> None:
    """Numbers from a real GPU are those of the call, in order, in metrics and in fields."""
    weight = torch.ones((), device="cuda")
    with Pipeline(run_dir, sinks=[JsonlFile()]) as pipeline:
        log = pipeline.get_logger("train")
        for step in range(200):
            log.log_metrics({"w": weight, "step": step}, step=step)
            log.info("step", w=weight)
            weight += 1
    events = [json.loads(line) for line in (run_dir / "events.jsonl").read_text().splitlines()]
    metrics = [event for event in events if event.get("kind") == "metrics"]
    assert [event["step"] for event in metrics] == list(range(200))
    assert [event["metrics"]["w"] for event in metrics] == [float(n + 1) for n in range(200)]
    assert sorted(event["w"] for event in events if "w" in event) == [n + 1 for n in range(200)]


@pytest.mark.gpu
@no_gpu
def test_a_log_call_does_not_wait_for_a_gpu(run_dir: Path) -> None:
    """A call behind seconds of queued work returns at once; PyTorch's own check agrees."""
    with Pipeline(run_dir, sinks=[JsonlFile()], stop_timeout="60 s") as pipeline:
        log = pipeline.get_logger("train")
        log.log_metrics({"x": torch.ones((), device="cuda")}, step=0)
        assert pipeline.flush_sync()
        busy = torch.cuda.Event()
        torch.cuda._sleep(2_000_000_000)
        value = torch.ones((), device="cuda") * 3
        torch.cuda.set_sync_debug_mode("error")
        try:
            log.log_metrics({"x": value}, step=1)
            log.log_metrics({"x": 1.0}, step=2)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        busy.record()
        assert not busy.query()
    events = [json.loads(line) for line in (run_dir / "events.jsonl").read_text().splitlines()]
    assert [event["step"] for event in events] == [0, 1, 2]
    assert events[1]["metrics"] == {"x": 3.0}


@pytest.mark.gpu
@no_gpu
def test_images_and_histograms_on_a_real_gpu(run_dir: Path) -> None:
    """They do not wait either, and come out as those on the CPU."""
    weights, image = torch.randn(1000, device="cuda"), torch.rand(3, 8, 6, device="cuda")
    with Pipeline(run_dir, sinks=[JsonlFile()], stop_timeout="60 s") as pipeline:
        log = pipeline.get_logger()
        torch.cuda._sleep(1_000_000_000)
        torch.cuda.set_sync_debug_mode("error")
        try:
            log.log_histogram("w", weights, step=0)
            log.log_image("i", image, step=0)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        weights.zero_()
        assert pipeline.flush_sync(60)
    events = [json.loads(line) for line in (run_dir / "events.jsonl").read_text().splitlines()]
    assert [event["kind"] for event in events] == ["histogram", "image"]
    assert sum(events[0]["counts"]) == events[0]["num"] == 1000
    assert events[0]["min"] < -1 < 1 < events[0]["max"]
    assert (run_dir / events[1]["path"]).stat().st_size > 0
