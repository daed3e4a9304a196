"""Secrets in texts: the values behind secret names, and what is a secret by its looks.

Values are found by what stands around them: ``name=value``, ``"name": "value"`` (in JSON within
JSON, too), ``--name value``, headers, queries of URLs. In doubt more is taken away than needed.
Everything takes time in proportion to the text: patterns are anchored or bounded so that no text
makes them try the same characters again and again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import PurePath
from types import NoneType
from typing import Final, NamedTuple

from .keys import has_one, without_keys
from .names import Names, is_path, words_of

REPLACEMENT: Final = "[redacted]"

_SHORTEST: Final = 5

# Without one of these no value stands behind a name.
_SIGNS: Final = ("=", ":", ",", "-", ">", "%3", " is ", " was ")
# A name, what may close its quotes, and the sign between it and a value.
_PAIR: Final = re.compile(
    r"""
    (?<![\w.\-/]) (?P<name>[\w.\-/]++)
    (?P<closed>(?:\\*+["'`]){1,2}+\]?+|\])?+
    [ \t]{0,8}+ (?P<sign>=>|->|:=|={1,3}+|:|,|>|%3[dD]|(?:is|was)(?::|(?=[ \t]))) [ \t]{0,8}+
    """,
    re.VERBOSE,
)
_FLAG: Final = re.compile(r"(?<![\w\-])--?(?P<name>[A-Za-z][\w\-]*+)[ \t]{1,8}+(?=[^\s\-])")
_OPENING: Final = re.compile(r"""[bBrRuUfF]{0,2}+(?P<slashes>\\*+)(?P<quote>["'`])""")
_LINE: Final = re.compile(r"[^\r\n]*+")
# Up to white space, or a quote that ends the text around it.
_RUN: Final = re.compile(r"""(?:(?!["'`][,:}\])])\S)*+""")
_JSON_SCALAR: Final = re.compile(r"[^\s,}\])]*+")
_IN_QUERY: Final = re.compile(r"""[^\s&#"'`<>\\]*+""")
_IN_CONNECTION: Final = re.compile(r"""[^;"'\r\n]*+""")
_ENCODED: Final = re.compile(r"""(?:(?!%26)[^\s&"'`<>])*+""")
_IN_TAG: Final = re.compile(r"[^<]*+")
_BRACKETS: Final = re.compile(r"[()\[\]{}]")
_WORD_BEFORE: Final = re.compile(r"([^\W_]{1,30})[ ]\Z")
# In front of the name in ("password", "hunter2")
_TUPLE_BEFORE: Final = re.compile(r"""\([bB]?\\{0,2}["'`]\Z""")
_QUOTES: Final = ("'", '"', "`")
_AFTER_VALUE: Final = ",;)]}>.\"'`"
_CONTAINERS: Final = ("(", "[", "{")

# Values behind these headers have several words.
_HEADERS: Final = frozenset(("authorization", "cookie", "cookies", "setcookie", "passphrase"))
_SCHEMES: Final = frozenset(
    ("bearer", "basic", "digest", "token", "negotiate", "apikey", "aws4-hmac-sha256")
)
# Names that mean a secret in a query or a connection string only.
_QUERY_NAMES: Final = (("sig",), ("signature",), ("auth",), ("pass",), ("pw",), ("pwd",))
_LONG_QUERY_NAMES: Final = (("key",), ("code",))
_LONG: Final = 16
_LONG_WORD: Final = 6
_NOTHING: Final[frozenset[type]] = frozenset()
_QUERY_STEMS: Final = ("sig=", "signature=", "code=")

_INTEGER: Final = re.compile(r"[+-]?\d{1,40}")
_NUMBER: Final = re.compile(r"[+-]?(?:\d{1,40}\.\d{0,40}(?:[eE][+-]?\d{1,5})?|nan|inf)")
_LITERALS: Final[dict[str, type]] = {
    **dict.fromkeys(("None", "null", "none"), NoneType),
    **dict.fromkeys(("True", "False", "true", "false"), bool),
}


class _Place(NamedTuple):
    """What is around a name in a text.

    Attributes:
        end: Of the sign behind the name, where its value begins.
        name: The name.
        before: Character in front of the name, ``&`` in an encoded query, empty at the start.
        closed: Whether quotes or brackets are closed between name and sign.
        sign: Between name and value.
    """

    end: int
    name: str
    before: str
    closed: bool
    sign: str


class Texts:
    """Takes secrets out of texts.

    Args:
        names: Which names are secret.
        patterns: What is a secret besides, by what it looks like; its matches are replaced whole.
        replacement: What is put in the place of a secret.
    """

    __slots__ = ("_names", "_patterns", "_replacement", "_stems")

    def __init__(
        self,
        names: Names,
        patterns: Iterable[re.Pattern[str]] = (),
        replacement: str = REPLACEMENT,
    ) -> None:
        self._names = names
        self._stems: tuple[str, ...] = (*names.stems, *_QUERY_STEMS)
        self._patterns: tuple[re.Pattern[str], ...] = tuple(patterns)
        self._replacement = replacement

    def redact(self, text: str) -> str:
        """Return a text without the secrets in it, the text itself if there are none."""
        if len(text) >= _SHORTEST:
            lower = text.lower()
            if has_one(_SIGNS, lower) and has_one(self._stems, lower):
                text = self._without_values(text)
                if "-" in text:
                    text = self._without_arguments(text)
            text = without_keys(text, lower, self._replacement)
        for pattern in self._patterns:
            text = pattern.sub(self._replace, text)
        return text

    def _without_values(self, text: str) -> str:
        """Replace what stands behind a secret name and a sign."""
        pieces: list[str] = []
        kept = at = 0
        while (match := _PAIR.search(text, at)) is not None:
            at = match.end()
            name, closed, sign = match.groups()
            start = match.start()
            before = text[start - 1] if start else ""
            if before == "%" and name[:2] in ("26", "3F", "3f"):
                name, before = name[2:], "&"
            harmless = self._names.harmless_types(name)
            place = _Place(at, name, before, closed is not None, sign)
            if before == " " and (harmless is not None or name.lower() in self._names.seconds):
                harmless = self._judge_behind(text, start, name)
            elif harmless is None and before in ("?", "&", ";"):
                harmless = _judge_in_query(text, place)
            if harmless is None or not _has_value(text, start, place):
                continue
            start, end = _value(text, place)
            if sign[0] in "iw" and not _is_no_prose(text, start, end):
                continue
            if start < end and not self._is_harmless(text, start, end, harmless):
                pieces += (text[kept:start], self._replacement)
                kept = at = end
        pieces.append(text[kept:])
        return "".join(pieces)

    def _without_arguments(self, text: str) -> str:
        """Replace what stands behind a secret option of a command line: ``--password hunter2``."""
        pieces: list[str] = []
        kept = at = 0
        while (match := _FLAG.search(text, at)) is not None:
            at = match.end()
            harmless = self._names.harmless_types(match["name"])
            if harmless is None:
                continue
            start, end = _quoted(text, at) or _run(text, at)
            if start < end and not self._is_harmless(text, start, end, harmless):
                pieces += (text[kept:start], self._replacement)
                kept = at = end
        pieces.append(text[kept:])
        return "".join(pieces)

    def _judge_behind(self, text: str, start: int, name: str) -> frozenset[type] | None:
        """Judge a name together with the word in front of it: ``api key: ...``."""
        word = _WORD_BEFORE.search(text, max(0, start - 32), start)
        if word is None:
            return self._names.harmless_types(name)
        return self._names.judge_behind(word[1].lower(), words_of(name))

    def _is_harmless(self, text: str, start: int, end: int, harmless: frozenset[type]) -> bool:
        """Tell whether what stands behind a secret name is none, or is replaced already."""
        value = text[start:end]
        room = len(self._replacement)
        if end - start <= room and text.startswith(self._replacement, start):
            return True
        if not value.strip("*"):
            return True
        kind = _LITERALS.get(value)
        if kind is None and _INTEGER.fullmatch(value):
            kind = int
        elif kind is None and _NUMBER.fullmatch(value):
            kind = float
        elif kind is None and is_path(value):
            kind = PurePath
        return kind in harmless

    def _replace(self, match: re.Match[str]) -> str:
        return self._replacement


@lru_cache(1)
def _default() -> Texts:
    return Texts(Names())


def redact_text(text: str) -> str:
    """Return a text without the secrets that are known by default."""
    return _default().redact(text)


def _judge_in_query(text: str, place: _Place) -> frozenset[type] | None:
    """Judge a name that means a secret in a query or a connection string only."""
    last = words_of(place.name)[-1:]
    if last in _QUERY_NAMES:
        return _NOTHING
    if last in _LONG_QUERY_NAMES:
        start, end = _value(text, place)
        return _NOTHING if end - start >= _LONG else None
    return None


def _has_value(text: str, start: int, place: _Place) -> bool:
    """Tell whether what is behind a name is its value."""
    if place.sign == ">":
        return place.before == "<" or place.name[-1:] == "-"
    if place.sign == ",":
        return place.closed and _TUPLE_BEFORE.search(text, max(0, start - 4), start) is not None
    # the path of a URL, and what came of it
    return place.sign != ":" or place.name[:1] != "/"


def _value(text: str, place: _Place) -> tuple[int, int]:
    """Return where the value behind a name begins and ends, quotes left out."""
    at, sign = place.end, place.sign
    if sign == ">" and place.before == "<":
        return _span(_IN_TAG, text, at)
    quoted = _quoted(text, at)
    if quoted is not None:
        return quoted
    if sign == ",":
        return at, at
    if sign[0] == "%":
        return _span(_ENCODED, text, at)
    if place.before in ("?", "&"):
        return _span(_IN_QUERY, text, at)
    if place.before == ";":
        return _span(_IN_CONNECTION, text, at)
    last = "".join(words_of(place.name)[-1:])
    several = last in _HEADERS and (sign == ":" or last.startswith("cookie"))
    if place.closed and text[at : at + 1] not in _CONTAINERS:
        scalar = _span(_JSON_SCALAR, text, at)
        if not several or text[slice(*scalar)] in _LITERALS:
            return scalar
    if several:
        end = _span(_LINE, text, at)[1]
        closing = text.find(place.before, at, end) if place.before in _QUOTES else -1
        return at, end if closing < 0 else closing
    return _run(text, at)


def _is_no_prose(text: str, start: int, end: int) -> bool:
    """Tell whether what a name "is" can be no word of a sentence: ``password is hunter2``."""
    if text[start - 1 : start] in _QUOTES:
        return True
    return end - start >= _LONG_WORD and any(map(str.isdigit, text[start:end]))


def _span(pattern: re.Pattern[str], text: str, at: int) -> tuple[int, int]:
    match = pattern.match(text, at)
    return (at, at) if match is None else match.span()


def _quoted(text: str, at: int) -> tuple[int, int] | None:
    """Return what is between quotes; up to the end of the text where they are not closed.

    The quotes may be those of a text within a text, with backslashes in front.
    """
    opening = _OPENING.match(text, at)
    if opening is None:
        return None
    quote, slashes, start = opening["quote"], len(opening["slashes"]), opening.end()
    if text.startswith(quote * 2, start):
        start += 2
        end = text.find(quote * 3, start)
        return start, len(text) if end < 0 else end
    end = text.find(quote, start)
    while end >= 0:
        following = text[end + 1 : end + 2]
        before = end
        while before > start and text[before - 1] == "\\":
            before -= 1
        # more backslashes belong to a quote in the value, and so do quotes in front of more of it
        if end - before == slashes and not (following.isalnum() or following == "_"):
            if following != quote:
                return start, before
            end += 1
        end = text.find(quote, end + 1)
    return start, len(text)


def _run(text: str, at: int) -> tuple[int, int]:
    """Return a value without quotes: up to white space, but with all of what is in brackets."""
    end = _span(_RUN, text, at)[1]
    if text[at:end].lower() in _SCHEMES:
        following = end + 1
        if following < len(text) and not text[following].isspace():
            end = _span(_RUN, text, following)[1]
    whole = at
    if _BRACKETS.search(text, at, end):
        whole = _after_brackets(text, at, end)
        end = max(end, _span(_RUN, text, whole)[1])
    while end > whole and text[end - 1] in _AFTER_VALUE:
        end -= 1
    return at, end


def _after_brackets(text: str, at: int, end: int) -> int:
    """Return where the last bracket that opens between two places is closed again.

    That is the end of the text where it is not closed, and the first place where none opens.
    """
    after, depth = at, 0
    for bracket in _BRACKETS.finditer(text, at):
        if bracket.start() >= end and not depth:
            return after
        if bracket[0] in _CONTAINERS:
            depth += 1
        elif depth:
            depth -= 1
            if not depth:
                after = bracket.end()
    return len(text) if depth else after
