"""Takes a run's stream from the server to the store, in order, through every interruption.

The server lists it as a durable consumer, whose place is what was stored. But it is the store that
says where to go on: after each interruption the consumer is made anew, behind the last message that
was stored. So it does not matter what was sent and not received, or stored and not acknowledged.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import Any, Final

from ..._complain import complain
from ...collector.worker import DaemonWorker
from ...exceptions import AsynclogError, SettingError
from ...sinks.backend import BackendError, import_backend, readable
from ...sinks.nats import Nats, presence
from ...sinks.nats import link as nats_link
from ...sinks.nats import stream as nats_stream
from ...sinks.nats.names import host_of, run_of, stream_name
from .store import Received, Store

RETRY_STEPS: Final = (0.1, 0.5, 1.0, 2.0, 5.0)
"""Seconds before the next try when the server, or the disk, does not work; the last one until it
does."""
MOST_PATIENT: Final = 3
"""Which of them is the last while the run has not begun: one look a second."""
MOST: Final = 128
"""Messages asked for at once: 16 MiB at most."""
WAIT: Final = 1.0
"""Seconds to wait for messages before looking whether all is well."""
FORGOTTEN: Final = 86_400.0
"""Seconds after which the server forgets a receiver that is gone."""
QUIET: Final = 3.0
"""Seconds in which nobody must have been there to publish, for a job to be over."""
_NEVER: Final = 86_400.0


class UnknownRunError(SettingError):
    """The server has no stream for a run."""

    def __init__(self, run: str, known: list[str]) -> None:
        rule = f"must be one that the server has ({', '.join(sorted(known)) or 'it has none'})"
        super().__init__("run", rule, run)


class Receiver:
    """Receives one run.

    Args:
        settings: Where the server is, and as whom.
        run: Name of the run.
        store: Where to.
        worker: The thread that writes.
        hand_on: Called on the event loop with lines that are new, once they are stored.
        once: End when all is stored that there is.
        expected: Whether somebody is about to publish the run: to wait is not worth a word then.

    Attributes:
        publishing: A machine that was not waited for any longer, empty without any.
    """

    def __init__(
        self,
        settings: Nats,
        run: str,
        store: Store,
        worker: DaemonWorker,
        hand_on: Callable[[bytes], None],
        *,
        once: bool = False,
        expected: bool = False,
    ) -> None:
        self._settings = settings
        self._run = run
        self._store = store
        self._worker = worker
        self._hand_on = hand_on
        self._once = once
        self._ending = asyncio.Event()
        self._told = expected
        # when nobody is waited for any more, once the job is known to be over here
        self._deadline: float | None = None
        self._quiet_since: float | None = None
        self.publishing: str = ""

    def complete(self, patience: float) -> None:
        """Let :meth:`run` return once nobody publishes any more, and all is stored that there is.

        Args:
            patience: Seconds to wait at most for those who publish; 0 takes what there is now.
        """
        self._deadline = _now() + patience

    def finish(self) -> None:
        """Let :meth:`run` return soon; what it has in hand is stored."""
        self._ending.set()

    async def run(self) -> None:
        """Receive until :meth:`finish`, or until all is there.

        Raises:
            MissingExtraError: The client is not installed.
            UnknownRunError: There is no such run, and it was not to be waited for.
            SettingError: A file that is needed to connect cannot be read.
            BackendError: It did not work, and it was to be tried once.
        """
        failures = 0
        while not self._ending.is_set():
            before = self._store.sequence
            try:
                if await self._receive():
                    return
            except SettingError:
                raise
            except Exception as error:
                problem = (
                    error if isinstance(error, AsynclogError) else BackendError(readable(error))
                )
                if self._once or self._is_late():
                    raise problem from None
                failures = 0 if self._store.sequence > before else failures + 1
                complain(f"{problem}; trying again", kind="receiver")
                await self._rest(failures)

    async def _receive(self) -> bool:
        """Receive through one connection; return whether that was all."""
        client = await nats_link.connect(self._settings, f"asynclog collect {self._store.receiver}")
        try:
            stream = client.jetstream(timeout=nats_link.CONNECT_TIMEOUT)
            info = await self._stream(client, stream)
            if info is None:
                return True
            self._store.begin(info.created.isoformat())
            subscription = await self._subscribe(stream)
            last = info.state.last_seq if self._once else None
            return await self._take_all(client, subscription, last)
        finally:
            await nats_link.close(client)

    async def _stream(self, client: Any, stream: Any) -> Any:
        """Wait for the run's stream; return what the server says of it, None at the end."""
        looks = 0
        while True:
            over = self._deadline is not None
            if (info := await nats_stream.info(stream, self._run)) is not None:
                return info
            if over:
                return None
            if self._once:
                names = [each.config.name for each in await stream.streams_info()]
                raise UnknownRunError(self._run, [run for name in names if (run := run_of(name))])
            if not self._told:
                self._told = True
                complain(f"nobody has published the run {self._run} yet: waiting")
            looks = min(looks + 1, MOST_PATIENT)
            await self._rest(looks)
            if self._ending.is_set():
                return None
            if not client.is_connected:
                raise BackendError("the connection to the server is lost")

    async def _subscribe(self, stream: Any) -> Any:
        """Make our consumer anew, behind the last message that was stored."""
        api = import_backend("nats.js.api", "nats", nats_link.FEATURE)
        errors = import_backend("nats.js.errors", "nats", nats_link.FEATURE)
        name, consumer = stream_name(self._run), f"asynclog-{self._store.receiver}"
        try:
            await stream.delete_consumer(name, consumer)
        except errors.NotFoundError:
            pass
        await stream.add_consumer(
            name,
            api.ConsumerConfig(
                durable_name=consumer,
                description=f"asynclog collect on {os.uname().nodename}",
                deliver_policy=api.DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=self._store.sequence + 1,
                ack_policy=api.AckPolicy.ALL,
                # nothing is sent twice behind our back: we make the consumer anew instead
                ack_wait=_NEVER,
                max_ack_pending=-1,
                inactive_threshold=FORGOTTEN,
            ),
        )
        return await stream.pull_subscribe_bind(durable=consumer, stream=name)

    async def _take_all(self, client: Any, subscription: Any, last: int | None) -> bool:
        """Take messages until the end, or until one is missing; return whether that was all.

        Args:
            client: The connection.
            subscription: Yields the messages.
            last: The last one to take, None while more may come.
        """
        expected = 1
        while not self._ending.is_set():
            if last is None and await self._is_over(client):
                info = await nats_stream.info(client.jetstream(), self._run)
                last = 0 if info is None else info.state.last_seq
            if last is not None and self._store.sequence >= last:
                return True
            try:
                messages = await subscription.fetch(MOST, timeout=WAIT)
            except TimeoutError:
                if not client.is_connected:
                    raise BackendError("the connection to the server is lost") from None
                if last is not None and (await subscription.consumer_info()).num_pending == 0:
                    return True
                continue
            received: list[Received] = []
            for message in messages:
                place = message.metadata.sequence
                if place.consumer != expected:
                    break
                expected += 1
                received.append(_received(message, place.stream))
            if received and await self._write(received):
                await messages[len(received) - 1].ack()
            if len(received) < len(messages):
                # one was lost on the way
                return False
        return True

    async def _is_over(self, client: Any) -> bool:
        """Say whether the job has ended, and nobody publishes or is waited for any more."""
        if self._deadline is None:
            return False
        late = self._is_late()
        found = await presence.who_publishes(client, self._run)
        if found and not self.publishing and not late:
            left = max(self._deadline - _now(), 0.0)
            complain(f"waiting for {found}, which still publishes, {left:.0f} s at most")
        self.publishing = found
        if found:
            self._quiet_since = None
        elif self._quiet_since is None:
            self._quiet_since = _now()
        return late or (self._quiet_since is not None and _now() >= self._quiet_since + QUIET)

    def _is_late(self) -> bool:
        return self._deadline is not None and _now() >= self._deadline

    async def _write(self, messages: list[Received]) -> bool:
        """Store messages; return whether they are stored, and not left to the next start."""
        failures = 0
        while True:
            try:
                content = await self._worker.run(self._store.take, messages)
            except OSError as error:
                if self._once:
                    raise
                failures += 1
                complain(f"cannot write what is received, will try again: {error}", kind="file")
                await self._rest(failures)
                if self._ending.is_set():
                    return False
            else:
                if content:
                    self._hand_on(content)
                return True

    async def _rest(self, failures: int) -> None:
        await self._pause(RETRY_STEPS[min(max(failures, 1), len(RETRY_STEPS)) - 1])

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._ending.wait()
        except TimeoutError:
            pass


def _now() -> float:
    return asyncio.get_running_loop().time()


def _received(message: Any, number: int) -> Received:
    headers: Mapping[str, str] = message.headers or {}
    message_id = headers.get("Nats-Msg-Id")
    return Received(number, host_of(message.subject), message_id, message.data)
