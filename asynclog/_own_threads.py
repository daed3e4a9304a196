"""Which threads are the collector's own: what is logged in them must not come back to them.

A sink that uploads records logs while it does so, or its vendor's library does; as records, these
would be uploaded next, and so on for ever.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from contextvars import ContextVar


class _Mark(threading.local):
    own = False


_thread = _Mark()
# Goes along into the worker threads that anyio and asyncio lend to what runs in a thread of ours.
_context: ContextVar[bool] = ContextVar("asynclog_own_thread", default=False)
_collecting_garbage = 0


def mark() -> None:
    """Make the current thread one of the collector's, until it ends."""
    _thread.own = True
    _context.set(True)


def is_own() -> bool:
    """Tell whether what the current thread does now is the collector's work.

    Finalisers that the garbage collector calls are not, once :func:`watch_garbage_collection` was
    called: they belong to the program and run in whichever thread happens to be running.
    """
    return (_thread.own or _context.get()) and _collecting_garbage != threading.get_ident()


def watch_garbage_collection() -> None:
    """Tell finalisers from the work of the thread that they interrupt, from now on."""
    if _note not in gc.callbacks:
        gc.callbacks.append(_note)


# The default argument is there even when the interpreter clears the modules at its end.
def _note(
    phase: str, _info: dict[str, int], get_ident: Callable[[], int] = threading.get_ident
) -> None:
    global _collecting_garbage
    _collecting_garbage = get_ident() if phase == "start" else 0
