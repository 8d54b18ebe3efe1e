"""What is common to all providers over HTTP."""

import email.utils
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.providers.http import without_credentials
from promptcard_ext.providers.json_text import decode
from promptcard_ext.providers.rate_limit import retry_after


def test_retry_after_as_a_date_counts_from_now() -> None:
    wait = retry_after({"Retry-After": email.utils.formatdate(time.time() + 30, usegmt=True)})
    assert wait is not None
    assert 28 <= wait <= 30


def test_a_date_in_the_past_is_no_wait() -> None:
    assert retry_after({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0


@pytest.mark.parametrize("value", ["", "soon", "Wed, 99 Oct 2015", "Mon, 01 Jan 99999999999 00:00:00 GMT"])
def test_what_says_nothing_is_no_answer(value: str) -> None:
    assert retry_after({"Retry-After": value}) is None
    assert retry_after({}) is None


@given(st.text())
def test_no_header_breaks_it(value: str) -> None:
    wait = retry_after({"Retry-After": value})
    assert wait is None or wait >= 0


@pytest.mark.parametrize("raw", [b'"\xff"', b"", b"{", b'{"a":\x00}'])
def test_what_is_not_json_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError):
        decode(raw)


def test_a_lone_surrogate_is_kept() -> None:
    assert decode(b'{"a": "\\ud83d"}') == {"a": "\ud83d"}


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
