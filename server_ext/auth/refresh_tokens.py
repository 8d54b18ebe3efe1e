"""Refresh tokens: each is good once and has one successor, which is made from it and a key of ours.

The database knows hashes only. A successor that did not arrive can be made again from the token that it came after, and
every token that we ever handed out can be told from one that somebody made up: a tag in the secret says so.
"""

from __future__ import annotations

import hmac
import secrets
from uuid import UUID

from server_ext.auth.opaque import SECRET_BYTES, OpaqueToken, read_token
from server_ext.keys import Key, KeyRing

PREFIX = "pcr_"
_HALF = SECRET_BYTES // 2


def first(key: Key, user_id: UUID, session_id: UUID) -> OpaqueToken:
    """Return the first token of a session."""
    return _tagged(key, user_id, session_id, secrets.token_bytes(_HALF))


def successor(key: Key, token: OpaqueToken) -> OpaqueToken:
    """Return the token that comes after another; the same each time."""
    return _tagged(key, token.place, token.id, _digest(key, b"next", token.secret)[:_HALF])


def is_genuine(keys: KeyRing, token: OpaqueToken) -> bool:
    """Tell whether we made a token for this very session, with a key that still counts; it may be long superseded."""
    ring = filter(None, (keys.find("signing", key_id) for key_id in keys.ids("signing")))
    made = [_tagged(key, token.place, token.id, token.secret[:_HALF]).secret for key in ring]
    return any(hmac.compare_digest(secret, token.secret) for secret in made)


def read(text: str) -> OpaqueToken | None:
    """Return the token that a text spells, with the user as its place and the session as its id; None for none."""
    return read_token(PREFIX, text)


def _tagged(key: Key, user_id: UUID, session_id: UUID, half: bytes) -> OpaqueToken:
    tag = _digest(key, b"tag", user_id.bytes + session_id.bytes + half)[:_HALF]
    return OpaqueToken(user_id, session_id, half + tag)


def _digest(key: Key, use: bytes, data: bytes) -> bytes:
    own = hmac.digest(key.secret, b"promptcards refresh " + use, "sha256")
    return hmac.digest(own, data, "sha256")
