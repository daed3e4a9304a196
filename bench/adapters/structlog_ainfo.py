"""structlog's asynchronous methods: each call goes through an executor and is awaited."""

from __future__ import annotations

from bench import workload
from bench.adapters._base import Call
from bench.adapters.structlog_direct import StructlogDirect


class StructlogAinfo(StructlogDirect):
    name = "structlog-ainfo"
    title = "structlog `ainfo`"
    about = "`await log.ainfo(...)`, one after the other in one task; the set-up of the reference"
    order = 12
    imports = ""
    peer = True
    awaited = True
    skips = {"throughput_4": "its calls belong to one event loop"}

    def call(self) -> Call:
        ainfo = self._log.ainfo

        async def call(number: int) -> None:
            await ainfo(
                workload.EVENT,
                status=workload.STATUS,
                path=workload.PATH,
                duration_ms=workload.DURATION_MS,
                seq=number,
            )

        return call

    def filtered_call(self) -> Call:
        adebug = self._log.adebug

        async def call(number: int) -> None:
            await adebug(
                workload.EVENT,
                status=workload.STATUS,
                path=workload.PATH,
                duration_ms=workload.DURATION_MS,
                seq=number,
            )

        return call
