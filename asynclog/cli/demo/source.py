"""What all sources of the demo are: a thread that works and logs until it is told to stop."""

from __future__ import annotations

import signal
import threading

from .tally import Journal, Switch, Tally


class Source:
    """A thread of the demo.

    Args:
        name: How the table calls it.
        journal: Where it logs.

    Attributes:
        failure: What ended it before its time, None when all is well.
        ready: Set when it works at full speed.
    """

    def __init__(self, name: str, journal: Journal) -> None:
        self.name = name
        self.journal = journal
        self.switch: Switch = journal.switch
        self.failure: BaseException | None = None
        self.ready: threading.Event = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"demo {name}", daemon=True)

    def work(self) -> None:
        """Work until the switch says stop; to be overridden."""
        raise NotImplementedError

    def _run(self) -> None:
        # Ctrl-C is for the main thread; children forked here inherit that they do not see it.
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
            self.work()
        except BaseException as error:
            self.failure = error
        finally:
            self.ready.set()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def join(self, timeout: float) -> bool:
        """Wait until the thread has ended; say whether it has."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def tallies(self) -> list[Tally]:
        """Return the tallies of the source's own calls."""
        return [self.journal.tally]


class Late:
    """How late an event loop is, without and with logging, once the switch says to measure."""

    def __init__(self, switch: Switch) -> None:
        self.switch = switch
        self.without: Tally = Tally()
        self.with_logging: Tally = Tally()

    def add(self, seconds: float) -> None:
        """Count one look at the loop."""
        if self.switch.measuring:
            tally = self.with_logging if self.switch.logging else self.without
            tally.add(int(seconds * 1e9))
