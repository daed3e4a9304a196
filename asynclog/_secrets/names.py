"""Which names say that what they name is a secret.

A name is taken apart into words: at everything that is no letter or digit, where digits begin and
end, and where camelCase does. Words count, not letters: ``tokenizer`` and ``secretary`` are words
of their own. A secret word in front of a word like *count* or *id* names that count or id, and no
secret: ``token_count``, ``password_length``, ``api_key_id``. Tokens of language models are none
either: ``tokens`` without more, ``eos_token``, ``next_token``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePath
from types import NoneType
from typing import Final, TypeAlias, cast

Words: TypeAlias = tuple[str, ...]

_PLACES: Final = (
    *("admin", "database", "db", "ftp", "ldap", "mail", "mongo", "mysql", "pg", "postgres"),
    *("proxy", "redis", "root", "smtp", "user"),
)
SECRET_NAMES: Final = (
    *("password", "passwords", "pass word", "passwd", "passphrase", "pass phrase", "passcode"),
    *("pwd", *(f"{place} {word}" for place in _PLACES for word in ("pass", "pw"))),
    *("secret", "secrets", "secret id", "secretkey", "credential", "credentials", "creds"),
    *("token", "apitoken", "authtoken", "accesstoken", "refreshtoken", "jwt", "bearer", "otp"),
    *("api tokens", "auth tokens", "access tokens", "bearer tokens", "refresh tokens"),
    *("session tokens", "api key", "api keys", "apikey", "apikeys", "access key", "access keys"),
    *("accesskey", "private key", "private keys", "privatekey", "ssh key", "encryption key"),
    *("signing key", "master key", "account key", "storage key", "auth key", "license key"),
    *("authorization", "auth header", "basic auth", "http auth", "proxy auth"),
    *("cookie", "cookies", "setcookie", "session id", "session ids", "session key", "sess id"),
    *("sessionid", "sessid"),
)
"""Names that are secret by default, in words."""
STEMS: Final = ("pass", "pw", "secret", "token", "key", "auth", "cookie", "sess", "cred", "bearer")
"""Any name that is secret by default contains one of these or of :data:`SHORT_STEMS`."""
SHORT_STEMS: Final = ("jwt", "otp")

# Secret as a whole only; a part of too many other names.
_WHOLE: Final = frozenset((("auth",), ("auths",)))
# Written as one word, and secret whatever comes before: "dbpassword".
_ENDINGS: Final = (
    *("password", "passwd", "passphrase", "apikey", "secretkey", "accesskey", "privatekey"),
    *("authtoken", "accesstoken", "refreshtoken", "sessiontoken", "csrftoken", "clientsecret"),
    *("sessionid", "sessid"),
)
_PLURALS: Final = frozenset(
    ("passwords", "secrets", "tokens", "keys", "apikeys", "cookies", "ids", "credentials", "creds")
)
# Behind a secret word: what is named is not the secret, but something about it.
_ABOUT: Final = frozenset(
    """
    accuracy acc age arn at attempts avg budget changed class count counter counts created date
    dim dims disabled domain dropout dtype emb embedding embeddings enabled endpoint entropy errors
    exists exp expired expires expiration expiry failures file filename fingerprint fraction freq
    frequency host id ids idx index indices invalid kind latency len length lengths level limit
    limits logprob logprobs loss losses manager mask masks max mean min missing mode ms name names
    ns num number path per perplexity policy pos position positions ppl present prob probs provider
    rate ratio required retries rotated s scope scopes score scores sec second seconds seen shape
    size sizes status store sum throughput time times total ttl type types updated uri url us usage
    used valid version weight weights
    """.split()  # noqa: SIM905 - words
)
# Before "token": a token of a language model or of a parser.
_NO_SECRET_TOKEN: Final = frozenset(
    """
    audio avg bos cls draft end eod eos eot first generated image input last mask max mean min n
    next nr num number output pad per predicted prev previous prompt sampled sep sos special speech
    start stop total unexpected unk unknown video vision
    """.split()  # noqa: SIM905 - words
)
_TOKEN: Final = ("token",)
_DIRECTORY: Final = ("pwd",)

# Types whose values are no secrets whatever they are called: flags and measured values.
_HARMLESS: Final[frozenset[type]] = frozenset((bool, float, NoneType))
# A whole number under a plural is how many there are.
_HARMLESS_PLURAL: Final[frozenset[type]] = _HARMLESS | {int}
# The shell's PWD is a directory, others' is a password: a path tells which.
_HARMLESS_PATH: Final[frozenset[type]] = _HARMLESS | {PurePath}
# The user's own names mean what he says.
_HARMLESS_CHOSEN: Final[frozenset[type]] = frozenset((bool, NoneType))

_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\d_]+")
_MAX_NAME: Final = 1024
_MAX_KNOWN: Final = 2048
_MAX_KNOWN_LENGTH: Final = 128


def words_of(name: str) -> Words:
    """Return the words of a name in lower case: ``("x", "api", "key")`` of ``X-ApiKey``."""
    if len(name) > _MAX_NAME:
        name = f"{name[: _MAX_NAME // 2]} {name[-_MAX_NAME // 2 :]}"
    return tuple(word.lower() for word in _WORD.findall(name))


class Names:
    """Tells which names are secret.

    Args:
        chosen: Names that are secret besides :data:`SECRET_NAMES`, whatever is around them.

    Attributes:
        stems: Any secret name contains one of them, in lower case.
        seconds: What may be left of a secret name when its first word is written apart.
    """

    __slots__ = ("_chosen", "_known", "_longest", "seconds", "stems")

    def __init__(self, chosen: Iterable[str] = ()) -> None:
        self._chosen: frozenset[Words] = frozenset(map(words_of, chosen))
        self._longest: int = max((2, *map(len, self._chosen)))
        self._known: dict[str, frozenset[type] | None] = {}
        own = sorted({words[0] for words in self._chosen})
        self.stems: tuple[str, ...] = (*STEMS, *SHORT_STEMS, *own)
        self.seconds: frozenset[str] = frozenset(
            words[1] for words in (*_SECRET, *self._chosen) if len(words) > 1
        )

    def harmless_types(self, name: str) -> frozenset[type] | None:
        """Return the types of values that are no secret under a name; None if it is not secret."""
        try:
            return self._known[name]
        except KeyError:
            pass
        found = self.judge(words_of(name))
        # nested keys in a flat name count each by itself
        if found is None and any(words_of(part) in _WHOLE for part in name.split("/")):
            found = _HARMLESS
        if len(name) <= _MAX_KNOWN_LENGTH:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[name] = found
        return found

    def judge(self, words: Words) -> frozenset[type] | None:
        """Do what :meth:`harmless_types` does for the words of a name."""
        found: frozenset[type] | None = _HARMLESS if words in _WHOLE else None
        for end in range(1, len(words) + 1):
            for start in range(max(0, end - self._longest), end):
                part = words[start:end]
                if part in self._chosen:
                    return _HARMLESS_CHOSEN
                if _is_secret(part) and not _is_about(words, start, end):
                    if found is _HARMLESS:
                        continue
                    found = _HARMLESS_PLURAL if part[-1] in _PLURALS else _HARMLESS
                    if words == _DIRECTORY:
                        found = _HARMLESS_PATH
        return found

    def judge_behind(self, before: str, words: Words) -> frozenset[type] | None:
        """Judge a name in a text, which may begin with the word before it: ``api key: ...``."""
        if words:
            pair = (before, words[0])
            if pair in _SECRET or pair in self._chosen or before in _NO_SECRET_TOKEN:
                words = (before, *words)
        return self.judge(words)


def is_path(text: str) -> bool:
    """Tell whether a text is a path that begins at a root."""
    return text.startswith(("/", "~", "\\\\")) or text[1:3] == ":\\"


def may_pass(value: object, harmless: frozenset[type]) -> bool:
    """Tell whether a value may be seen although its name is secret.

    Args:
        value: The value.
        harmless: What :meth:`Names.harmless_types` has said of the name.
    """
    kind: type[object] = type(value)
    if kind is str and PurePath in harmless:
        return is_path(cast("str", value))
    return kind in harmless


def _is_secret(part: Words) -> bool:
    return part in _SECRET or (len(part) == 1 and part[0].endswith(_ENDINGS))


def _is_about(words: Words, start: int, end: int) -> bool:
    """Tell whether what is around a secret part of a name makes it harmless."""
    if end < len(words) and words[end] in _ABOUT:
        return True
    before = words[start - 1] if start else ""
    part = words[start:end]
    return part == _TOKEN and before in _NO_SECRET_TOKEN


_SECRET: Final = frozenset(words_of(name) for name in SECRET_NAMES)
