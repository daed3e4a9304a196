"""Images: what becomes of pixels, and that each is in the run directory once, whole, or counted."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import asynclog
from asynclog import JsonlFile, Pipeline
from asynclog._logger import media as media_module
from asynclog._logger.media import media_path
from asynclog._logger.pictures import NoPictureError, picture_of
from asynclog.cli import main
from asynclog.collector import media as collector_media
from asynclog.collector.media import MediaFiles
from asynclog.collector.png import png
from asynclog.collector.recovery import recover
from asynclog.intake import media as intake_media
from asynclog.intake.media import MediaSpool, Picture
from asynclog.intake.spool import Spool
from asynclog.sinks.media import is_media_path, media_file
from asynclog.testing import RecordingSink

numpy = pytest.importorskip("numpy")

Written = Callable[[], list[dict[str, Any]]]
RED = bytes((255, 0, 0))


def pixels(content: bytes) -> tuple[int, int, int, bytes]:
    """Return width, height, color type and samples of a PNG file without filters."""
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    at, data, header = 8, b"", b""
    while at < len(content):
        length, kind = struct.unpack(">I4s", content[at : at + 8])
        body = content[at + 8 : at + 8 + length]
        assert struct.unpack(">I", content[at + 8 + length : at + 12 + length])[0] == zlib.crc32(
            kind + body
        )
        header = body if kind == b"IHDR" else header
        data += body if kind == b"IDAT" else b""
        at += 12 + length
    width, height, depth, color, compression, filtering, interlace = struct.unpack(
        ">IIBBBBB", header
    )
    assert (depth, compression, filtering, interlace) == (8, 0, 0, 0)
    rows = zlib.decompress(data)
    row = len(rows) // height
    assert all(rows[start] == 0 for start in range(0, len(rows), row))
    samples = b"".join(rows[start + 1 : start + row] for start in range(0, len(rows), row))
    return width, height, color, samples


def files_of(run_dir: Path) -> list[str]:
    """Return all files below ``media``, relative to the run directory."""
    paths = (run_dir / "media").rglob("*")
    return sorted(str(path.relative_to(run_dir)) for path in paths if path.is_file())


def records_of(run_dir: Path) -> list[dict[str, Any]]:
    """Return the records in a run's file."""
    return [json.loads(line) for line in (run_dir / "events.jsonl").read_text().splitlines()]


# Pixels


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), st.data())
def test_png_files_hold_the_pixels(width: int, height: int, channels: int, data: Any) -> None:
    """Any size and number of channels comes out as it went in."""
    size = width * height * channels
    samples = data.draw(st.binary(min_size=size, max_size=size))
    found = pixels(png(width, height, channels, samples))
    assert found == (width, height, {1: 0, 2: 4, 3: 2, 4: 6}[channels], samples)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_png_files_are_read_by_others(mode: str) -> None:
    """Pillow reads what we write."""
    image = pytest.importorskip("PIL.Image")
    given = image.frombytes(mode, (5, 3), bytes(range(5 * 3 * len(mode))))
    content = png(5, 3, len(mode), given.tobytes())
    read = image.open(io.BytesIO(content))
    assert (read.mode, read.size, read.tobytes()) == (mode, (5, 3), given.tobytes())


@pytest.mark.parametrize(
    ("array", "shape", "samples"),
    [
        (numpy.array([[0, 255], [7, 8]], "uint8"), (2, 2, 1), bytes([0, 255, 7, 8])),
        (numpy.array([[True, False]]), (2, 1, 1), bytes([255, 0])),
        (numpy.array([[0.0, 0.5, 1.0]]), (3, 1, 1), bytes([0, 128, 255])),
        (numpy.array([[numpy.nan, numpy.inf, -numpy.inf, 2, -1]]), (5, 1, 1), b"\0\xff\0\xff\0"),
        (numpy.array([[-5, 300]], "int64"), (2, 1, 1), bytes([0, 255])),
        (numpy.full((1, 2, 3), 9, "uint8"), (2, 1, 3), bytes([9] * 6)),
        (numpy.full((1, 2, 4), 9, "uint8"), (2, 1, 4), bytes([9] * 8)),
        (numpy.full((4, 5, 1), 9, "uint8"), (5, 4, 1), bytes([9] * 20)),
        (numpy.arange(30, dtype="uint8").reshape(3, 2, 5), (5, 2, 3), None),
        (numpy.ones((6, 6), "float16")[::2, ::3], (2, 3, 1), b"\xff" * 6),
    ],
    ids=lambda value: str(getattr(value, "shape", ""))[:20],
)
def test_arrays_are_images(array: Any, shape: tuple[int, int, int], samples: Any) -> None:
    """Height x width with and without channels, first or last, of all usual types."""
    picture = picture_of(array)
    assert (picture.width, picture.height, picture.channels) == shape
    if samples is None:  # channels first
        samples = numpy.moveaxis(array, 0, -1).tobytes()
    assert bytes(picture.data) == samples


