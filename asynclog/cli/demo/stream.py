"""The demo's trio program: two tasks with a channel between them, in a thread of its own."""

from __future__ import annotations

import time
from itertools import count
from typing import Any

from .needs import need
from .source import Late, Source
from .tally import Journal

PAUSE = 0.005
"""Seconds between two images: 200 images/s."""
SUMMARY_EVERY = 100


class Stream(Source):
    """One task sends images at a steady rate, the other keeps their statistics.

    Args:
        images: One row of numbers for each image.
        journal: Where steps are logged.
    """

    def __init__(self, images: Any, journal: Journal) -> None:
        super().__init__("trio task", journal)
        self.lateness: Late = Late(journal.switch)
        self._images = images
        self._trio = need("trio")

    def work(self) -> None:
        """Stream until the switch says stop."""
        self._trio.run(self._main)

    async def _main(self) -> None:
        sending, receiving = self._trio.open_memory_channel(10)
        async with self._trio.open_nursery() as nursery:
            nursery.start_soon(self._send, sending, self.journal.bind(task="sender"))
            nursery.start_soon(self._receive, receiving, self.journal.bind(task="statistics"))

    async def _send(self, channel: Any, log: Journal) -> None:
        with channel:
            for step in count():
                if self.switch.stopping:
                    return
                due = time.perf_counter() + PAUSE
                await self._trio.sleep(PAUSE)
                late = time.perf_counter() - due
                self.lateness.add(late)
                at = step % len(self._images)
                log.debug("image sent", step=step, index=at, late_ms=round(late * 1e3, 3))
                await channel.send(self._images[at])

    async def _receive(self, channel: Any, log: Journal) -> None:
        ink = 0.0
        images = 0
        async for image in channel:
            ink += float(image.sum())
            images += 1
            log.debug("image counted", images=images, brightest=float(image.max()))
            if images % SUMMARY_EVERY == 0:
                await log.adebug("stream summary", images=images, mean_ink=ink / images)
