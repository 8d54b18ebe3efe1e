"""Our access tokens: short-lived JWTs that say who asks, and nothing of what they may do.

One algorithm, keys by id from a fixed ring, every claim required. What the token allows is looked up when it is used:
a role that was taken away is gone at once.
"""

from __future__ import annotations

import time
from base64 import urlsafe_b64decode
from dataclasses import dataclass
from typing import Any, get_args
from uuid import UUID, uuid4

import jwt
import msgspec

from promptcard_ext.core.errors import Unauthenticated
from server_ext.auth.actor import Kind
from server_ext.auth.permissions import ACTIONS
from server_ext.keys import KeyRing

ALGORITHM = "HS256"
TYPE = "pc+jwt"
ISSUER = AUDIENCE = "promptcards"
MAX_BYTES = 4096
LEEWAY_S = 10
ACCESS_S = 600
KERNEL_S = 900
_REQUIRED = ["exp", "iat", "sub", "aud", "iss", "jti", "sid", "tv", "kind"]


@dataclass(frozen=True)
class Claims:
    """What a token says.

    Attributes:
        user_id: Whose it is.
        session_id: The session that it belongs to, and ends with.
        token_version: Of the user, when it was made; a change of password counts it up.
        scopes: The only actions that it allows; None allows what the role does.
        workspace_id: The only workspace that it opens; None opens all of the user's.
        expires_at: Seconds since 1970.
    """

    user_id: UUID
    session_id: UUID
    token_version: int
    kind: Kind
    expires_at: int
    scopes: frozenset[str] | None = None
    workspace_id: UUID | None = None


def issue(keys: KeyRing, claims: Claims) -> str:
    """Return a token that says ``claims``, signed with the current key."""
    key = keys.current("signing")
    payload: dict[str, Any] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": str(claims.user_id),
        "iat": int(time.time()),
        "exp": claims.expires_at,
        "jti": uuid4().hex,
        "sid": str(claims.session_id),
        "tv": claims.token_version,
        "kind": claims.kind,
    }
    if claims.scopes is not None:
        payload["scope"] = sorted(claims.scopes)
    if claims.workspace_id is not None:
        payload["ws"] = str(claims.workspace_id)
    return jwt.encode(payload, key.secret, ALGORITHM, headers={"typ": TYPE, "kid": key.id})


def verify(keys: KeyRing, text: str) -> Claims:
    """Return what a token says, when it is ours and has not expired.

    Raises:
        Unauthenticated: It is not (``token_invalid``), or not any more (``token_expired``). Why is not told: that
            would help only whoever tries to forge one.
    """
    try:
        header = _header(text)
        key = keys.find("signing", header["kid"])
        if key is None or header["typ"] != TYPE or header["alg"] != ALGORITHM or "crit" in header:
            raise _invalid()
        payload = jwt.decode(
            text,
            key.secret,
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            issuer=ISSUER,
            leeway=LEEWAY_S,
            options={"require": _REQUIRED, "strict_aud": True, "enforce_minimum_key_length": True},
        )
        return _claims(payload)
    except jwt.ExpiredSignatureError:
        raise Unauthenticated("This token has expired.", hint="Get a new one.", code="token_expired") from None
    except (jwt.PyJWTError, ValueError, KeyError, TypeError, RecursionError):
        raise _invalid() from None


def looks_like_ours(text: str) -> bool:
    """Tell whether a bearer token says of itself that it is one of ours; whether that is true is for `verify`."""
    try:
        return bool(_header(text)["typ"] == TYPE)
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def _header(text: str) -> dict[str, str]:
    """Return the header of a token as it stands there: an object of texts, and not a long one."""
    if len(text) > MAX_BYTES or not text.isascii() or text.count(".") != 2:
        raise ValueError
    encoded = text.partition(".")[0]
    raw = urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
    return msgspec.json.decode(raw, type=dict[str, str])


def _claims(payload: dict[str, Any]) -> Claims:
    kind, scopes, workspace = payload["kind"], payload.get("scope"), payload.get("ws")
    if kind not in get_args(Kind) or type(payload["tv"]) is not int or type(payload["exp"]) is not int:
        raise ValueError
    if scopes is not None and not (isinstance(scopes, list) and all(scope in ACTIONS for scope in scopes)):
        raise ValueError
    return Claims(
        user_id=UUID(payload["sub"]),
        session_id=UUID(payload["sid"]),
        token_version=payload["tv"],
        kind=kind,
        expires_at=payload["exp"],
        scopes=None if scopes is None else frozenset(scopes),
        workspace_id=None if workspace is None else UUID(workspace),
    )


def _invalid() -> Unauthenticated:
    return Unauthenticated("This token is not good.", hint="Log in again.", code="token_invalid")