def test_tensors_are_images() -> None:
    """As PyTorch has them, channels first, and as NumPy has them, channels last."""
    torch = pytest.importorskip("torch")
    image = torch.rand(3, 7, 5, requires_grad=True)
    expected = picture_of(image.detach().numpy())
    assert picture_of(image) == expected
    assert picture_of(image.detach().permute(1, 2, 0)) == expected
    assert picture_of(torch.ones(2, 2, dtype=torch.bool)).data == b"\xff" * 4
    assert picture_of(torch.tensor([[-3, 300]])).data == b"\0\xff"
    assert picture_of(torch.tensor([[0.5]], dtype=torch.bfloat16)).data == b"\x80"
    nothing = torch.tensor([[float("nan"), float("inf"), -float("inf"), 2.0, -1.0]])
    assert picture_of(nothing).data == b"\0\xff\0\xff\0"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F"])
def test_pillow_images_are_images(mode: str) -> None:
    """All modes are taken; those that PNG does not know are converted."""
    image = pytest.importorskip("PIL.Image")
    picture = picture_of(image.new(mode, (4, 3)))
    assert (picture.width, picture.height) == (4, 3)
    assert len(picture.data) == 12 * picture.channels


def test_encoded_images_go_through_as_they_are(tmp_path: Path) -> None:
    """PNG and JPEG files, as bytes or by path, keep every byte."""
    image = pytest.importorskip("PIL.Image")
    for kind, extension in (("PNG", "png"), ("JPEG", "jpg")):
        stream = io.BytesIO()
        image.new("RGB", (300, 20), (1, 2, 3)).save(stream, kind)
        content = stream.getvalue()
        path = tmp_path / f"image.{extension}"
        path.write_bytes(content)
        for form in (content, bytearray(content), memoryview(content), path, str(path)):
            assert picture_of(form) == Picture(extension, 300, 20, 0, content)


def test_a_progressive_jpeg_has_a_size() -> None:
    """Frame headers of all kinds are found, behind other segments."""
    image = pytest.importorskip("PIL.Image")
    stream = io.BytesIO()
    image.new("L", (40, 30)).save(
        stream, "JPEG", progressive=True, exif=b"Exif\0\0" + bytes(100), comment=b"x"
    )
    picture = picture_of(stream.getvalue())
    assert (picture.width, picture.height) == (40, 30)


