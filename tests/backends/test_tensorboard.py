"""TensorBoard: what is logged is in event files as TensorBoard's own reader sees them."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from asynclog import TensorBoard
from asynclog.collector.batch import Batch
from asynclog.exceptions import MissingExtraError, SettingError
from asynclog.sinks.backend import BackendError
from asynclog.sinks.tensorboard.event_file import EventFile, event_file_name
from asynclog.typing import Run

pytest.importorskip("tensorboardX")
pytest.importorskip("tensorboard")

SINKS = "sinks=[asynclog.JsonlFile(), asynclog.TensorBoard()]"


def metrics(number: int, step: int | None = None, **fields: Any) -> dict[str, Any]:
    """Return a record of metrics with one value."""
    record: dict[str, Any] = {"kind": "metrics", "metrics": {"loss": number}, "split": "train"}
    return {**record, "step": number if step is None else step, **fields}


def batch(*events: dict[str, Any]) -> Batch:
    """Return a batch of records."""
    front = {"timestamp": "2026-01-31T12:00:00.500000Z", "level": "info", "event": "x"}
    return Batch(b"".join(orjson.dumps({**front, **event}) + b"\n" for event in events))


@pytest.fixture
def run(run_dir: Path) -> Run:
    """Return a run on a directory that is not there yet."""
    return Run(run_dir, "run", datetime.now(UTC), "host", os.getpid())


@pytest.fixture
def make_sink(run: Run) -> Iterator[Callable[..., Any]]:
    """Return what makes and opens sinks, as a start with a cursor does; all are closed."""
    made: list[Any] = []

    def make_sink(state: dict[str, Any] | None = None, **settings: Any) -> Any:
        sink = TensorBoard(**settings).make()
        sink.open(run)
        sink.restore(state)
        made.append(sink)
        return sink

    yield make_sink
    for sink in made:
        sink.close()


@pytest.mark.slow
def test_everything_from_a_pipeline(
    run_program: Callable[..., Any], event_accumulator: Callable[..., Any]
) -> None:
    """Every kind of record is there: each step, in order, with the time of its call."""
    output, _ = run_program(f"""
        with asynclog.running("run", {SINKS}):
            assert asynclog.stats().collector == "process"
            params = {{"lr": 0.1, "net": {{"depth": 3}}, "name": "x"}}
            log.log_params(params, metrics={{"acc": 0.9}})
            before = time.time()
            for step in range(500):
                log.log_metrics({{"loss": 1 / (step + 1), "n": step}}, step=step, split="train")
            log.log_metrics({{"odd": float("nan")}}, step=0, split="val")
            log.log_metrics({{"odd": float("inf")}}, step=1, split="val")
            for value in (5, 6):
                log.log_metrics({{"alone": value}})
            log.log_text("sample", "Once upon a time", step=7, split="val")
            record("histogram", name="weights", step=3, edges=[0, 1, 2, 4], counts=[5, 0, 2],
                   min=0.25, max=3.5, sum=8.5, sum_squares=20.25, num=7)
            image("picture", 200, step=2, split="val", caption="a red one")
            print(before, time.time())
    """)
    before, after = map(float, output.split())
    found = event_accumulator()
    losses = found.Scalars("train/loss")
    assert [(event.step, event.value) for event in losses] == [
        (step, pytest.approx(1 / (step + 1))) for step in range(500)
    ]
    assert all(before <= event.wall_time <= after for event in losses)
    assert [event.step for event in found.Scalars("train/n")] == list(range(500))
    odd = [event.value for event in found.Scalars("val/odd")]
    assert math.isnan(odd[0])
    assert odd[1] == math.inf
    assert [(e.step, e.value) for e in found.Scalars("alone")] == [(0, 5.0), (1, 6.0)]
    [text] = found.Tensors("val/sample/text_summary")
    assert (text.step, text.tensor_proto.string_val[0]) == (7, b"Once upon a time")
    [caption] = found.Tensors("val/picture/caption/text_summary")
    assert caption.tensor_proto.string_val[0] == b"a red one"
    [histogram] = found.Histograms("weights")
    value = histogram.histogram_value
    assert (histogram.step, value.num, value.min, value.max) == (3, 7, 0.25, 3.5)
    assert (list(value.bucket_limit), list(value.bucket)) == ([1, 2, 4], [5, 0, 2])
    assert (value.sum, value.sum_squares) == (8.5, 20.25)
    [picture] = found.Images("val/picture")
    assert (picture.step, picture.width, picture.height) == (2, 4, 3)
    assert picture.encoded_image_string.startswith(b"\x89PNG")
    assert [event.value for event in found.Scalars("hparam/acc")] == [pytest.approx(0.9)]
    assert hparams(found) == {"lr": 0.1, "net/depth": 3.0, "name": "x"}


def hparams(found: Any) -> dict[str, Any]:
    """Return the hyperparameters that TensorBoard's own plug-in finds."""
    from tensorboard.plugins.hparams import metadata

    content = found.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    start = metadata.parse_session_start_info_plugin_data(content)
    return {name: getattr(value, value.WhichOneof("kind")) for name, value in start.hparams.items()}


