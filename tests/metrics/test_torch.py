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
    monkeypatch: pytest.MonkeyPatch, log_method: str
) -> None:
    """Of PyTorch's functions the logging thread calls a few that queue work or ask the host."""
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _device: "the stream")
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    monkeypatch.setattr(Event, "reached", False)
    lines: list[bytes] = []

    class Target:
        def put(self, line: bytes, level: int) -> bool:
            lines.append(line)
            return True

    target: Any = Target()
    system = LogSystem(target, LineEncoder(), LevelTable(10), None)
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
        monkeypatch.setattr(Event, "reached", True)
        system.deferred.look()
    assert set(called) <= HARMLESS
    assert "torch.Tensor.copy_" in called
    first = next(record for record in map(json.loads, lines) if "next" not in str(record))
    assert (first["metrics"] if log_method == "log_metrics" else first)["loss"] == 0.25


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