@pytest.mark.parametrize(
    "value",
    [
        None,
        3,
        b"GIF89a",
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xe0\xff\xff",
        b"\x89PNG\r\n\x1a\n",
        numpy.zeros(5),
        numpy.zeros((2, 2, 2, 2)),
        numpy.zeros((5, 5, 5)),
        numpy.zeros((0, 5)),
        numpy.zeros((1, 70000)),
        numpy.zeros((2, 2), complex),
        numpy.array([["a"]]),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_is_no_image_is_named(value: Any, pipeline: Pipeline, written: Written) -> None:
    """The record stays, says why, and refers to no file."""
    with pytest.raises(NoPictureError):
        picture_of(value)
    pipeline.get_logger().log_image("x", value, step=1)
    [record] = written()
    assert record["media"] == "dropped"
    assert "path" not in record
    assert record["log_error"].startswith("no image: ")


@given(st.binary(max_size=60))
def test_any_bytes_are_survived(data: bytes) -> None:
    """Whatever comes as a file: an image, or a clear refusal."""
    for content in (data, b"\xff\xd8\xff" + data, b"\x89PNG\r\n\x1a\n" + data):
        try:
            picture_of(content)
        except NoPictureError:
            continue


def test_a_tensor_on_a_device_is_not_fetched(
    device: Any, pipeline: Pipeline, written: Written
) -> None:
    """What cannot be copied from there without waiting is left out; the record says so."""
    pipeline.get_logger().log_image("x", device.tensor(0.0, shape=(3, 4, 4)))
    pipeline.get_logger().log_histogram("x", device.tensor(0.0, shape=(3, 4, 4)))
    image, histogram = written()
    assert "without waiting" in image["log_error"]
    assert "without waiting" in histogram["log_error"]


# Names


@given(st.text(max_size=80), st.none() | st.text(max_size=20), st.none() | st.integers())
def test_no_name_leads_out_of_the_directory(name: str, split: str | None, step: Any) -> None:
    """Whatever a name holds: the file lies below ``media/images``, under a plain name."""
    path = media_path(name, split, step, "png")
    assert is_media_path(path)
    assert path.startswith("media/images/")
    assert path.isascii()
    assert path.isprintable()
    parts = path.split("/")
    assert all(part and not part.startswith(".") and len(part) < 255 for part in parts)


def test_names_tell_what_the_image_is() -> None:
    """Split, name and step can be read from the path; no two are the same."""
    first, second = (media_path("sample/a b", "val", 12, "png") for _ in range(2))
    assert first.startswith("media/images/val/sample/a_b-00000012-")
    assert first != second


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../x.png", "media/../../x", "media", "media/", "", "x/y.png", "media/a\0", 3],
    ids=repr,
)
def test_only_paths_below_media_count(path: Any) -> None:
    """A forged record makes nobody read or write elsewhere."""
    assert not is_media_path(path)


# From the call to the file


@pytest.mark.parametrize("collector", ["thread", "process"])
def test_an_image_is_in_the_run_directory(run_dir: Path, collector: Any) -> None:
    """The record names size and path; the file is there when ``stop()`` returns."""
    with Pipeline(run_dir, sinks=[JsonlFile()], collector=collector) as pipeline:
        log = pipeline.get_logger("val")
        image = numpy.full((2, 3, 3), 7, "uint8")
        log.log_image("sample", image, caption="a cat", step=0, split="val")
        image[:] = 0
        report = pipeline.stop_sync()
    [record] = records_of(run_dir)
    del record["timestamp"]
    path = record.pop("path")
    assert record == {
        "kind": "image",
        "level": "info",
        "event": "image",
        "logger": "val",
        "name": "sample",
        "step": 0,
        "split": "val",
        "caption": "a cat",
        "width": 3,
        "height": 2,
        "quiet": True,
    }
    assert path.startswith("media/images/val/sample-00000000-")
    assert files_of(run_dir) == [path]
    assert (run_dir / path).stat().st_mode & 0o777 == 0o640
    # as it was at the call
    assert pixels((run_dir / path).read_bytes()) == (3, 2, 2, bytes([7] * 18))
    assert report.sinks["media"].written == 1
    assert report.sinks["media"].dropped == {}


def test_a_flush_brings_the_images_too(pipeline: Pipeline, run_dir: Path) -> None:
    """After ``flush()`` the files are there."""
    for number in range(20):
        pipeline.get_logger().log_image("x", numpy.zeros((50, 50)), step=number)
    assert pipeline.flush_sync()
    assert len(files_of(run_dir)) == 20


def test_runs_without_images_do_not_mention_them(run_dir: Path) -> None:
    """Neither a directory nor a line in the report."""
    with Pipeline(run_dir, sinks=[JsonlFile()]) as pipeline:
        pipeline.get_logger().info("x")
        assert pipeline.stop_sync().sinks == {}
    assert not (run_dir / "media").exists()


def test_nothing_stays_in_the_spool(run_dir: Path, spool_dir: Path) -> None:
    """After a clean stop the run's spool is gone."""
    spool = Spool(run_dir)
    spool.prepare()
    # as long as we are the collector, nobody takes the image
    assert spool.elect()
    with Pipeline(run_dir, sinks=[JsonlFile()]) as pipeline:
        pipeline.get_logger().log_image("x", numpy.zeros((5, 5)))
        [snapshot] = spool_dir.rglob("*.snapshot")
        assert snapshot.stat().st_mode & 0o777 == 0o600
        assert snapshot.parent.stat().st_mode & 0o777 == 0o700
        spool.lock.release()
        assert pipeline.flush_sync(60)
    assert not list(spool_dir.rglob("*.snapshot"))
    assert not list(spool_dir.glob("asynclog-*/*"))


def test_a_forked_child_logs_images(pipeline: Pipeline, run_dir: Path, sink: Any) -> None:
    """They go the same way."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            pipeline.get_logger().log_image("child", numpy.zeros((5, 5)))
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    [record] = sink.wait_for_sync(1)
    assert media_file(run_dir, record) == run_dir / record["path"]


def test_images_before_the_start_are_kept(run_dir: Path, monkeypatch: Any) -> None:
    """Up to a bound they wait in memory; the others say that they were dropped."""
    monkeypatch.setattr(media_module, "MAX_EARLY_BYTES", 1000)
    pipeline = Pipeline(run_dir, sinks=[JsonlFile()])
    log = pipeline.get_logger()
    log.log_image("first", numpy.zeros((20, 20)))
    log.log_image("second", numpy.zeros((40, 40)))
    log.log_image("third", numpy.zeros((10, 10)))
    with pipeline:
        pass
    first, second, third = records_of(run_dir)
    assert second["media"] == "dropped"
    assert files_of(run_dir) == sorted([first["path"], third["path"]])


def test_images_after_the_stop_are_counted(run_dir: Path, spool_dir: Path) -> None:
    """As any record; nothing is left behind in shared memory."""
    pipeline = Pipeline(run_dir, sinks=[JsonlFile()])
    with pipeline:
        pass
    pipeline.get_logger().log_image("late", numpy.zeros((20, 20)))
    assert pipeline.stats().dropped == {"stopped": 1}
    assert not list(spool_dir.rglob("*.snapshot"))


def test_a_record_that_is_dropped_takes_its_image_along(run_dir: Path, spool_dir: Path) -> None:
    """An image that nobody refers to is of no use."""

    def drop(logger: Any, name: str, event: Any) -> Any:
        raise structlog.DropEvent

    with Pipeline(run_dir, sinks=[JsonlFile()], processors=[drop]) as pipeline:
        pipeline.get_logger().log_image("x", numpy.zeros((20, 20)))
        assert not list(spool_dir.rglob("*.snapshot"))
    assert files_of(run_dir) == []
    early = Pipeline(run_dir, processors=[drop])
    early.get_logger().log_image("x", numpy.zeros((20, 20)))
    assert not early.loggers.media._early  # pyright: ignore[reportPrivateUsage]


# No room


def test_images_without_room_are_counted(run_dir: Path, monkeypatch: Any) -> None:
    """Their records say so, the report counts them, and a note tells."""
    monkeypatch.setattr(intake_media, "MAX_WAITING", 1000)
    with Pipeline(run_dir, sinks=[JsonlFile()]) as pipeline:
        log = pipeline.get_logger()
        for _ in range(3):
            log.log_image("large", numpy.zeros((100, 100)))
        log.log_image("small", numpy.zeros((5, 5)))
        report = pipeline.stop_sync()
    records = records_of(run_dir)
    large = [record for record in records if record.get("name") == "large"]
    assert [(record["media"], record["width"]) for record in large] == [("dropped", 100)] * 3
    assert not any("path" in record for record in large)
    assert len(files_of(run_dir)) == 1
    assert report.sinks["media"] == (1, {"full": 3})
    assert report.accepted == report.written == 4
    notes = [record for record in records if record.get("kind") == "note"]
    assert {note["where"] for note in notes} == {"media"}
    assert sum(note["dropped"]["full"] for note in notes) == 3


def test_what_waits_is_bounded(run_dir: Path, spool_dir: Path, monkeypatch: Any) -> None:
    """The bound is for all that waits together; it holds when nobody collects."""
    monkeypatch.setattr(intake_media, "MAX_WAITING", 10_000)
    spool = Spool(run_dir, spool_dir)
    media = MediaSpool(spool)
    picture = Picture("raw", 60, 50, 1, bytes(3000))
    kept = [media.put(f"media/images/{number}.png", picture) for number in range(10)]
    assert [path is not None for path in kept] == [True] * 3 + [False] * 7
    total = sum(path.stat().st_size for path in media.path.iterdir())
    assert total < 10_000 + 10 * 100


def test_a_full_shared_memory_costs_the_image_only(
    pipeline: Pipeline, written: Written, monkeypatch: Any
) -> None:
    """What cannot be written is dropped; the record is there, and nothing raises."""

    def full(*args: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(MediaSpool, "_write", full)
    pipeline.get_logger().log_image("x", numpy.zeros((5, 5)))
    [record] = written()
    assert record["media"] == "dropped"


def test_a_spool_that_was_removed_is_made_anew(run_dir: Path, spool_dir: Path) -> None:
    """Whoever cleans up shared memory takes no later image."""
    spool = Spool(run_dir, spool_dir)
    media = MediaSpool(spool)
    assert media.put("media/images/x.png", Picture("raw", 1, 1, 1, b"x")) is not None


# The run directory fails


def test_a_directory_that_cannot_be_written_is_tried_again(
    run_dir: Path, monkeypatch: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    """The image waits until it can."""
    monkeypatch.setattr(collector_media, "RETRY", 0.01)
    run_dir.mkdir()
    (run_dir / "media").write_text("in the way")
    with Pipeline(run_dir, sinks=[JsonlFile()]) as pipeline:
        pipeline.get_logger().log_image("x", numpy.zeros((5, 5)))
        deadline = time.monotonic() + 60
        while "media" not in pipeline.stats().sinks:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        assert pipeline.stats().sinks["media"].error is not None
        (run_dir / "media").unlink()
        assert pipeline.flush_sync()
        assert len(files_of(run_dir)) == 1
    assert "cannot write an image" in capfd.readouterr().err


def test_the_next_start_brings_what_was_left(run_dir: Path, spool_dir: Path) -> None:
    """An image that could not be written waits in the spool, for the next start."""
    run_dir.mkdir()
    (run_dir / "media").write_text("in the way")
    with Pipeline(run_dir, sinks=[JsonlFile()], stop_timeout="0.3 s") as pipeline:
        pipeline.get_logger().log_image("x", numpy.zeros((5, 5)))
    assert len(list(spool_dir.rglob("*.snapshot"))) == 1
    assert not list(spool_dir.rglob("*.ring"))
    (run_dir / "media").unlink()
    with Pipeline(run_dir, sinks=[JsonlFile()]) as pipeline:
        assert pipeline.flush_sync()
    [record] = records_of(run_dir)
    assert files_of(run_dir) == [record["path"]]
    assert not list(spool_dir.glob("asynclog-*/*"))


def test_recover_brings_what_was_left(run_dir: Path, spool_dir: Path) -> None:
    """``asynclog recover`` does it, too, and says so."""
    media = MediaSpool(Spool(run_dir, spool_dir))
    media.put("media/images/x.png", Picture("raw", 1, 1, 3, RED))
    result = CliRunner().invoke(main, ["recover", str(run_dir)])
    assert result.exit_code == 0
    assert "1 image brought back" in result.output
    assert files_of(run_dir) == ["media/images/x.png"]
    assert pixels((run_dir / "media/images/x.png").read_bytes()) == (1, 1, 2, RED)
    assert not list(spool_dir.glob("asynclog-*/*"))
    assert recover(run_dir).images == 0


def test_a_write_that_was_cut_is_done_again(run_dir: Path, spool_dir: Path) -> None:
    """Between the write and the removal of the snapshot: same name, same bytes, one file."""
    media = MediaSpool(Spool(run_dir, spool_dir))
    path = media.put("media/images/x.png", Picture("raw", 1, 1, 3, RED))
    assert path is not None
    kept = path.read_bytes()
    MediaFiles(media, run_dir).bring()
    first = (run_dir / "media/images/x.png").read_bytes()
    path.write_bytes(kept)
    (run_dir / "media/images/.x.png.123.new").write_bytes(first[:20])
    MediaFiles(media, run_dir).bring()
    assert files_of(run_dir) == ["media/images/x.png"]
    assert (run_dir / "media/images/x.png").read_bytes() == first


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no json\n",
        b"[]\n",
        b'{"path":"media/images/x.png","encoding":"raw"}\n',
        b'{"path":"media/images/x.png","encoding":"raw","width":5,"height":5,"channels":3}\nxx',
        b'{"path":"media/images/x.png","encoding":"raw","width":1,"height":1,"channels":7}\nxxxxxxx',
        b'{"path":"../x.png","encoding":"png","width":1,"height":1,"channels":0}\nx',
        b'{"path":"/tmp/x.png","encoding":"png","width":1,"height":1,"channels":0}\nx',
        b'{"path":3}\n',
    ],
    ids=lambda content: repr(content)[:60],
)
def test_what_is_no_snapshot_is_counted(run_dir: Path, spool_dir: Path, content: bytes) -> None:
    """It is removed and counted, and nothing is written anywhere."""
    spool = Spool(run_dir, spool_dir)
    spool.prepare()
    media = MediaSpool(spool)
    media.path.mkdir()
    (media.path / "1.snapshot").write_bytes(content)
    files = MediaFiles(media, run_dir)
    files.bring()
    assert (files.written, dict(files.dropped)) == (0, {"failed": 1})
    assert list(media.path.iterdir()) == []
    assert not run_dir.exists()


def test_half_made_snapshots_are_swept(run_dir: Path, spool_dir: Path) -> None:
    """Those of a dead maker are removed after a while; one that is being made stays."""
    spool = Spool(run_dir, spool_dir)
    spool.prepare()
    media = MediaSpool(spool)
    media.path.mkdir()
    for name in ("old.new", "fresh.new"):
        (media.path / name).write_bytes(b"{")
    os.utime(media.path / "old.new", (1, 1))
    MediaFiles(media, run_dir).bring()
    assert [path.name for path in media.path.iterdir()] == ["fresh.new"]
    assert spool.elect()
    spool.leave()
    assert not spool.path.exists()


# Kills

VICTIM = """
import sys
import numpy
from asynclog import JsonlFile, Pipeline

pipeline = Pipeline(sys.argv[1], sinks=[JsonlFile()], collector=sys.argv[2]).start_sync()
log = pipeline.get_logger()
print("up", flush=True)
for step in range(1_000_000):
    log.log_image("x", numpy.full((40, 30, 3), step % 256, "uint8"), step=step)
"""


@pytest.mark.slow
@pytest.mark.parametrize("collector", ["thread", "process"])
@pytest.mark.leaks("rings")
def test_kill_at_any_instant(tmp_path: Path, spool_dir: Path, collector: str) -> None:
    """Every image that a stored record refers to is there once, whole; nothing half-made stays."""
    for trial in range(4):
        run_dir = tmp_path / f"{collector}{trial}"
        victim = subprocess.Popen(
            [sys.executable, "-c", VICTIM, str(run_dir), collector],
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert victim.stdout is not None
        with victim.stdout:
            assert victim.stdout.readline() == b"up\n"
            time.sleep(random.uniform(0.02, 0.3))
            victim.send_signal(signal.SIGKILL)
            victim.wait()
        deadline = time.monotonic() + 60
        while (found := recover(run_dir)).collected_elsewhere:
            # the collector process outlives its parent until all is stored
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert not found.left_alone
        records = [record for record in records_of(run_dir) if "path" in record]
        paths = [record["path"] for record in records]
        assert records
        assert len(set(paths)) == len(paths)
        present = files_of(run_dir)
        assert set(paths) <= set(present)
        # one snapshot may have been taken when its record was not yet logged
        assert len(present) <= len(paths) + 1
        for record in records:
            width, height, _, samples = pixels((run_dir / record["path"]).read_bytes())
            assert (width, height) == (30, 40)
            assert samples == bytes([record["step"] % 256]) * 3600
        assert not list(spool_dir.rglob("*.snapshot"))
        assert not list(spool_dir.rglob("*.new"))


# For sinks


def test_a_sink_waits_for_the_file(tmp_path: Path) -> None:
    """It gets the path once the file is there."""
    record = {"path": "media/images/x.png"}
    path = tmp_path / "media/images/x.png"
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            path.parent.mkdir(parents=True)
            path.write_bytes(b"x")

    assert media_file(tmp_path, record, sleep=sleep) == path
    assert len(waits) == 3


def test_a_sink_does_not_wait_for_ever(tmp_path: Path) -> None:
    """Nor for what was dropped, or lies elsewhere."""
    assert media_file(tmp_path, {"path": "media/images/x.png"}, timeout=0.02) is None
    assert media_file(tmp_path, {"media": "dropped"}) is None
    assert media_file(tmp_path, {"path": "/etc/passwd"}) is None


def test_sinks_get_the_file_of_every_record(run_dir: Path) -> None:
    """A live sink in its own thread finds each image."""
    found: list[Path | None] = []

    class Finder:
        name = "finder"

        def write_blocking(self, batch: Any) -> None:
            found.extend(media_file(run_dir, record) for record in batch.events)

    with Pipeline(run_dir, sinks=[JsonlFile(), Finder(), RecordingSink()]) as pipeline:
        for number in range(5):
            pipeline.get_logger().log_image("x", numpy.zeros((30, 30)), step=number)
    assert len(found) == 5
    assert all(path is not None and path.is_file() for path in found)


def test_asynclog_log_image_at_exit(tmp_path: Path) -> None:
    """An image logged by a program that just ends is written on its way out."""
    code = """
import asynclog, numpy
asynclog.start_sync("run", sinks=[asynclog.JsonlFile()])
asynclog.log_image("x", numpy.zeros((3, 3)))
"""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == b""
    assert len(files_of(tmp_path / "run")) == 1
    assert asynclog.__version__
