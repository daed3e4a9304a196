"""What others may have done to a run's spool and files: refused or set aside, never followed."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import asynclog
from asynclog._invitation import VARIABLE, Invitation
from asynclog.collector.recovery import recover
from asynclog.collector.replay import SETTINGS, replay
from asynclog.collector.trail import CURSORS
from asynclog.exceptions import SettingError, SpoolError
from asynclog.intake.overflow import Overflow
from asynclog.intake.producer import make_producer
from asynclog.intake.ring import HEAD, HEADER_BYTES, MAX_RING_SIZE, Origin, Ring, RingFormatError
from asynclog.intake.spool import MEDIA, Spool

SIZE = 1 << 16
METRIC = (
    '{"timestamp":"2026-01-01T00:00:00.000000Z","kind":"metrics","level":"info","event":"metrics",'
    '"step":1,"split":"train","metrics":{"loss":0.5}}\n'
)


@pytest.fixture
def spool(run_dir: Path, spool_dir: Path) -> Spool:
    """Return a spool that is there, with a run directory."""
    run_dir.mkdir()
    spool = Spool(run_dir, spool_dir)
    spool.prepare()
    return spool


def _open_to_the_group(directory: Path, elsewhere: Path) -> None:
    directory.chmod(0o770)


def _linked(directory: Path, elsewhere: Path) -> None:
    shutil.rmtree(directory)
    elsewhere.mkdir(mode=0o700)
    directory.symlink_to(elsewhere)


def _somebody_elses(directory: Path, elsewhere: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory away")
    os.chown(directory, 12345, 12345)


@pytest.mark.parametrize("which", ["root", "path"])
@pytest.mark.parametrize(
    ("harm", "problem"),
    [
        (_open_to_the_group, "chmod 700"),
        (_linked, "not a link"),
        (_somebody_elses, "not to 12345"),
    ],
)
def test_unsafe_directories(
    spool: Spool,
    tmp_path: Path,
    harm: Callable[[Path, Path], None],
    problem: str,
    which: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A start and a recovery refuse them; a process that was invited logs on by itself."""
    harm(getattr(spool, which), tmp_path / "elsewhere")
    with pytest.raises(SpoolError, match=problem):
        asynclog.start_sync(spool.run_dir, sinks=[asynclog.JsonlFile()])
    with pytest.raises(SpoolError, match=problem):
        recover(spool.run_dir)
    code = "import asynclog; asynclog.get_logger('guest').info('hello'); print('goes on')"
    done = _invited(code, run_dir=str(spool.run_dir), spool_dir=str(spool.root.parent))
    assert (done.returncode, done.stdout) == (0, "goes on\n")
    assert problem in done.stderr
    assert "hello" in done.stderr.splitlines()[-1]
    assert not any((tmp_path / "elsewhere").rglob("*.ring"))


def _invited(code: str, **changes: Any) -> subprocess.CompletedProcess[str]:
    invitation = json.dumps(_INVITATION | changes)
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, VARIABLE: invitation},
        capture_output=True,
        text=True,
        check=False,
    )


_INVITATION: dict[str, Any] = {
    "run_dir": "/tmp/run",
    "spool_dir": None,
    "level": 20,
    "levels": {},
    "ring_size": SIZE,
    "max_event_bytes": 8192,
    "exception_text": False,
    "launcher": False,
}


