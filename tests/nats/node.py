"""One machine of a job: ranks that log until they are told to stop, and publish what they log.

Usage: ``node.py RUN_DIR URL FIRST_RANK RANKS STOP``; each rank leaves its count in ``RUN_DIR``.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import asynclog
from asynclog import JsonlFile, Nats

WORLD_SIZE = 12


def _rank(run_dir: Path, url: str, rank: int, stop: Path) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(WORLD_SIZE)}
    asynclog.start_sync(
        run_dir, sinks=[JsonlFile(), Nats(url, run="job")], stop_timeout="60 s", linger="20 ms"
    )
    log = asynclog.get_logger("rank")
    count = 0
    while not stop.exists():
        if count % 10:
            log.info("step", n=count)
        else:
            log.log_metrics({"loss": 1 / (count + 1)}, step=count)
        count += 1
        time.sleep(0.005)
    asynclog.stop_sync()
    unfinished = run_dir / f"{rank}.new"
    unfinished.write_text(str(count))
    unfinished.rename(run_dir / f"{rank}.count")


def main() -> int:
    """Run the ranks; return how many have failed."""
    directory, url, first, ranks, stop = sys.argv[1:]
    children: list[int] = []
    for rank in range(int(first), int(first) + int(ranks)):
        child = os.fork()
        if not child:
            status = 1
            try:
                _rank(Path(directory), url, rank, Path(stop))
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    return sum(os.waitpid(child, 0)[1] != 0 for child in children)


if __name__ == "__main__":
    sys.exit(main())
