"""Which names are secret: by their words, in any spelling."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynclog._secrets.names import (
    SECRET_NAMES,
    SHORT_STEMS,
    STEMS,
    Names,
    may_pass,
    words_of,
)

NAMES = Names()

SECRET = """
    password passwd PASSWORD userPassword user_password password_hash passwordConfirmation db_pwd
    pass_word passphrase secret client_secret clientSecret SECRET_KEY_BASE secret_id secrets
    token access_token accessToken X-Auth-Token HF_TOKEN bot_token refresh_token id_token token1
    password2 api_tokens api_key apiKey API-KEY apikey APIKey X-Api-Key WANDB_API_KEY api.key
    aws_secret_access_key accessKey private_key privateKey ssh_private_key authorization
    Proxy-Authorization AUTHORIZATION cookie Set-Cookie setCookie http.cookies session_id sessionId
    session-id PHPSESSID JSESSIONID credentials aws_credentials creds PGPASSWORD dbpassword
    csrftoken DB_PASSWORD_PROD otp jwt bearer auth smtp_pass password_reset_url
    authorization_code a/auth/b val/password/x
""".split()  # noqa: SIM905 - words
HARMLESS = """
    tokens num_tokens tokens_per_second tokenizer token_count total_tokens prompt_tokens
    max_new_tokens eos_token pad_token_id token_ids token_type_ids tokens/s token/s token/loss
    per_token_loss next_token first_token_ms time_to_first_token tokenized detokenize
    special_tokens unexpected_token token_embedding_dim token_logprobs throughput/tokens_per_sec
    secretary author authority authors authenticated auth_mode oauth key keys primary_key
    cache_key public_key keyboard monkey keypoints pass passes pass_rate test_pass forward_pass
    compass OLDPWD session sessions password_length token_expires_at access_token_ttl
    api_key_id AWS_ACCESS_KEY_ID secret_name cookie_domain cookiecutter passwordless private
    loss step lr event level timestamp
""".split()  # noqa: SIM905 - words


@pytest.mark.parametrize("name", SECRET)
def test_secret_names(name: str) -> None:
    """Texts and whole numbers under them are secret; flags and measured values are not."""
    harmless = NAMES.harmless_types(name)
    assert harmless is not None
    assert str not in harmless
    assert dict not in harmless
    assert {bool, float, type(None)} <= harmless


@pytest.mark.parametrize("name", HARMLESS)
def test_harmless_names(name: str) -> None:
    """Other words with the same letters, and what is said about a secret."""
    assert NAMES.harmless_types(name) is None


def test_whole_numbers_under_plurals_are_counts() -> None:
    """Three passwords are no secret; a password of digits is one."""
    for name in ("passwords", "cookies", "api_keys", "credentials", "access_tokens"):
        assert int in (NAMES.harmless_types(name) or ())
    for name in ("password", "cookie", "api_key", "access_token", "session_id"):
        assert int not in (NAMES.harmless_types(name) or (int,))


def test_the_working_directory() -> None:
    """PWD is a secret unless it is a path."""
    for name in ("PWD", "pwd"):
        harmless = NAMES.harmless_types(name)
        assert harmless is not None
        assert may_pass("/home/bob", harmless)
        assert may_pass("C:\\Users", harmless)
        assert not may_pass("hunter2", harmless)
    assert not may_pass("/home", NAMES.harmless_types("db_pwd") or frozenset())


def test_words() -> None:
    """Where case, digits and other characters say so."""
    assert words_of("X-ApiKey2") == ("x", "api", "key", "2")
    assert words_of("HTTPServerURL") == ("http", "server", "url")
    assert words_of("größe_Ä") == ("gr", "öße", "ä")
    assert words_of("--") == ()
    assert words_of("") == ()


def test_chosen_names() -> None:
    """Any spelling, with anything around; only None and flags are harmless."""
    names = Names(["card", "Employee-Id"])
    for name in ("card", "CARD", "cardNumber", "my_card_count", "employee_id", "EmployeeID"):
        assert names.harmless_types(name) == {bool, type(None)}
    for name in ("cardinal", "employee", "discard"):
        assert names.harmless_types(name) is None


@pytest.mark.parametrize("name", [*SECRET, *SECRET_NAMES])
def test_every_secret_name_has_a_stem(name: str) -> None:
    """By which texts without any are left alone."""
    assert any(stem in name.lower() for stem in (*STEMS, *SHORT_STEMS))


@given(st.text())
def test_any_name_is_judged(name: str) -> None:
    """The same each time, also when it is very long."""
    assert NAMES.harmless_types(name) == NAMES.harmless_types(name)
    assert NAMES.harmless_types(name * 100 + "_password") is not None


def test_what_is_remembered_is_bounded() -> None:
    """A million names take no more memory than a few thousand."""
    names = Names()
    for number in range(10_000):
        names.harmless_types(f"name {number}")
        names.harmless_types(f"long {number} " + "x" * 200)
    assert len(names._known) <= 2048