@pytest.mark.parametrize(
    "changes",
    [
        {"run_dir": "relative"},
        {"run_dir": "/with\0"},
        {"spool_dir": 5},
        {"spool_dir": "relative"},
        {"level": -1},
        {"level": True},
        {"levels": None},
        {"levels": {"a": "loud"}},
        {"ring_size": 0},
        {"ring_size": -4096},
        {"ring_size": SIZE + 1},
        {"max_event_bytes": 0},
        {"exception_text": "yes"},
        {"launcher": 1},
        {"more": 1},
    ],
)
def test_invitations_that_make_no_sense(
    changes: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    """An environment that was tampered with, or is of another version, is not used."""
    assert Invitation.found({VARIABLE: json.dumps(_INVITATION)}) is not None
    assert Invitation.found({VARIABLE: json.dumps(_INVITATION | changes)}) is None


def test_a_program_with_a_broken_invitation(tmp_path: Path) -> None:
    """It says so once, and logs as if nobody had invited it."""
    code = "import asynclog; asynclog.get_logger('guest').info('hello'); print('goes on')"
    done = _invited(code, ring_size=-1)
    assert (done.returncode, done.stdout) == (0, "goes on\n")
    assert done.stderr.count(f"{VARIABLE} is no invitation") == 1
    assert "hello" in done.stderr


@pytest.mark.parametrize("name", ["lock", "settings.json", "collector.json", "1.ring", "1.new"])
def test_links_in_the_spool(spool: Spool, tmp_path: Path, name: str) -> None:
    """A link in the place of any of its files is refused or replaced, never written through."""
    target = tmp_path / "precious"
    target.write_text("precious")
    (spool.path / name).symlink_to(target)
    if name == "lock":
        with pytest.raises(SpoolError, match=r"lock must be a file.*Remove it"):
            recover(spool.run_dir)
    else:
        with asynclog.running(spool.run_dir, sinks=[asynclog.JsonlFile()]):
            asynclog.get_logger("app").info("hello")
        assert "hello" in (spool.run_dir / "events.jsonl").read_text()
    assert target.read_text() == "precious"
    (spool.path / name).unlink(missing_ok=True)


def test_files_of_the_spool_are_the_owners(spool: Spool) -> None:
    """Whatever the umask, its files are for their owner alone."""
    before = os.umask(0)
    try:
        with asynclog.running(spool.run_dir, sinks=[asynclog.JsonlFile()]):
            asynclog.get_logger("app").info("hello")
            assert asynclog.flush_sync()
            modes = {path.name: path.stat().st_mode & 0o777 for path in spool.path.iterdir()}
    finally:
        os.umask(before)
    assert {"lock", "settings.json"} < set(modes)
    assert set(modes.values()) == {0o600}


def _image(spool: Spool) -> tuple[Path, bytes]:
    """Return a ring in its third lap, partly stored, as its process would have left it."""
    producer = make_producer(Overflow(wait=False))
    ring = spool.create_ring(SIZE, Origin("here", 1, 2, 0), producer.next_base)
    producer.attach(ring)
    number = 0
    for lap in range(3):
        for _ in range(400):
            line = b'{"timestamp":"","level":"info","event":"x","n":%d}\n' % number
            assert producer.put(line, 20)
            number += 1
        if lap < 2:
            ring.tail = ring.line_end(ring.tail, ring.head - 3000)
            ring.stored = number
    producer.detach()
    path = ring.path
    assert path is not None
    ring.close()
    content = path.read_bytes()
    path.unlink()
    return path, content


def _damaged(content: bytes, randomness: random.Random) -> bytes:
    image = bytearray(content)
    harm = randomness.choice(["header", "data", "truncated", "zeros", "word", "lap"])
    if harm == "header":
        for _ in range(randomness.randint(1, 3)):
            image[randomness.randrange(512)] ^= 1 << randomness.randrange(8)
    elif harm == "data":
        for _ in range(randomness.randint(1, 20)):
            image[randomness.randrange(HEADER_BYTES, len(image))] ^= 1 << randomness.randrange(8)
    elif harm == "truncated":
        del image[randomness.randrange(len(image)) :]
    elif harm == "zeros":
        start = randomness.randrange(len(image))
        stop = min(len(image), start + randomness.randint(1, 8192))
        image[start:stop] = bytes(stop - start)
    elif harm == "word":
        at = 8 * randomness.randrange(64)
        value = randomness.choice([randomness.randrange(1 << 64), 1 << 63, (1 << 64) - 1, 0])
        image[at : at + 8] = value.to_bytes(8, "little")
    else:
        head = int.from_bytes(image[8 * HEAD : 8 * HEAD + 8], "little")
        head += randomness.choice([-SIZE, SIZE, -100, 100, 5000])
        image[8 * HEAD : 8 * HEAD + 8] = head.to_bytes(8, "little")
    return bytes(image)


@pytest.mark.leaks("rings")
@pytest.mark.parametrize("images", [200, pytest.param(20_000, marks=pytest.mark.faults)])
def test_damaged_rings(spool: Spool, images: int, capfd: pytest.CaptureFixture[str]) -> None:
    """Bits, zeros, an old lap, a part: what comes out is JSON, the rest is set aside or left."""
    path, content = _image(spool)
    randomness = random.Random(images)
    said = 0
    for _ in range(images):
        spool.prepare()
        path.write_bytes(_damaged(content, randomness))
        found = recover(spool.run_dir)
        assert found.rings + found.left_alone == 1
        said += found.left_alone
        path.unlink(missing_ok=True)
        for file in spool.run_dir.glob("events*"):
            lines = file.read_bytes().splitlines()
            assert len(lines) < 3 * 400
            assert all(isinstance(json.loads(line), dict) for line in lines)
            file.unlink()
        if found.quarantined:
            (spool.run_dir / "quarantine.log").unlink()
    assert said > 0
    complaints = capfd.readouterr().err
    assert complaints.count("is no usable ring") == said


def test_a_ring_too_large_to_be_one(spool: Spool) -> None:
    """A file that claims terabytes is refused before anything is read from it."""
    path, content = _image(spool)
    with path.open("wb") as file:
        file.write(content[:HEADER_BYTES])
        file.seek(16)
        file.write((4 * MAX_RING_SIZE).to_bytes(8, "little"))
        file.truncate(HEADER_BYTES + 4 * MAX_RING_SIZE)
    with pytest.raises(RingFormatError, match="size"):
        Ring.open(path)
    path.unlink()


def _header(**changes: object) -> bytes:
    header = {
        "path": "media/images/x.png",
        "encoding": "raw",
        "width": 2,
        "height": 2,
        "channels": 1,
    }
    return json.dumps(header | changes).encode() + b"\n"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\xff",
        b"[1]\n",
        _header(path="../../x"),
        _header(path="media/../../x"),
        _header(path="/etc/x"),
        _header(path=5),
        _header(path="media/" + "x" * 5000, encoding="png"),
        _header(path="media/images", encoding="png"),
        _header(width="a"),
        _header(width=2.0),
        _header(width=-2),
        _header(width=1 << 40),
        _header(channels=9),
    ],
)
def test_snapshots_that_make_no_sense(
    spool: Spool,
    content: bytes,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They are said and removed; the next one arrives, and nothing leaves the run directory."""
    monkeypatch.setattr("asynclog._complain._last", {})
    (spool.run_dir / "media" / "images").mkdir(parents=True)
    media = spool.path / MEDIA
    media.mkdir(mode=0o700)
    (media / "1.snapshot").write_bytes(content + b"abcd")
    (media / "2.snapshot").write_bytes(_header(path="media/good.png") + b"abcd")
    assert recover(spool.run_dir).images == 1
    assert "an image was lost" in capfd.readouterr().err
    found = {path.name for path in spool.run_dir.rglob("*") if path.is_file()}
    assert found == {"good.png"}
    assert not media.exists()


@pytest.mark.parametrize("whole", [False, True], ids=["file", "directory"])
def test_linked_snapshots(spool: Spool, tmp_path: Path, whole: bool) -> None:
    """Neither a snapshot that is a link nor a directory that is one is followed."""
    media, elsewhere = spool.path / MEDIA, tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "1.snapshot").write_bytes(_header() + b"abcd")
    if whole:
        media.symlink_to(elsewhere)
    else:
        media.mkdir(mode=0o700)
        (media / "1.snapshot").symlink_to(elsewhere / "1.snapshot")
        os.mkfifo(media / "2.snapshot")
    assert recover(spool.run_dir).images == 0
    assert (elsewhere / "1.snapshot").exists()
    if whole:
        media.unlink()


@pytest.mark.parametrize(
    "cursor",
    [
        "{",
        "[]",
        '{"version":1}',
        '{"version":2,"places":{},"state":null}',
        '{"version":1,"places":{"a":3},"state":null}',
        '{"version":1,"places":{"events.jsonl":[5,"x"]},"state":null}',
        '{"version":1,"places":{},"state":5}',
        '{"version":1,"places":{"../secret.jsonl":["",0]},"state":null}',
        '{"version":1,"places":{"/etc/secret.jsonl":["",0]},"state":null}',
    ],
)
def test_cursors_that_make_no_sense(
    run_dir: Path, cursor: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """They are said and not used; a backend gets nothing from outside the run directory."""
    (run_dir / CURSORS).mkdir(parents=True)
    (run_dir / CURSORS / "metrics_csv.json").write_text(cursor)
    (run_dir.parent / "secret.jsonl").write_text(METRIC)
    with asynclog.running(run_dir, sinks=[asynclog.JsonlFile(), asynclog.MetricsCsv()]):
        asynclog.log_metrics({"loss": 0.25}, step=2)
    assert "metrics_csv.json cannot be read and is not used" in capfd.readouterr().err
    assert ",0.25," in (run_dir / "metrics.csv").read_text()
    assert ",0.5," not in (run_dir / "metrics.csv").read_text()


@pytest.mark.parametrize(
    "settings",
    [
        "{",
        "[]",
        '{"version":1}',
        '{"version":2,"started":"2026-01-01T00:00:00","durable":{"kind":"jsonl"},"sinks":{}}',
        '{"version":1,"started":"x","durable":{"kind":"jsonl"},"sinks":{}}',
        '{"version":1,"started":"2026-01-01T00:00:00","durable":{"kind":"console"},"sinks":{}}',
        '{"version":1,"started":"2026-01-01T00:00:00","durable":{"kind":"jsonl","path":"../x"},'
        '"sinks":{}}',
        '{"version":1,"started":"2026-01-01T00:00:00","durable":{"kind":"jsonl"},"sinks":[]}',
        '{"version":1,"started":5,"durable":5,"sinks":{}}',
    ],
)
def test_run_settings_that_make_no_sense(run_dir: Path, settings: str) -> None:
    """A replay names the file that it cannot read."""
    (run_dir / SETTINGS).parent.mkdir(parents=True)
    (run_dir / SETTINGS).write_text(settings)
    with pytest.raises(SettingError, match=r"run\.json cannot be read"):
        replay(run_dir, "metrics_csv")
