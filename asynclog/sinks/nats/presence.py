"""Who publishes a run: each sink answers a question for as long as it is connected.

So nobody has to be told how many machines a job has, and one that was killed is not waited for.
"""

from __future__ import annotations

from typing import Any, Final

from ..backend import import_backend
from .link import FEATURE
from .names import presence_subject

ANSWER_TIMEOUT: Final = 1.0
"""Seconds that a machine may take to answer."""
SOMEBODY: Final = "a machine"
"""What is called a machine that has not answered in time."""


async def answer(client: Any, run: str, host: str) -> None:
    """Answer from now on, until the client is closed.

    Args:
        client: A ``nats.aio.client.Client``.
        run: The run that it publishes.
        host: The answer.
    """

    async def respond(message: Any) -> None:
        await message.respond(host.encode(errors="surrogateescape"))

    await client.subscribe(presence_subject(run), cb=respond)


async def who_publishes(client: Any, run: str) -> str:
    """Return the machine that answers first, empty when nobody publishes the run.

    Raises:
        Exception: The server cannot be asked.
    """
    errors = import_backend("nats.errors", "nats", FEATURE)
    try:
        message = await client.request(presence_subject(run), timeout=ANSWER_TIMEOUT)
    except errors.NoRespondersError:
        return ""
    except TimeoutError:
        return SOMEBODY
    return message.data.decode(errors="replace") or SOMEBODY
