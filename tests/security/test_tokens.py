"""Access tokens: of all that looks like one, only what we signed in our one form is taken."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

import server_ext
from promptcard_ext.core.errors import Unauthenticated
from server_ext.auth import tokens
from server_ext.keys import Key, KeyRing, new_ring

KEYS = new_ring()
KEY = KEYS.current("signing")
USER, SESSION, WORKSPACE = (uuid.UUID(int=n) for n in (1, 2, 3))
NOW = int(time.time())
# Longer than any run of the tests: a form made now must be refused for what it is, and not for its age.
EXPIRES = NOW + 86_400


def encode(value: bytes | str) -> str:
    return base64.urlsafe_b64encode(value.encode() if isinstance(value, str) else value).rstrip(b"=").decode()


def header(**changes: Any) -> dict[str, Any]:
    return changed({"alg": "HS256", "typ": "pc+jwt", "kid": KEY.id}, changes)


def payload(**changes: Any) -> dict[str, Any]:
    made = {
        "iss": "promptcards", "aud": "promptcards", "sub": str(USER), "iat": NOW, "exp": EXPIRES, "jti": "a",
        "sid": str(SESSION), "tv": 0, "kind": "human",
    }  # fmt: skip
    return changed(made, changes)


def changed(made: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in (made | changes).items() if value is not ...}


def signed(head: Any, body: Any, secret: bytes = KEY.secret, digest: str = "sha256") -> str:
    """Return a token with a good signature, whatever is in it."""
    texts = (part if isinstance(part, bytes | str) else json.dumps(part) for part in (head, body))
    text = ".".join(map(encode, texts))
    return f"{text}.{encode(hmac.digest(secret, text.encode(), digest))}"


GOOD = signed(header(), payload())
SIGNED, SIGNATURE = GOOD.rpartition(".")[0], GOOD.rpartition(".")[2]


def twice(good: dict[str, Any], name: str, value: object) -> str:
    return json.dumps(good)[:-1] + f', "{name}": {json.dumps(value)}}}'


FORMS: dict[str, str | Callable[[], str]] = {
    # No token at all.
    "nothing": "",
    "dots": "..",
    "one part": encode(json.dumps(header())),
    "two parts": SIGNED,
    "four parts": f"{GOOD}.{SIGNATURE}",
    "five parts, as if encrypted": f"{GOOD}.{SIGNATURE}.{SIGNATURE}",
    "word": "Bearer",
    "Bearer before it": f"Bearer {GOOD}",
    "space before it": f" {GOOD}",
    "line break after it": f"{GOOD}\n",
    "null character": f"{GOOD}\x00",
    "other script": GOOD.replace("e", "е"),
    "padding": f"{GOOD}=",
    "standard base64": f"{SIGNED}.{base64.b64encode(b'?' * 32).decode()}",
    "huge": "a" * 5_000_000,
    "huge and signed": signed(header(), payload(jti="x" * 4096)),
    "just too long": signed(header(), payload(jti="x" * 3800)),
    # Signatures.
    "no signature": f"{SIGNED}.",
    "signature cut": GOOD[:-4],
    "signature of zeros": f"{SIGNED}.{encode(bytes(32))}",
    "signature changed": GOOD[:-8] + ("A" if GOOD[-8] != "A" else "B") + GOOD[-7:],
    "signature spelled otherwise": lambda: GOOD[:-1] + spelled_otherwise(GOOD[-1]),
    "payload changed": f"{encode(json.dumps(header()))}.{encode(json.dumps(payload(tv=1)))}.{SIGNATURE}",
    "other key": signed(header(), payload(), bytes(32)),
    "empty key": signed(header(), payload(), b""),
    "key id as key": signed(header(), payload(), KEY.id.encode()),
    "hash of the key": signed(header(), payload(), hashlib.sha256(KEY.secret).digest()),
    "key of another purpose": signed(header(), payload(), KEYS.current("audit").secret),
    # Algorithms.
    "none": f"{encode(json.dumps(header(alg='none')))}.{encode(json.dumps(payload()))}.",
    "none, signed": signed(header(alg="none"), payload()),
    "None": f"{encode(json.dumps(header(alg='None')))}.{encode(json.dumps(payload()))}.",
    "nOnE, signed": signed(header(alg="nOnE"), payload()),
    "HS384": signed(header(alg="HS384"), payload(), digest="sha384"),
    "HS512": signed(header(alg="HS512"), payload(), digest="sha512"),
    "hs256": signed(header(alg="hs256"), payload()),
    "RS256": signed(header(alg="RS256"), payload()),
    "ES256": signed(header(alg="ES256"), payload()),
    "EdDSA": signed(header(alg="EdDSA"), payload()),
    "PS256": signed(header(alg="PS256"), payload()),
    "dir": signed(header(alg="dir", enc="A256GCM"), payload()),
    "no alg": signed(header(alg=...), payload()),
    "alg null": signed(header(alg=None), payload()),
    "alg list": signed(header(alg=["HS256"]), payload()),
    "alg twice": signed(twice(header(alg="none"), "alg", "HS256"), payload()),
    # Headers.
    "typ JWT": signed(header(typ="JWT"), payload()),
    "no typ": signed(header(typ=...), payload()),
    "typ upper case": signed(header(typ="PC+JWT"), payload()),
    "no kid": signed(header(kid=...), payload()),
    "kid unknown": signed(header(kid="nobody"), payload()),
    "kid empty": signed(header(kid=""), payload(), b""),
    "kid null": signed(header(kid=None), payload()),
    "kid number": signed(header(kid=0), payload()),
    "kid list": signed(header(kid=[KEY.id]), payload()),
    "kid path": signed(header(kid="/dev/null"), payload(), b""),
    "kid path upwards": signed(header(kid=f"../{KEY.id}"), payload()),
    "kid SQL": signed(header(kid=f"{KEY.id}' or '1'='1"), payload()),
    "kid command": signed(header(kid=f"{KEY.id}; true"), payload()),
    "kid address": signed(header(kid="https://example.com/key"), payload()),
    "kid of another purpose": signed(
        header(kid=KEYS.current("credentials").id), payload(), KEYS.current("credentials").secret
    ),
    "kid twice": signed(twice(header(kid="nobody"), "kid", KEY.id), payload()),
    "jwk": signed(header(jwk={"kty": "oct", "k": encode(bytes(32))}), payload(), bytes(32)),
    "jwk, our signature": signed(header(jwk={"kty": "oct", "k": encode(KEY.secret)}), payload()),
    "jku": signed(header(jku="https://example.com/keys"), payload()),
    "x5u": signed(header(x5u="https://example.com/key"), payload()),
    "x5c": signed(header(x5c=["MII"]), payload()),
    "crit": signed(header(crit=["b64"], b64=True), payload()),
    "crit unknown": signed(header(crit=["exp"], exp=1), payload()),
    "crit empty": signed(header(crit=[]), payload()),
    "b64 false": signed(header(b64=False, crit=["b64"]), payload()),
    "zip": signed(header(zip="DEF"), payload()),
    "cty JWT, nested": signed(header(cty="JWT"), GOOD),
    "nested": signed(header(), GOOD),
    "nested in JSON": signed(header(), json.dumps(GOOD)),
    "header is a list": signed([header()], payload()),
    "header is no JSON": signed("{", payload()),
    "header is a text": signed('"HS256"', payload()),
    "header with a byte order mark": signed(b"\xef\xbb\xbf" + json.dumps(header()).encode(), payload()),
    "header is UTF-16": signed(json.dumps(header()).encode("utf-16"), payload()),
    # Payloads.
    "payload is a list": signed(header(), [payload()]),
    "payload is null": signed(header(), "null"),
    "payload is no JSON": signed(header(), "sub=1"),
    "payload is no UTF-8": signed(header(), b"\xff\xfe"),
    "payload is deep": signed(header(), "[" * 1400),
    "payload and more": signed(header(), json.dumps(payload()) + "{}"),
    **{f"no {name}": signed(header(), payload(**{name: ...})) for name in payload()},
    **{f"{name} null": signed(header(), payload(**{name: None})) for name in payload()},
    **{f"{name} list": signed(header(), payload(**{name: [value]})) for name, value in payload().items()},
    **{f"{name} twice": signed(header(), twice(payload(), name, value)) for name, value in payload().items()},
    "ws null": signed(header(), payload(ws=None)),
    "ws no id": signed(header(), payload(ws="*")),
    "scope null": signed(header(), payload(scope=None)),
    "scope text": signed(header(), payload(scope="prompt:read")),
    "scope of numbers": signed(header(), payload(scope=[1])),
    "unknown claim": signed(header(), payload(role="owner")),
    "other issuer": signed(header(), payload(iss="jupyterhub")),
    "other audience": signed(header(), payload(aud="else")),
    "several audiences": signed(header(), payload(aud=["promptcards", "else"])),
    "sub number": signed(header(), payload(sub=1)),
    "sub no id": signed(header(), payload(sub="admin")),
    "sub SQL": signed(header(), payload(sub=f"{USER}' or true --")),
    "sid no id": signed(header(), payload(sid="1")),
    "tv text": signed(header(), payload(tv="0")),
    "tv boolean": signed(header(), payload(tv=False)),
    "tv fraction": signed(header(), payload(tv=0.0)),
    "kind unknown": signed(header(), payload(kind="operator")),
    "exp text": signed(header(), payload(exp=str(EXPIRES))),
    "exp fraction": signed(header(), payload(exp=EXPIRES + 0.5)),
    "exp infinity": signed(header(), json.dumps(payload(exp=float("inf")))),
    "exp NaN": signed(header(), json.dumps(payload(exp=float("nan")))),
    "exp boolean": signed(header(), payload(exp=True)),
    "iat in the future": signed(header(), payload(iat=NOW + 43_200)),
    "iat text": signed(header(), payload(iat="now")),
    "nbf": signed(header(), payload(nbf=NOW)),
}

EXPIRED = {
    "just": payload(exp=NOW - tokens.LEEWAY_S - 1),
    "long ago": payload(iat=1, exp=2),
    "before it was issued": payload(exp=NOW - 60, iat=NOW),
    "below zero": payload(exp=-1),
    "zero": payload(exp=0),
}


def spelled_otherwise(last: str) -> str:
    """Return another last character of 32 bytes in base64, which leaves two bits unused."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return alphabet[alphabet.index(last) ^ 1]


