"""No logging: what the machine and the interpreter do by themselves."""

from __future__ import annotations

from bench.adapters._base import Adapter, Call


class NoLogging(Adapter):
    name = "none"
    title = "no logging"
    about = "the call is an empty function"
    order = 0
    imports = "pass"
    logs = False
    peer = False
    scenarios = frozenset({"paced", "cpu_beside", "loop", "loop_slow", "import"})

    def call(self) -> Call:
        def nothing(number: int) -> None:
            pass

        return nothing


class Dependencies(Adapter):
    name = "dependencies"
    title = "asynclog's dependencies"
    about = "what asynclog imports anyway"
    order = 5
    distributions = ("structlog", "anyio", "orjson")
    modules = ("structlog", "anyio", "orjson")
    imports = "import structlog, anyio, orjson"
    logs = False
    peer = False
    scenarios = frozenset({"import"})
