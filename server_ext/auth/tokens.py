"""Our access tokens: JSON Web Tokens in one form only. What differs from it in anything is refused.

The rights of a user are not in them: those are read from the database for each request. A token says who it is for,
which session it belongs to, and what it is cut down to.
"""

from __future__ import annotations

import base64
import binascii
import json
import time
from dataclasses import dataclass
from typing import Any, Literal, get_args
from uuid import UUID, uuid4

import jwt
import msgspec
from msgspec import UNSET, Struct, UnsetType

from promptcard_ext.core.errors import Unauthenticated
from server_ext.auth.actor import Kind
from server_ext.keys import Key, KeyRing

TYPE = "pc+jwt"
ISSUER = AUDIENCE = "promptcards"
ALGORITHM = "HS256"
MAX_BYTES = 4096
LEEWAY_S = 10
ACCESS_S = 10 * 60
KERNEL_S = 15 * 60
_REQUIRED = ["iss", "aud", "sub", "iat", "exp", "jti", "sid", "tv", "kind"]
_OPTIONS: Any = {"require": _REQUIRED, "strict_aud": True, "enforce_minimum_key_length": True}


@dataclass(frozen=True)
class Claims:
    """What a good token says.

    Attributes:
        session_id: The session that it ends with.
        token_version: Of the user when it was issued; when the user's has gone up since, the token counts no more.
        workspace_id: The only workspace that it opens; None opens all of the user's.
        scopes: The only actions that it allows; None allows what the role does.
        expires_at: In seconds since 1970.
    """

    user_id: UUID
    session_id: UUID
    token_version: int
    kind: Kind
    token_id: str
    issued_at: int
    expires_at: int
    workspace_id: UUID | None = None
    scopes: frozenset[str] | None = None


class _Header(Struct, frozen=True, forbid_unknown_fields=True):
    alg: Literal["HS256"]
    typ: Literal["pc+jwt"]
    kid: str


class _Payload(Struct, frozen=True, forbid_unknown_fields=True):
    iss: Literal["promptcards"]
    aud: Literal["promptcards"]
    sub: UUID
    iat: int
    exp: int
    jti: str
    sid: UUID
    tv: int
    kind: Kind
    ws: UUID | UnsetType = UNSET
    scope: list[str] | UnsetType = UNSET


def issue(
    keys: KeyRing,
    user_id: UUID,
    session_id: UUID,
    token_version: int,
    *,
    kind: Kind = "human",
    lifetime_s: int = ACCESS_S,
    workspace_id: UUID | None = None,
    scopes: frozenset[str] | None = None,
) -> str:
    """Return a signed token. What it may be issued for is the caller's to check.

    Args:
        lifetime_s: Seconds until it expires, from now.
    """
    if kind not in get_args(Kind) or lifetime_s <= 0:
        raise ValueError(f"no token is issued for {kind!r} and {lifetime_s} s")
    now, key = int(time.time()), keys.current("signing")
    claims: dict[str, Any] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": str(user_id),
        "iat": now,
        "exp": now + lifetime_s,
        "jti": uuid4().hex,
        "sid": str(session_id),
        "tv": token_version,
        "kind": kind,
    }
    if workspace_id is not None:
        claims["ws"] = str(workspace_id)
    if scopes is not None:
        claims["scope"] = sorted(scopes)
    return jwt.encode(claims, key.secret, ALGORITHM, headers={"typ": TYPE, "kid": key.id})


def verify(keys: KeyRing, text: str) -> Claims:
    """Return the claims of a token that we have signed and that has not expired.

    Whether its session still goes on is for `services.sessions.check_session` to find out.

    Raises:
        Unauthenticated: It has expired (``token_expired``), or is not in every respect ours (``token_invalid``).
    """
    header, payload = _read(text)
    key = keys.find("signing", header.kid)
    if key is None:
        raise _invalid()
    _check_signature(text, key)
    return Claims(
        user_id=payload.sub,
        session_id=payload.sid,
        token_version=payload.tv,
        kind=payload.kind,
        token_id=payload.jti,
        issued_at=payload.iat,
        expires_at=payload.exp,
        workspace_id=None if payload.ws is UNSET else payload.ws,
        scopes=None if payload.scope is UNSET else frozenset(payload.scope),
    )


def looks_like_ours(text: str) -> bool:
    """Tell whether a bearer token says of itself that it is one of ours, good or bad; never raises.

    If it does, no other kind of credential must be looked for in its place.
    """
    try:
        if len(text) > 4 * MAX_BYTES:
            return False
        first = text.partition(".")[0]
        header = json.loads(base64.urlsafe_b64decode(first + "=" * (-len(first) % 4)))
        kind = header.get("typ") if isinstance(header, dict) else None
    except (ValueError, RecursionError):
        return False
    return isinstance(kind, str) and kind.lower().removeprefix("application/") == TYPE


def _read(text: str) -> tuple[_Header, _Payload]:
    """Return header and payload of a token whose signature is still to be checked, in our one form."""
    if len(text) > MAX_BYTES or not text.isascii() or text.count(".") != 2:
        raise _invalid()
    header, payload, signature = text.split(".")
    try:
        _decode(signature)
        read = (
            msgspec.convert(_strict_json(_decode(header)), _Header),
            msgspec.convert(_strict_json(_decode(payload)), _Payload),
        )
    except (ValueError, RecursionError):  # also json's, binascii's and msgspec's
        raise _invalid() from None
    return read


def _check_signature(text: str, key: Key) -> None:
    try:
        jwt.decode(text, key.secret, [ALGORITHM], options=_OPTIONS, audience=AUDIENCE, issuer=ISSUER, leeway=LEEWAY_S)
    except jwt.ExpiredSignatureError:
        raise Unauthenticated(
            "This access token has expired.", hint="Refresh it, or log in again.", code="token_expired"
        ) from None
    except jwt.PyJWTError:
        raise _invalid() from None


def _decode(segment: str) -> bytes:
    # Of all spellings of the same bytes one counts, so that two texts are never one token.
    try:
        raw = base64.b64decode(segment + "=" * (-len(segment) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != segment:
        raise ValueError("not canonical")
    return raw


def _strict_json(raw: bytes) -> Any:
    return json.loads(raw.decode("utf-8"), object_pairs_hook=_unique)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is there twice")
    return found


def _invalid() -> Unauthenticated:
    return Unauthenticated("This access token is not good.", hint="Log in again.", code="token_invalid")