def text_of(form: str | Callable[[], str]) -> str:
    return form if isinstance(form, str) else form()


def test_the_form_that_all_others_differ_from_is_taken() -> None:
    claims = tokens.verify(KEYS, GOOD)
    assert (claims.user_id, claims.session_id, claims.kind, claims.expires_at) == (USER, SESSION, "human", EXPIRES)
    assert claims.scopes is claims.workspace_id is None


def test_there_are_enough_forms() -> None:
    assert len(FORMS) + len(EXPIRED) >= 60


@pytest.mark.parametrize("form", FORMS)
def test_every_other_form_is_refused(form: str) -> None:
    with pytest.raises(Unauthenticated) as caught:
        tokens.verify(KEYS, text_of(FORMS[form]))
    assert caught.value.code == "token_invalid"


@pytest.mark.parametrize("form", EXPIRED)
def test_an_expired_token_is_refused_as_such(form: str) -> None:
    with pytest.raises(Unauthenticated) as caught:
        tokens.verify(KEYS, signed(header(), EXPIRED[form]))
    assert caught.value.code == "token_expired"


def test_that_a_token_has_expired_is_told_to_whoever_could_have_got_it_only() -> None:
    with pytest.raises(Unauthenticated) as caught:
        tokens.verify(KEYS, signed(header(), EXPIRED["just"], bytes(32)))
    assert caught.value.code == "token_invalid"


