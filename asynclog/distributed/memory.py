"""Whether the kernel has killed processes for lack of memory: only its counters say so.

The counter is that of our control group, which takes in the groups below it (``memory.events``,
cgroup v2), else that of the machine (``/proc/vmstat``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

CGROUPS: Final = Path("/sys/fs/cgroup")
OWN_CGROUP: Final = Path("/proc/self/cgroup")
MACHINE: Final = Path("/proc/vmstat")
_COUNTER: Final = "oom_kill"


class OutOfMemory:
    """Tells the ends of processes that were killed for lack of memory from others.

    Args:
        counter: File with a line ``oom_kill COUNT``; the best there is unless given.
    """

    def __init__(self, counter: Path | None = None) -> None:
        self._counter = counter or _counter()
        self._scope = "this machine" if self._counter == MACHINE else "the job"
        self._explained = self._count()

    def explanation(self) -> str:
        """Return what explains one more end by SIGKILL, empty when the counter has not moved.

        The kernel counts before it kills.
        """
        if self._count() <= self._explained:
            return ""
        self._explained += 1
        return f"out of memory: the kernel has killed a process of {self._scope}"

    def _count(self) -> int:
        try:
            for line in self._counter.read_text().splitlines():
                name, _, count = line.partition(" ")
                if name == _COUNTER:
                    return int(count)
        except (OSError, ValueError):
            pass
        return 0


def _counter() -> Path:
    try:
        for line in OWN_CGROUP.read_text().splitlines():
            # cgroups(7): the one hierarchy of version 2 has the number 0 and no controllers
            if line.startswith("0::/"):
                path = CGROUPS / line[4:] / "memory.events"
                if path.is_file():
                    return path
    except OSError:
        pass
    return MACHINE
