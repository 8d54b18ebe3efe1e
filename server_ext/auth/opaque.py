"""Tokens that mean something only to the database: where their row is, and a secret of which it knows the hash."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from uuid import UUID

SECRET_BYTES = 32
_BYTES = 16 + 16 + SECRET_BYTES


@dataclass(frozen=True)
class OpaqueToken:
    """What such a token is made of. Its repr does not show the secret.

    Attributes:
        place: The workspace or user whose rows the token's own is among.
        id: Id of that row.
        secret: 32 random bytes.
    """

    place: UUID
    id: UUID
    secret: bytes

    @property
    def hash(self) -> bytes:
        """What is stored in place of the secret; a random one of 256 bits needs no slow hash."""
        return hashlib.sha256(self.secret).digest()

    def fits(self, stored: bytes | None) -> bool:
        """Tell whether the secret is the one of which ``stored`` is the hash; takes as long for None."""
        return hmac.compare_digest(self.hash, bytes(SECRET_BYTES) if stored is None else stored) and stored is not None

    def text(self, prefix: str) -> str:
        """Return the token as it is handed out: ``prefix``, then base64url without padding."""
        return prefix + _encode(self.place.bytes + self.id.bytes + self.secret)

    def __repr__(self) -> str:
        return f"OpaqueToken({self.place}, {self.id})"


def new_token(place: UUID, row_id: UUID) -> OpaqueToken:
    """Return a token for a row that is about to be made."""
    return OpaqueToken(place, row_id, secrets.token_bytes(SECRET_BYTES))


def read_token(prefix: str, text: str) -> OpaqueToken | None:
    """Return the token that a text spells, or None when it spells none.

    Example:
        >>> made = new_token(UUID(int=1), UUID(int=2))
        >>> read_token("pct_", made.text("pct_")) == made
        True
        >>> read_token("pct_", made.text("pci_")) is None
        True
    """
    if not text.startswith(prefix) or not text.isascii():
        return None
    encoded = text[len(prefix) :]
    try:
        raw = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    # The last character has bits to spare: of the texts that differ only there, one counts.
    if len(raw) != _BYTES or _encode(raw) != encoded:
        return None
    return OpaqueToken(UUID(bytes=raw[:16]), UUID(bytes=raw[16:32]), raw[32:])


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
