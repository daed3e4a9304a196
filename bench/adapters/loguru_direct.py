"""loguru with ``serialize=True`` into a rotating file, written in the call."""

from __future__ import annotations

from bench.adapters.loguru_enqueue import LoguruEnqueue


class LoguruDirect(LoguruEnqueue):
    name = "loguru-direct"
    title = "loguru"
    about = "`logger.add(file, serialize=True, rotation='100 MB', retention=5)`"
    order = 29
    imports = ""
    enqueue = False
