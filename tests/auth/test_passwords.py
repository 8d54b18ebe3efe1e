"""Passwords: what may be one, the same work for everybody, and few at once."""

from __future__ import annotations

import threading
import unicodedata

import argon2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptcard_ext.core.errors import CardError, Unavailable
from server_ext.auth import passwords
from server_ext.auth.passwords import Gate

GOOD = "correct horse battery"


@pytest.mark.parametrize(
    "password",
    [
        "",
        "short",
        "eleven char",
        "a" * 12,
        "ab" * 6,
        "ada@example.com",
        " ADA@example.COM ",
        "ada.lovelace.the.first",
        "Augusta Ada King",
        "x" * 1023 + "éé",
        "x" * 5_000_000,
        "a lone \ud800 surrogate",
    ],
    ids=lambda text: f"{len(text)}-{text[:8]!a}",
)
def test_what_is_no_good_is_refused(password: str) -> None:
    email = "ada.lovelace.the.first@example.com" if password.startswith("ada.") else "ada@example.com"
    with pytest.raises(CardError) as caught:
        passwords.check_new(password, email=email, name="Augusta Ada King")
    assert caught.value.code == "password_refused"
    assert password not in str(caught.value) or not password


@pytest.mark.parametrize(
    "password", [GOOD, "x1y" * 341 + "z", "床前明月光疑是地上霜举头", "\x00 in the middle ok"], ids=ascii
)
def test_what_is_good_is_taken(password: str) -> None:
    passwords.check_new(password, email="ada@example.com", name="Ada")
    assert passwords.verify(passwords.hash_password(password), password)


def test_each_hash_is_new_and_argon2id() -> None:
    one, other = passwords.hash_password(GOOD), passwords.hash_password(GOOD)
    assert one != other
    assert one.startswith("$argon2id$v=19$m=47104,t=1,p=1$")
    assert len(one) <= 255


def test_how_characters_are_composed_does_not_matter() -> None:
    composed = "caf\u00e9 au lait \u00e0 la carte"
    stored = passwords.hash_password(composed)
    assert passwords.verify(stored, unicodedata.normalize("NFD", composed))


@pytest.mark.parametrize("stored", [None, "", "garbage", "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$AAAA"])
@pytest.mark.parametrize("password", ["", GOOD, "x" * 5_000_000, "\ud800"], ids=lambda text: f"{len(text)}")
def test_without_a_good_hash_no_password_fits(stored: str | None, password: str) -> None:
    assert not passwords.verify(stored, password)


@given(st.text(max_size=40))
@settings(max_examples=20)
def test_no_password_fits_nobodys_hash_even_where_it_would(password: str) -> None:
    assert not passwords.verify(None, password)


def test_nobodys_hash_costs_what_new_hashes_do() -> None:
    assert not passwords.needs_rehash(passwords.NOBODYS_HASH)
    nobodys, new = (argon2.extract_parameters(text) for text in (passwords.NOBODYS_HASH, passwords.hash_password(GOOD)))
    assert nobodys == new


def test_a_hash_of_other_parameters_is_due_for_another() -> None:
    weak = argon2.PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(GOOD)
    assert passwords.needs_rehash(weak)
    assert passwords.verify(weak, GOOD)


def test_who_finds_the_queue_full_is_sent_away_at_once() -> None:
    gate = Gate(at_once=1, max_waiting=0)
    for _ in range(3):
        with gate.passed(), pytest.raises(Unavailable) as caught, gate.passed():
            pass
        assert caught.value.code == "login_busy"


def test_who_waits_gets_a_turn() -> None:
    gate, passed = Gate(at_once=1, max_waiting=1, max_wait_s=60), threading.Event()

    def wait_and_pass() -> None:
        with gate.passed():
            passed.set()

    waiting = threading.Thread(target=wait_and_pass)
    with gate.passed():
        waiting.start()
        assert not passed.is_set()
    waiting.join(30)
    assert passed.is_set()


def test_who_waits_too_long_is_sent_away() -> None:
    gate = Gate(at_once=1, max_waiting=1, max_wait_s=0.01)
    with gate.passed(), pytest.raises(Unavailable) as caught, gate.passed():
        pass
    assert caught.value.code == "login_busy"


def test_many_at_once_are_never_more_than_two() -> None:
    gate, most, now, lock = Gate(at_once=2, max_waiting=100), 0, 0, threading.Lock()

    def work() -> None:
        nonlocal most, now
        with gate.passed():
            with lock:
                now += 1
                most = max(most, now)
            with lock:
                now -= 1

    threads = [threading.Thread(target=work) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most <= 2
