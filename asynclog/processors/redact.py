"""Redact: takes secrets out of records, last of all processors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any, Final, cast

from .._line.encoder import Kind, LineEncoder
from .._line.exception import current_exception, exception_to_dict, stack_to_dict
from .._line.fit import mark_truncated, put
from .._line.plain import free_name, type_of
from .._line.problem import PROBLEM_KEY
from .._line.snapshot import Snapshot
from .._line.untrusted import failure, name_of
from .._secrets.names import Names, may_pass, words_of
from .._secrets.texts import REPLACEMENT, Texts
from .._settings import DEFAULT_MAX_EVENT_BYTES
from ..exceptions import SettingError
from ..typing import EventDict
from .redact_tree import DeviceNumbers, Trees

SOURCE: Final = "source"
"""Item of exceptions and stacks that says what may be shown of the source code."""

_UNCHANGED: Final = frozenset((int, float, bool, type(None)))
# Longer texts are cut before they are looked at, as the line would cut them.
_SHORT_TEXT: Final = 8192
_MAX_KNOWN: Final = 2048
_MAX_KNOWN_LENGTH: Final = 128


class _Copy:
    """What the values of one record are copied with."""

    __slots__ = ("numbers", "snapshot")

    def __init__(self, encoder: LineEncoder | None) -> None:
        room = DEFAULT_MAX_EVENT_BYTES if encoder is None else encoder.max_event_bytes
        self.numbers = DeviceNumbers()
        self.snapshot = Snapshot(room, self.numbers)


class Redact:
    """Replaces secrets by ``[redacted]``, wherever in a record they are.

    A value is a secret when its name says so (``password``, ``api_key``, ``authorization``,
    ``cookie``, ... in any spelling: ``X-Api-Key``, ``dbPassword``), at any depth, in a text
    (``token=...``, ``"token": "..."``, headers, URLs) or in an object's ``repr()``; or when it
    looks like one: JSON Web Tokens, private keys, passwords in URLs, keys of AWS, GitHub, OpenAI,
    Slack and others. Event text, fields, bound context, keys, exceptions and stacks are looked
    through. What is no secret stays: flags, ``None``, measured values, numbers of tokens
    (``num_tokens``, ``tokens_per_second``), and what is said about a secret (``token_count``,
    ``api_key_id``).

    It must come last: what later processors add is not looked at. What it lets through is a copy,
    made the way the line would be made, so that nothing is written that it has not seen; your
    objects are not changed. Where it cannot look, nothing passes. Tracebacks on the console and in
    text files show source lines through the same rules, and none when there are rules of your own.

    The time it takes grows in proportion to the text of a record, whatever is in it, and what is
    looked at is bounded as the line is.

    Args:
        keys: Names of secrets besides the default ones, in any spelling; a name with more words
            around them is secret as well (``"card"``: ``card_number``). Only None, True and False
            pass under them.
        patterns: Regular expressions; what they match in a text is replaced. They see texts of up
            to ``max_event_bytes`` characters: one that backtracks a lot costs its time.
        replacement: What is put in the place of a secret.

    Raises:
        SettingError: A setting breaks its rule.
    """

    __slots__ = ("_keys", "_known", "_patterns", "_replacement", "_source", "_texts", "_trees")

    def __init__(
        self,
        *,
        keys: Iterable[str] = (),
        patterns: Iterable[str | re.Pattern[str]] = (),
        replacement: str = REPLACEMENT,
    ) -> None:
        given: Any = replacement
        if not isinstance(given, str):
            raise SettingError("replacement", "must be a text", replacement)
        self._keys: tuple[str, ...] = _names_of(keys)
        self._patterns: tuple[re.Pattern[str], ...] = _compiled(patterns)
        self._replacement: str = replacement
        names = Names(self._keys)
        self._texts = Texts(names, self._patterns, replacement)
        self._trees = Trees(names, self._texts, replacement)
        self._source: str | bool = "redacted" if not (self._keys or self._patterns) else False
        self._known: dict[str, tuple[str, frozenset[type] | None]] = {}

    def __call__(self, logger: Any, method_name: str, event_dict: EventDict) -> EventDict:
        """Take the secrets out of a record; never raises."""
        if type_of(event_dict) is not dict and not issubclass(type_of(event_dict), MutableMapping):
            return self._rendered(event_dict)
        try:
            fields: dict[Any, Any] = dict(event_dict)
            # whatever happens from here on: what was not looked at is not there any more
            event_dict.clear()
            self._fill(event_dict, fields, getattr(logger, "encoder", None))
        except Exception as error:
            return self._closed(error)
        return event_dict

    def _fill(self, event_dict: EventDict, fields: dict[Any, Any], encoder: Any) -> None:
        """Put into an empty event dict what may be seen of the fields."""
        ours = isinstance(encoder, LineEncoder)
        copy: _Copy | None = None
        redact = self._texts.redact
        known_field = self._known.get
        exc_info = fields.pop("exc_info", None)
        stack_info = fields.pop("stack_info") if ours and fields.get("stack_info") is True else None
        if "positional_args" in fields:
            self._format(fields)
        for key, value in fields.items():
            name, harmless = known_field(key) or self._field(key)
            kind = type_of(value)
            if name in event_dict:
                name = free_name(f"{name}_", event_dict)
            if harmless is not None and not may_pass(value, harmless):
                event_dict[name] = self._replacement
            elif kind is str and len(value) <= _SHORT_TEXT:
                event_dict[name] = redact(value)
            elif kind in _UNCHANGED or (kind is Kind and name == "kind"):
                event_dict[name] = value
            else:
                copy = copy or _Copy(encoder if ours else None)
                plain = self._trees.redacted(copy.snapshot.value(value), copy.numbers)
                if name == "event" and type_of(plain) is not str:
                    # as the line would have it
                    plain = str(tuple(plain) if kind is tuple else plain)
                event_dict[name] = plain
        if exc_info is not None or stack_info is not None:
            copy = copy or _Copy(encoder if ours else None)
            self._add_exception(event_dict, exc_info, copy, encoder if ours else None)
            if stack_info is not None:
                stack = self._trees.redacted(stack_to_dict(copy.snapshot), copy.numbers)
                _put(event_dict, "stack", _with_source(stack, self._source))
        if copy is not None and copy.snapshot.cut:
            mark_truncated(cast("dict[str, Any]", event_dict))

    def _add_exception(
        self, event_dict: EventDict, exc_info: Any, copy: _Copy, encoder: LineEncoder | None
    ) -> None:
        """Add an exception: as data, or as text for those who expect structlog's own."""
        found = current_exception(exc_info)
        if found is None:
            return
        text = encoder is None or encoder.exception_text
        try:
            data: Any = exception_to_dict(*found, snapshot=copy.snapshot, text=text)
        except Exception as failed:
            data = {"text": failure(type_of(found[0]), failed)}
        seen = self._trees.redacted(data, copy.numbers)
        if encoder is not None:
            _put(event_dict, "exception", _with_source(seen, self._source))
        else:
            _put(event_dict, "exception", seen["text"].removesuffix("\n"))

    def _format(self, fields: dict[Any, Any]) -> None:
        """Put the arguments into the text that was left apart: what belongs together shows then."""
        event: Any = fields.get("event")
        args: Any = fields["positional_args"]
        try:
            single: Any = args[0] if type_of(args) is tuple and len(args) == 1 else None
            if args:
                # a single mapping gives names to the places
                fields["event"] = event % (single if isinstance(single, Mapping) else args)
        except Exception:
            # an argument of "password=%s" is a secret that nothing else tells
            text = Snapshot(_SHORT_TEXT).text(event)
            if self._texts.redact(text) != text:
                fields["positional_args"] = self._replacement
            return
        del fields["positional_args"]

    def _field(self, key: Any) -> tuple[str, frozenset[type] | None]:
        """Return the name of a field without secrets in it, and what is harmless under it."""
        text = key if type_of(key) is str else Snapshot(_SHORT_TEXT).text(key)
        found = (self._texts.redact(text), self._trees.harmless_types(text))
        if type_of(key) is str and len(key) <= _MAX_KNOWN_LENGTH:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[key] = found
        return found

    def _rendered(self, result: Any) -> Any:
        """Take the secrets out of what an earlier processor has rendered, as far as possible."""
        try:
            if isinstance(result, str):
                return self._texts.redact(result)
            if isinstance(result, (bytes, bytearray)):
                text = bytes(result).decode("utf-8", "surrogateescape")
                return self._texts.redact(text).encode("utf-8", "surrogateescape")
        except Exception:
            pass
        return self._replacement

    def _closed(self, error: Exception) -> EventDict:
        """Return a record that says nothing but that it could not be looked through."""
        problem = f"{type(self).__name__}: {name_of(type_of(error))}"
        return {"event": self._replacement, PROBLEM_KEY: problem}

    def __repr__(self) -> str:
        # patterns may be secrets themselves
        return (
            f"Redact(keys={self._keys!r}, patterns=<{len(self._patterns)}>, "
            f"replacement={self._replacement!r})"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self._keys, self._patterns, self._replacement)