def test_clocks_may_differ_by_some_seconds() -> None:
    assert tokens.verify(KEYS, signed(header(), payload(exp=int(time.time()) - 2)))
    assert tokens.verify(KEYS, signed(header(), payload(iat=int(time.time()) + 5)))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"kind": "kernel", "lifetime_s": tokens.KERNEL_S, "workspace_id": WORKSPACE},
        {"kind": "job", "lifetime_s": 86_400, "scopes": frozenset({"prompt:read", "test:read"})},
        {"kind": "service", "scopes": frozenset()},
    ],
    ids=["human", "kernel", "job", "service"],
)
def test_what_is_issued_is_what_is_read(changes: dict[str, Any]) -> None:
    claims = tokens.verify(KEYS, tokens.issue(KEYS, USER, SESSION, 7, **changes))
    assert (claims.user_id, claims.session_id, claims.token_version) == (USER, SESSION, 7)
    assert claims.kind == changes.get("kind", "human")
    assert claims.scopes == changes.get("scopes")
    assert claims.workspace_id == changes.get("workspace_id")
    assert claims.expires_at - claims.issued_at == changes.get("lifetime_s", 600)


def test_a_token_with_every_scope_is_not_too_long() -> None:
    from server_ext.auth.permissions import expand_scopes

    every = expand_scopes(["owner"])
    text = tokens.issue(KEYS, USER, SESSION, 2**31 - 1, workspace_id=WORKSPACE, scopes=every)
    assert tokens.verify(KEYS, text).scopes == every


