"""Addresses and credentials."""

import pytest

from promptcard_ext.providers.http import Http, without_credentials
from promptcard_ext.providers.refusal import Refusal


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://me:secret@host:1/v1", "http://host:1/v1"),
        ("http://a:b@c@host", "http://host"),
        ("http://host/p@th", "http://host/p@th"),
        ("http://[bad", "http://[bad"),
    ],
)
def test_a_password_is_taken_out_of_an_address(url: str, shown: str) -> None:
    assert without_credentials(url) == shown


def test_what_shares_a_rate_limit_has_one_key_that_tells_no_secret() -> None:
    plain = Http("x", "http://host/v1")
    keys = [Http("x", "http://host/v1", key).limit_key for key in ("", "sk-1", "sk-2", "sk-1")]
    named = Http("x", "http://me:hunter22@host/v1").limit_key
    assert plain.limit_key == keys[0] == "http://host/v1"
    assert keys[1] == keys[3] != keys[2]
    assert len({*keys, named}) == 4
    assert all(key.startswith("http://host/v1") and "sk-" not in key for key in keys)
    assert "hunter22" not in named + repr(Http("x", "http://me:hunter22@host/v1", "sk-1"))


def test_a_secret_that_a_server_repeats_is_taken_out() -> None:
    refusal = Refusal("X", "http://host", ("sk-secret-1", "none"))
    raw = b'{"error": {"message": "the key sk-secret-1 is wrong, none given", "code": 401}}'
    error = refusal.of_status(401, raw, {})
    assert "the key [secret] is wrong, none given" in str(error)
    assert "sk-secret-1" not in str(refusal.broken("odd", raw).raw)
    assert "sk-secret-1" not in str(refusal.in_reply({"error": {"message": "x" * 295 + "sk-secret-1"}}, raw))