@pytest.mark.slow
@pytest.mark.parametrize("whom", ["collector", "training"])
def test_killed(
    whom: str,
    start: Callable[..., subprocess.Popen[str]],
    run_program: Callable[..., Any],
    event_accumulator: Callable[..., Any],
) -> None:
    """After kill -9 of the collector, or of the training, each step is there exactly once."""
    victim = "collector()" if whom == "collector" else "os.getpid()"
    process = start(f"""
        asynclog.start_sync("run", {SINKS})
        for step in range(3000):
            log.log_metrics({{"loss": step}}, step=step, split="train")
            if step % 300 == 299:
                time.sleep(0.05)
            if step == 1500:
                asynclog.flush_sync()
                until(lambda: any(run_dir.glob("tb/*")), "an event file")
                os.kill({victim}, 9)
        asynclog.flush_sync()
        asynclog.stop_sync()
    """)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == (0 if whom == "collector" else -signal.SIGKILL), errors
    # what the dead left, the next start brings home
    run_program(f"""
        with asynclog.running("run", {SINKS}):
            log.log_metrics({{"loss": 9999}}, step=9999, split="train")
    """)
    steps = [event.step for event in event_accumulator().Scalars("train/loss")]
    last = 3000 if whom == "collector" else 1501
    assert steps == [*range(last), 9999]


@pytest.mark.slow
def test_replay(
    run_program: Callable[..., Any],
    replay: Callable[..., str],
    event_accumulator: Callable[..., Any],
) -> None:
    """A run that had no such sink is sent by replay; --all makes another directory of it."""
    run_program("""
        with asynclog.running("run", sinks=[asynclog.JsonlFile()]):
            for step in range(50):
                log.log_metrics({"loss": step}, step=step, split="train")
    """)
    for directory, more in (("tb", []), ("tb-2", ["--all"])):
        assert "50 records" in replay("tensorboard", *more)
        scalars = event_accumulator(directory).Scalars("train/loss")
        assert [event.step for event in scalars] == list(range(50))


def test_written_and_killed_before_the_cursor(
    make_sink: Callable[..., Any], event_accumulator: Callable[..., Any]
) -> None:
    """What was written and not confirmed is cut off, and written again: each step is there once."""
    first = make_sink()
    at_start = first.state()
    first.write_blocking(batch(metrics(0), metrics(1)))
    confirmed = first.state()
    first.write_blocking(batch(metrics(2), metrics(3)))
    # killed: the next start has the state of the batch before
    second = make_sink(confirmed)
    second.write_blocking(batch(metrics(2), metrics(3), metrics(4)))
    scalars = event_accumulator().Scalars("train/loss")
    assert [event.step for event in scalars] == [0, 1, 2, 3, 4]
    # killed before the first cursor of a start
    third = make_sink(at_start)
    third.write_blocking(batch(metrics(0)))
    assert len(event_accumulator().Scalars("train/loss")) == 4


def test_goes_on_after_a_restart(
    make_sink: Callable[..., Any], event_accumulator: Callable[..., Any]
) -> None:
    """Steps of another start, also lower ones, hide none of those before; calls count on."""
    first = make_sink()
    first.write_blocking(batch(metrics(5), {"kind": "metrics", "metrics": {"alone": 1}}))
    second = make_sink(json.loads(json.dumps(first.state())))
    second.write_blocking(batch(metrics(2), {"kind": "metrics", "metrics": {"alone": 2}}))
    found = event_accumulator()
    assert [event.step for event in found.Scalars("train/loss")] == [5, 2]
    assert [(e.step, e.value) for e in found.Scalars("alone")] == [(0, 1.0), (1, 2.0)]