def test_each_token_has_an_id_of_its_own() -> None:
    made = {tokens.verify(KEYS, tokens.issue(KEYS, USER, SESSION, 0)).token_id for _ in range(10)}
    assert len(made) == 10


@pytest.mark.parametrize("lifetime_s", [0, -1])
def test_no_token_is_issued_for_no_time(lifetime_s: int) -> None:
    with pytest.raises(ValueError, match="no token"):
        tokens.issue(KEYS, USER, SESSION, 0, lifetime_s=lifetime_s)


def test_tokens_outlive_the_replacement_of_a_key_until_it_is_dropped() -> None:
    text = tokens.issue(KEYS, USER, SESSION, 0)
    rotated = KEYS.rotated("signing")
    assert tokens.verify(rotated, text).user_id == USER
    assert jwt.get_unverified_header(tokens.issue(rotated, USER, SESSION, 0))["kid"] == rotated.current("signing").id
    with pytest.raises(Unauthenticated):
        tokens.verify(rotated.without("signing", KEY.id), text)


def test_a_key_that_is_too_short_signs_and_verifies_nothing() -> None:
    short = Key("short", b"only-sixteen-byt")
    ring = KeyRing({"signing": (short,), "credentials": (short,), "audit": (short,)})
    with pytest.raises(Unauthenticated):
        tokens.verify(ring, signed(header(kid="short"), payload(), short.secret))


def test_no_error_quotes_the_token() -> None:
    for form in FORMS.values():
        with pytest.raises(Unauthenticated) as caught:
            tokens.verify(KEYS, text_of(form))
        assert str(caught.value) == "This access token is not good. Log in again."


@pytest.mark.parametrize("kind", ["pc+jwt", "PC+JWT", "application/pc+jwt"])
def test_a_token_that_says_that_it_is_ours_is_taken_for_ours(kind: str) -> None:
    assert tokens.looks_like_ours(signed(header(typ=kind, alg="none"), {}, b"x"))
    assert tokens.looks_like_ours(encode(json.dumps({"typ": kind})))


@pytest.mark.parametrize("text", ["", "a", "..", "secret", "0123456789abcdef" * 4, "=" * 9, "e30.e30.", "\ud800", "é"])
def test_what_says_nothing_is_somebody_elses(text: str) -> None:
    assert not tokens.looks_like_ours(text)


@pytest.mark.parametrize("head", [{"typ": "JWT"}, {"typ": None}, {"typ": ["pc+jwt"]}, [], "pc+jwt", None, 1])
def test_what_says_otherwise_is_somebody_elses(head: object) -> None:
    assert not tokens.looks_like_ours(f"{encode(json.dumps(head))}.e30.AAAA")


@given(st.one_of(st.text(), st.binary().map(encode), st.text(alphabet="[{\"'.", max_size=3000).map(encode)))
def test_whatever_it_is_asking_is_safe_and_verifying_refuses(text: str) -> None:
    assert not tokens.looks_like_ours(text)
    with pytest.raises(Unauthenticated):
        tokens.verify(KEYS, text)


@given(st.data())
def test_a_good_token_with_any_character_changed_is_refused(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(GOOD) - 1))
    other = data.draw(st.characters(min_codepoint=32, max_codepoint=126).filter(lambda c: c != GOOD[place]))
    with pytest.raises(Unauthenticated):
        tokens.verify(KEYS, GOOD[:place] + other + GOOD[place + 1 :])


def test_tokens_are_issued_in_few_places() -> None:
    root = Path(server_ext.__file__).parent
    callers = {
        str(path.relative_to(root)): text.count("tokens.issue(")
        for path in root.rglob("*.py")
        if "tokens.issue(" in (text := path.read_text("utf-8"))
    }
    assert callers == {"services/accounts.py": 1, "services/exchanges.py": 1, "services/logins.py": 1}
    assert [path.name for path in root.rglob("*.py") if "jwt.encode" in path.read_text("utf-8")] == ["tokens.py"]
