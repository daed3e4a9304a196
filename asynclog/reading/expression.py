"""Small expressions over the fields of an event: ``status >= 500 and "/api" in path``.

Python's syntax, and nothing else of Python: the text is parsed, each part must be one of those
below, and becomes a function. Nothing is called, no attribute of an object is looked up.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn, TypeAlias, cast

from ..exceptions import SettingError

Test: TypeAlias = Callable[[Mapping[str, Any]], Any]
"""Takes an event and returns a value; of a whole expression its truth counts."""

MAX_LENGTH: Final = 2000
"""Characters of an expression."""
WHOLE: Final = "this"
"""Name of the event itself, for fields whose names are no names in Python: ``this["user-id"]``."""

_COMPARE: Final[Mapping[type[ast.cmpop], Callable[[Any, Any], bool]]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda item, container: item in container,
    ast.NotIn: lambda item, container: item not in container,
    ast.Is: lambda left, right: left is right,
    ast.IsNot: lambda left, right: left is not right,
}
_ARITHMETIC: Final[dict[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: lambda left, right: left / right,
    ast.Mod: operator.mod,
}
_CONSTANTS: Final = (str, int, float, bool, type(None))


class ExpressionError(SettingError):
    """An expression is none of those that are understood.

    Args:
        text: The expression.
        problem: What is wrong with it.
    """

    def __init__(self, text: str, problem: str) -> None:
        super().__init__(
            "where",
            f"must be an expression over fields ({problem})",
            text,
            'Write e.g. status >= 500 and "/api" in path',
        )


def compile_expression(text: str) -> Test:
    """Return an expression as a function of an event.

    Understood are fields (``status``), members of nested ones (``http.status``,
    ``metrics["val/loss"]``, ``items[0]``), texts, numbers, ``True``, ``False``, ``None``, lists of
    these, ``and``, ``or``, ``not``, ``==``, ``!=``, ``<``, ``<=``, ``>``, ``>=``, ``in``,
    ``not in``, ``is``, ``+``, ``-``, ``*``, ``/``, ``%`` and parentheses. A field that is missing
    is ``None``. What cannot be compared is false, what cannot be calculated is ``None``.

    Args:
        text: At most 2,000 characters.

    Raises:
        ExpressionError: It holds anything else.
    """
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"{text[:40]}...", f"it has more than {MAX_LENGTH} characters")
    try:
        return _Compiler(text).compile(ast.parse(text.strip(), mode="eval").body)
    except SyntaxError as error:
        at = f" at character {error.offset}" if error.offset else ""
        raise ExpressionError(text, f"{error.msg}{at}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        if isinstance(error, ExpressionError):
            raise
        raise ExpressionError(text, "it nests too deep, or is no text") from None


class _Compiler:
    """Makes functions of the parts of an expression."""

    def __init__(self, text: str) -> None:
        self._text = text

    def compile(self, node: ast.expr) -> Test:
        match node:
            case ast.Constant(value=value) if isinstance(value, _CONSTANTS):
                return lambda _event: value
            case ast.Name(id=name):
                if name == WHOLE:
                    return lambda event: event
                return lambda event: event.get(name)
            case ast.Attribute(value=inner, attr=name):
                return self._attribute(self.compile(inner), name, _dotted(node))
            case ast.Subscript(value=inner, slice=ast.Constant(value=key)) if isinstance(
                key, (str, int)
            ):
                return _member(self.compile(inner), key)
            case ast.List() | ast.Tuple() | ast.Set():
                items = [self.compile(item) for item in node.elts]
                return lambda event: [item(event) for item in items]
            case ast.BoolOp(op=op, values=values):
                return _together(isinstance(op, ast.And), [self.compile(each) for each in values])
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                inside = self.compile(operand)
                return lambda event: not inside(event)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return _arithmetic(operator.sub, lambda _event: 0, self.compile(operand))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                return _arithmetic(_ARITHMETIC[type(op)], self.compile(left), self.compile(right))
            case ast.Compare(left=left, ops=ops, comparators=others):
                if unknown := [op for op in ops if type(op) not in _COMPARE]:
                    self._refuse(unknown[0])
                values = [self.compile(each) for each in (left, *others)]
                return _chain([_COMPARE[type(op)] for op in ops], values)
            case _:
                return self._refuse(node)

    def _attribute(self, inner: Test, name: str, dotted: str | None) -> Test:
        member = _member(inner, name)
        if dotted is None:
            return member

        def look_up(event: Mapping[str, Any]) -> Any:
            # OpenTelemetry's fields have such names: "http.status_code"
            return event[dotted] if dotted in event else member(event)

        return look_up

    def _refuse(self, node: ast.AST) -> NoReturn:
        shown = ast.get_source_segment(self._text.strip(), node) or type(node).__name__
        what = "nothing can be called" if isinstance(node, ast.Call) else "this is not understood"
        raise ExpressionError(self._text, f"{what}: {shown[:60]}")


def _dotted(node: ast.expr) -> str | None:
    """Return ``a.b.c`` as text, None where it is anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value)
        return None if before is None else f"{before}.{node.attr}"
    return None


def _member(inner: Test, key: str | int) -> Test:
    def look_up(event: Mapping[str, Any]) -> Any:
        container: object = inner(event)
        if isinstance(container, Mapping):
            return cast("Mapping[Any, Any]", container).get(key)
        if isinstance(container, list) and type(key) is int:
            items = cast("list[Any]", container)
            return items[key] if -len(items) <= key < len(items) else None
        return None

    return look_up


def _together(all_of: bool, values: list[Test]) -> Test:
    def both(event: Mapping[str, Any]) -> Any:
        found: Any = None
        for value in values:
            found = value(event)
            if bool(found) is not all_of:
                break
        return found

    return both


def _arithmetic(operation: Callable[[Any, Any], Any], left: Test, right: Test) -> Test:
    def calculate(event: Mapping[str, Any]) -> Any:
        first, second = left(event), right(event)
        # numbers only: a text times a number could fill the memory
        if isinstance(first, (int, float)) and isinstance(second, (int, float)):
            try:
                return operation(first, second)
            except (ArithmeticError, ValueError):
                return None
        return None

    return calculate


def _chain(operations: list[Callable[[Any, Any], bool]], values: list[Test]) -> Test:
    def compare(event: Mapping[str, Any]) -> bool:
        left = values[0](event)
        for operation, value in zip(operations, values[1:], strict=True):
            right = value(event)
            try:
                if not operation(left, right):
                    return False
            except TypeError:
                return False
            left = right
        return True

    return compare
