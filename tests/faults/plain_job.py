"""A launcher of ranks, as simple as can be: ``python plain_job.py RANKS PROGRAM ARGUMENTS...``."""

from __future__ import annotations

import os
import subprocess
import sys


def main() -> None:
    """Start the ranks; end with the worst of their statuses."""
    count = int(sys.argv[1])
    ranks = [
        subprocess.Popen(
            [sys.executable, *sys.argv[2:]],
            env={
                **os.environ,
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(count),
            },
        )
        for rank in range(count)
    ]
    sys.exit(max(abs(rank.wait()) for rank in ranks))


if __name__ == "__main__":
    main()
