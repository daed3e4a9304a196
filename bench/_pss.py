"""The memory sampler's process: ``_pss.py PID INTERVAL``, commands on stdin, answers on stdout.

``once``: the PSS now; ``watch``: sample every INTERVAL seconds; ``peak``: what was the most.
"""

from __future__ import annotations

import importlib.util
import json
import os
import select
import sys
from pathlib import Path

_spec = importlib.util.spec_from_file_location("procfs", Path(__file__).with_name("procfs.py"))
assert _spec is not None
assert _spec.loader is not None
procfs = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(procfs)


def total(pid: int) -> int:
    me = frozenset({os.getpid()})
    return sum(procfs.pss_bytes(one) for one in [pid, *procfs.descendants(pid, me)])


def main() -> None:
    pid, interval = int(sys.argv[1]), float(sys.argv[2])
    watching = False
    peak = 0
    samples = 0
    while True:
        ready, _, _ = select.select([sys.stdin], [], [], interval if watching else None)
        if watching:
            peak = max(peak, total(pid))
            samples += 1
        if not ready:
            continue
        command = sys.stdin.readline().strip()
        if not command:
            return
        if command == "once":
            answer = {"bytes": total(pid)}
        elif command == "watch":
            watching = True
            peak = total(pid)
            answer = {"bytes": peak}
        else:
            watching = False
            answer = {"bytes": peak, "samples": samples}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
