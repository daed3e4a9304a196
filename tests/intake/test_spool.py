"""The spool directory: who may use it, one collector at a time, and what is done without room."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from asynclog.exceptions import SpoolError
from asynclog.intake.ring import Origin
from asynclog.intake.spool import FALLBACK_RING_SIZE, Spool

HERE = Origin("here", 1)


@pytest.fixture
def spool(tmp_path: Path, spool_dir: Path) -> Spool:
    """Return the spool of a run."""
    return Spool(tmp_path / "run", spool_dir)


def test_directories_are_closed_to_others(spool: Spool) -> None:
    """Whatever the umask, nobody else can look into the spool."""
    before = os.umask(0)
    try:
        spool.prepare()
    finally:
        os.umask(before)
    assert spool.path.stat().st_mode & 0o777 == 0o700
    assert spool.root.stat().st_mode & 0o777 == 0o700


def test_a_spool_that_others_may_write_is_refused(spool: Spool) -> None:
    """A directory that is open to the group is refused, with what to do about it."""
    spool.prepare()
    spool.path.chmod(0o770)
    with pytest.raises(SpoolError, match="chmod 700"):
        spool.prepare()
    with pytest.raises(SpoolError):
        spool.create_ring(1 << 16, HERE, 0)
    spool.path.chmod(0o700)


def test_a_link_in_its_place_is_refused(spool: Spool, tmp_path: Path) -> None:
    """A symbolic link is never followed."""
    spool.root.mkdir(mode=0o700)
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    spool.path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SpoolError, match="not a link"):
        spool.prepare()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_another_users_spool_is_refused(spool: Spool) -> None:
    """A directory that somebody else owns is refused."""
    spool.prepare()
    os.chown(spool.path, 12345, 12345)
    with pytest.raises(SpoolError, match="12345"):
        spool.prepare()
    os.chown(spool.path, 0, 0)


def test_one_collector_at_a_time(spool: Spool) -> None:
    """The lock has one holder; the last one removes the directory, and the next one starts anew."""
    spool.prepare()
    other = Spool(spool.run_dir, spool.root.parent)
    assert spool.elect()
    assert not other.elect()
    spool.leave()
    assert not spool.path.exists()
    assert other.elect()
    assert not spool.elect()
    other.leave()


def test_a_spool_with_rings_stays(spool: Spool) -> None:
    """A collector that leaves while others still log leaves the directory to them."""
    spool.prepare()
    ring = spool.create_ring(1 << 16, HERE, 0)
    assert spool.elect()
    spool.leave()
    assert spool.rings() == [ring.path]
    assert ring.path is not None
    ring.path.unlink()
    ring.close()


def test_a_directory_that_has_just_gone_is_made_again(spool: Spool) -> None:
    """A ring is made even when the last collector removes the directory at that moment."""
    ring = spool.create_ring(1 << 16, HERE, 0)
    assert ring.path is not None
    assert ring.path.exists()
    ring.path.unlink()
    ring.close()


def test_without_room_a_smaller_ring_and_then_private_memory(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """No room in shared memory is said once and costs survival, not the records."""
    room = FALLBACK_RING_SIZE * 2

    def allocate(descriptor: int, _offset: int, length: int) -> None:
        if length > room:
            raise OSError(28, "No space left on device")
        os.ftruncate(descriptor, length)

    monkeypatch.setattr(os, "posix_fallocate", allocate)
    ring = spool.create_ring(4 << 20, HERE, 0)
    assert ring.size == FALLBACK_RING_SIZE
    assert ring.path is not None
    room = 0
    private = spool.create_ring(1 << 20, HERE, 0)
    assert private.path is None
    said = capfd.readouterr().err
    assert "no room for a ring" in said
    assert "do not survive" in said
    ring.path.unlink()
    ring.close()
    private.close()


def test_half_made_rings_are_swept(spool: Spool) -> None:
    """What a process that died while making a ring left behind is removed."""
    spool.prepare()
    (spool.path / "1-2-3.new").touch()
    spool.sweep()
    assert list(spool.path.iterdir()) == []


def test_settings_are_plain_data(spool: Spool) -> None:
    """What a recovery needs is stored as JSON, for the owner alone; garbage reads as nothing."""
    spool.prepare()
    assert spool.read_settings() is None
    spool.write_settings({"sinks": [1, 2]})
    assert spool.read_settings() == {"sinks": [1, 2]}
    assert (spool.path / "settings.json").stat().st_mode & 0o777 == 0o600
    (spool.path / "settings.json").write_text("{")
    assert spool.read_settings() is None
    assert spool.elect()
    spool.leave()
    assert not spool.path.exists()
