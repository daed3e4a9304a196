"""A flush as its owner sees it: two words in the ring's header, and patience."""

from __future__ import annotations

from collections.abc import Iterator

from .._patience import pauses, wait
from .ring import FLUSH_DONE, FLUSH_WANTED, Ring


class FlushRequest:
    """Asks the collector, wherever it is, to see everything that is in a ring to the sinks.

    Args:
        ring: The ring of this process; it may be closed in the meantime.
        deadline: When to give up, on the monotonic clock.

    Attributes:
        done: Whether everything that was in the ring is with the sinks.
    """

    def __init__(self, ring: Ring, deadline: float) -> None:
        self.done: bool = False
        self._words = ring.words
        self._deadline = deadline
        self._position = ring.head
        words, position = self._words, self._position
        # fmt: off
        if words[FLUSH_WANTED] < position: words[FLUSH_WANTED] = position  # noqa: E701
        # fmt: on

    def pauses(self) -> Iterator[float]:
        """Yield seconds to sleep until it is done or too late."""
        return pauses(self._look, self._deadline)

    def wait(self) -> bool:
        """Block until it is done or too late; say whether it is done."""
        return wait(self._look, self._deadline)

    def _look(self) -> bool:
        try:
            self.done = self._words[FLUSH_DONE] >= self._position
        except ValueError:
            # The ring was closed: stop() has seen to everything.
            self.done = True
        return self.done
