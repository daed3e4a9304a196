"""What is a secret by its looks alone: keys of known kinds, logins in URLs, authorizations.

Patterns are anchored or bounded, so that the time they take is in proportion to the text.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

_SHORTEST: Final = 16
_LONG: Final = 16

# Searches for these are quick: one is in every text that one of _KEYS is in.
_HINTS: Final = (
    *(":/", "-----BEGIN", "eyJ", "AKIA", "ASIA", "ghp_", "gho_", "ghu_", "ghs_", "ghr_"),
    *("github_pat_", "glpat-", "xox", "xapp-", "hooks.slack", "AIza", "ya29.", "hf_", "npm_"),
    *("pypi-", ":AA", "sk-", "k_live_", "k_test_", "wandb_v"),
)
# The same in lower case, also in short texts.
_SHORT_HINTS: Final = ("bearer", "basic", "token ", "-u", "-user", "wandb", "w&b")
_KEYS: Final = re.compile(
    r"""
    # private keys, also without their end
    -----BEGIN\ [A-Z0-9\ ]{0,40}PRIVATE\ KEY[A-Z\ ]{0,10}-----
        (?s:.*?)(?:-----END\ [A-Z0-9\ ]{0,60}-----|\Z)
    # JSON Web Tokens, also without their signature
    | (?:(?<![\w\-])|(?<=%20)|(?<=%22)|(?<=%3[Dd])) eyJ[\w\-]++\.[\w\-.]*+
    # Amazon, GitHub, GitLab, Slack, Google, Hugging Face, npm, PyPI, Telegram
    | (?<![A-Za-z0-9]) (?:AKIA|ASIA)[A-Z0-9]{12,}+
    | (?<![A-Za-z0-9]) (?:gh[opsur]_[A-Za-z0-9]{16,}+|github_pat_\w{16,}+|glpat-[\w\-]{16,}+)
    | (?<![A-Za-z0-9]) (?:xox[a-z]-[A-Za-z0-9\-]{8,}+|xapp-[\w\-]{10,}+)
    | (?<=hooks\.slack\.com/services/) [\w/\-]++
    | (?<![A-Za-z0-9]) (?:AIza[\w\-]{30,}+|ya29\.[\w\-]{10,}+)
    | (?<![A-Za-z0-9]) (?:hf_[A-Za-z0-9]{16,}+|npm_[A-Za-z0-9]{30,}+|pypi-[\w\-]{30,}+)
    | (?<![0-9]) [0-9]{8,10}:AA[\w\-]{33}
    # OpenAI and its like, Stripe
    | (?<![\w\-]) (?P<sk>sk-[\w\-]{0,40}?[A-Za-z0-9]{10}[\w\-]*+)
    | (?<![\w\-]) [sr]k_(?:live|test)_[A-Za-z0-9]{10,}+
    # Weights & Biases: 40 hexadecimal digits alone may be a commit
    | (?i:wandb|w&b) \W{0,3} (?:(?i:api|key|login|relogin|token)[\s:=_\-]{1,4}){0,4} \W{0,4}
        (?P<wandb>[0-9a-f]{40}) (?![0-9A-Za-z])
    | wandb_v[0-9]_[A-Za-z0-9_]{20,}+
    # names and passwords in URLs and on command lines
    | :/{1,2}+ [^\s/?\#"'`<>@:\\\[]{0,256}+ : (?P<password>[^\s/?\#"'`<>\\]{0,512}) @
    | :/{1,2}+ [^\s/?\#"'`<>@:\\\[]{0,256}+ : (?!\d{0,5}(?:[/?\#]|\Z))
        (?P<odd>[^\s"'`<>@]{1,512}+) @
    | :/{1,2}+ (?P<user>[\w\-]{20,256}) @
    | (?<![\w\-]) (?:-u|--user|--proxy-user) [ =]{1,4} ["']? [^\s:"']{1,256}+ :
        (?P<login>[^\s"']{1,512}+)
    # what an Authorization header holds
    | (?<![A-Za-z0-9]) (?i:bearer) (?:\s|%20|\+){1,8}
        (?!(?i:tokens?|auth\w{0,20}|schemes?|of|is|and|or|in)\b)
        (?P<bearer>[\w.~+/\-]{4,}+=*+)
    | (?<![A-Za-z0-9]) (?i:basic) (?:\s|%20|\+){1,8} (?P<basic>[\w+/\-]{6,}+={0,2}+)
    | (?<![A-Za-z0-9]) (?i:token) \s{1,8} (?P<token>[\w.\-]{20,}+)
    """,
    re.VERBOSE,
)


def without_keys(text: str, lower: str, replacement: str) -> str:
    """Return a text without what looks like a secret in it.

    Args:
        text: The text.
        lower: The text in lower case, from before anything was taken out of it.
        replacement: What is put in the place of a secret.
    """

    def replace(match: re.Match[str]) -> str:
        name = match.lastgroup
        if name is None:
            return replacement
        value, whole = match[name], match[0]
        if not value or not _is_secret(name, value, whole):
            return whole
        start, end = match.start(name) - match.start(), match.end(name) - match.start()
        return f"{whole[:start]}{replacement}{whole[end:]}"

    if has_one(_SHORT_HINTS, lower) or (len(text) >= _SHORTEST and has_one(_HINTS, text)):
        return _KEYS.sub(replace, text)
    return text


def has_one(parts: tuple[str, ...], text: str) -> bool:
    """Tell whether one of some parts is in a text."""
    for part in parts:  # noqa: SIM110 - any() takes four times as long
        if part in text:
            return True
    return False


def _is_secret(name: str, value: str, whole: str) -> bool:
    """Tell whether what looks like a secret is one, where that is not certain."""
    if name in ("sk", "token"):
        return any(map(str.isdigit, value))
    if name == "bearer":
        prose = whole.startswith("bearer") and len(value) < _LONG and value.isalpha()
        return not (prose and value.islower())
    if name == "basic":
        return _is_login(value)
    return True


def _is_login(value: str) -> bool:
    """Tell whether a text is the base64 form of ``name:password``, or the beginning of it."""
    whole = value.rstrip("=")
    try:
        decoded = base64.b64decode(f"{whole}{'=' * (-len(whole) % 4)}", altchars=b"-_")
        name, colon, _ = decoded.partition(b":")
        return bool(colon) and name.decode().isprintable()
    except (binascii.Error, ValueError):
        return False