def test_ranks(make_sink: Callable[..., Any], event_accumulator: Callable[..., Any]) -> None:
    """Rank 0 and processes without a rank by default; all ranks under names of their own."""
    records = batch(metrics(1), metrics(2, rank=0), metrics(3, rank=1))
    make_sink().write_blocking(records)
    assert [e.step for e in event_accumulator().Scalars("train/loss")] == [1, 2]
    make_sink(path="all", ranks="all").write_blocking(records)
    found = event_accumulator("all")
    assert [e.step for e in found.Scalars("train/loss")] == [1, 2]
    assert [e.step for e in found.Scalars("rank1/train/loss")] == [3]


@pytest.mark.parametrize(
    "bad",
    [
        {"kind": "metrics"},
        {"kind": "metrics", "metrics": {"a": "text", "b": None}},
        {"kind": "metrics", "metrics": {"a": 1}, "step": 1 << 63},
        {"kind": "text", "text": "nameless"},
        {"kind": "histogram", "name": "h", "edges": [1, 2], "counts": [1, 2]},
        {"kind": "histogram", "name": "h", "edges": None, "counts": [1]},
        {"kind": "image", "name": "i", "path": "/etc/passwd", "media": "dropped"},
        {"kind": "hparams", "params": 3},
    ],
)
def test_bad_record_is_skipped(
    bad: dict[str, Any],
    make_sink: Callable[..., Any],
    event_accumulator: Callable[..., Any],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A record that makes no sense is complained of, and the others go on."""
    monkeypatch.setattr("asynclog._complain._last", {})
    make_sink().write_blocking(batch(metrics(0), bad, metrics(1)))
    assert [e.step for e in event_accumulator().Scalars("train/loss")] == [0, 1]
    assert f"a record of kind {bad['kind']} is left out" in capfd.readouterr().err


def test_directory_removed(
    make_sink: Callable[..., Any], event_accumulator: Callable[..., Any], run_dir: Path
) -> None:
    """Who removes the event files gets a new one with what comes next."""
    sink = make_sink()
    sink.write_blocking(batch(metrics(0)))
    [path] = (run_dir / "tb").iterdir()
    path.unlink()
    sink.write_blocking(batch(metrics(1)))
    assert [e.step for e in event_accumulator().Scalars("train/loss")] == [1]


def test_cannot_be_written(make_sink: Callable[..., Any], run_dir: Path) -> None:
    """A place that cannot be written raises, and the same batch is written once it can be."""
    run_dir.mkdir()
    (run_dir / "tb").write_text("in the way")
    sink = make_sink()
    with pytest.raises(BackendError):
        sink.write_blocking(batch(metrics(0)))
    (run_dir / "tb").unlink()
    sink.write_blocking(batch(metrics(0)))
    assert len(list((run_dir / "tb").iterdir())) == 1


def test_torn_write_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event that does not fit on the disk leaves no piece of itself behind."""
    file = EventFile(tmp_path / "events.out.tfevents.1", lambda data: 0)
    file.append([b"whole"])
    size = file.size
    write = os.write

    def full(descriptor: int, data: Any) -> int:
        if len(data) < 20:
            raise OSError(28, "No space left on device")
        return write(descriptor, data[:10])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            file.append([b"torn in two pieces"])
    assert (tmp_path / "events.out.tfevents.1").stat().st_size == size
    file.append([b"next"])
    assert file.size > size
    file.close()


def test_names_are_in_order() -> None:
    """TensorBoard reads files by name: later files have later names, within a second as well."""
    times = [999_999_999_000_000_001, 1_000_000_000_000_000_000, 1_000_000_000_000_000_001]
    names = [event_file_name("a host/x", lambda now=now: now) for now in times]
    assert names == sorted(names)
    assert len(set(names)) == 3
    assert all("/" not in name and "tfevents" in name for name in names)


def test_settings() -> None:
    """Settings are checked when they are made."""
    with pytest.raises(SettingError, match="path must be relative"):
        TensorBoard("/elsewhere")
    with pytest.raises(SettingError, match="ranks must be one of"):
        TensorBoard(ranks="some")  # type: ignore[arg-type]


def test_missing_package(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without tensorboardX, the error says what to install."""
    import asynclog.sinks.backend as backend

    def missing(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name.partition(".")[0])

    monkeypatch.setattr(backend, "import_module", missing)
    with pytest.raises(MissingExtraError, match=r"asynclog\[tensorboard\]"):
        TensorBoard().make().open(run)