def _put(event_dict: EventDict, name: str, value: Any) -> None:
    put(cast("dict[str, Any]", event_dict), name, value)


def _restored(
    keys: tuple[str, ...], patterns: tuple[re.Pattern[str], ...], replacement: str
) -> Redact:
    return Redact(keys=keys, patterns=patterns, replacement=replacement)


def _names_of(keys: Iterable[str]) -> tuple[str, ...]:
    given: Any = keys
    if isinstance(given, str):
        raise SettingError("keys", "must be a list of names", given, f"Write keys=[{given!r}]")
    names = tuple(given)
    for name in names:
        if not isinstance(name, str) or not words_of(name):
            raise SettingError("keys", "must hold names with letters or digits in them", name)
    return names


def _compiled(patterns: Iterable[str | re.Pattern[str]]) -> tuple[re.Pattern[str], ...]:
    given: Any = patterns
    if isinstance(given, (str, re.Pattern)):
        raise SettingError("patterns", "must be a list of regular expressions", "one of them")
    compiled: list[re.Pattern[str]] = []
    for pattern in given:
        try:
            found = re.compile(pattern)
            if not isinstance(found.pattern, str) or found.search("") is not None:
                raise ValueError
        except (TypeError, ValueError, re.error):
            # not the pattern: it may be the secret itself
            raise SettingError(
                "patterns",
                "must hold regular expressions for texts that do not match an empty one",
                f"<number {len(compiled) + 1}>",
            ) from None
        compiled.append(found)
    return tuple(compiled)


def _with_source(data: Any, source: str | bool) -> Any:
    """Mark an exception with those in it, or a stack, with what may be shown of the code."""
    if type_of(data) is dict:
        marked = cast("dict[str, Any]", data)
        if "frames" in marked:
            marked[SOURCE] = source
        for link in ("cause", "context"):
            _with_source(marked.get(link), source)
        for member in marked.get("exceptions") or ():
            _with_source(member, source)
    return data
