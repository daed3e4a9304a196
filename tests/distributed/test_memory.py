"""Ends for lack of memory: told by the kernel's counters."""

from __future__ import annotations

from pathlib import Path

from asynclog.distributed.memory import OutOfMemory


def test_each_kill_explains_one_end(tmp_path: Path) -> None:
    """What the kernel killed before does not count, and each of its kills explains one end."""
    counter = tmp_path / "memory.events"
    counter.write_text("low 0\noom 7\noom_kill 3\noom_group_kill 0\n")
    memory = OutOfMemory(counter)
    assert memory.explanation() == ""
    counter.write_text("oom_kill 5\n")
    said = [memory.explanation() for _ in range(3)]
    assert said[0] == said[1] == "out of memory: the kernel has killed a process of the job"
    assert said[2] == ""


def test_without_a_counter(tmp_path: Path) -> None:
    """Where the kernel does not count, or not in this way, nothing is claimed."""
    assert OutOfMemory(tmp_path / "missing").explanation() == ""
    (tmp_path / "vmstat").write_text("oom_kill many\n")
    assert OutOfMemory(tmp_path / "vmstat").explanation() == ""
