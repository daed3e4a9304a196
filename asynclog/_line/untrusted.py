"""What can be said of a value without trusting its class: names, and how its code failed."""

from __future__ import annotations

from collections.abc import Callable
from types import CodeType
from typing import Any, Final

from .plain import MAX_KEY, without_surrogates

# The getters of `type` itself: a metaclass can replace the attributes, not these.
_NAME: Final[Callable[[Any], str]] = type.__dict__["__name__"].__get__
_QUALNAME: Final[Callable[[Any], str]] = type.__dict__["__qualname__"].__get__
_MODULE: Final[Callable[[Any], Any]] = type.__dict__["__module__"].__get__


def name_of(kind: type[Any]) -> str:
    """Return a class's short name, fit to be written."""
    return without_surrogates(_NAME(kind)[:MAX_KEY])


def module_of(kind: type[Any]) -> str:
    """Return the name of a class's module, empty where it is no text."""
    try:
        module = _MODULE(kind)
    except AttributeError:
        return ""
    return module if type(module) is str else ""


def qualified_name(value: Any) -> str:
    """Return ``module.name`` of a class or function; what is built in goes without a module."""
    if issubclass(type(value), type):
        module, name = module_of(value), _QUALNAME(value)
    else:
        module, name = value.__module__, value.__qualname__
    return name if module in ("builtins", "", None) else f"{module}.{name}"


def failure(kind: type[Any], error: BaseException) -> str:
    """Return the text that stands for a value whose own code raised.

    What was not raised by the value but came over it from outside, a Ctrl-C or a signal handler
    that exits, is raised again: it is meant for the program, and the log call is not done yet.
    """
    if not issubclass(type(error), Exception) and came_from_outside(error):
        raise error
    return f"<unprintable {name_of(kind)}: {name_of(type(error))}>"


def came_from_outside(error: BaseException) -> bool:
    """Tell whether an exception was thrown in by a signal rather than raised by the code under it.

    Python's own SIGINT handler is no Python code: its KeyboardInterrupt appears at an instruction
    that raises nothing. Any other handler is recognised by its code among the frames.
    """
    import signal
    from opcode import opmap

    handlers = {_code_of(signal.getsignal(number)) for number in signal.valid_signals()}
    traceback = error.__traceback__
    code: CodeType | None = None
    instruction = 0
    while traceback is not None:
        code, instruction = traceback.tb_frame.f_code, traceback.tb_lasti
        if code in handlers:
            return True
        traceback = traceback.tb_next
    if code is None or not issubclass(type(error), KeyboardInterrupt):
        return False
    return code.co_code[instruction] not in (opmap["RAISE_VARARGS"], opmap["RERAISE"])


def _code_of(handler: Any) -> CodeType | None:
    code = getattr(getattr(handler, "__func__", handler), "__code__", None)
    return code if isinstance(code, CodeType) else None
