"""Secrets that we must be able to use again, sealed so that they open only where they belong."""

from __future__ import annotations

import os
from typing import NamedTuple
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from promptcard_ext.core.errors import SetupError
from server_ext.keys import KeyRing

NONCE_BYTES = 12


class Sealed(NamedTuple):
    """A secret that is safe to store.

    Attributes:
        key_id: Which key of the ring opens it.
        data: A nonce that is never used again, and the ciphertext with its tag.
    """

    key_id: str
    data: bytes


def binding(workspace_id: UUID, credential_id: UUID, revision: int, origin: str) -> bytes:
    """Return what a sealed key is bound to; it opens nowhere else.

    Args:
        revision: Goes up with each key, so that an older one put back does not open.
        origin: Scheme, host and port that the key is for.
    """
    # Everything but the last part has a fixed length, so that no two bindings read the same.
    return workspace_id.bytes + credential_id.bytes + revision.to_bytes(8, "big") + origin.encode()


def seal(keys: KeyRing, secret: str, bound_to: bytes) -> Sealed:
    """Return ``secret`` sealed under the current key with AES-256-GCM."""
    key = keys.current("credentials")
    nonce = os.urandom(NONCE_BYTES)
    return Sealed(key.id, nonce + AESGCM(key.secret[:32]).encrypt(nonce, secret.encode(), bound_to))


def unseal(keys: KeyRing, sealed: Sealed, bound_to: bytes) -> str:
    """Return the secret.

    Raises:
        SetupError: The ring has lost its key, or it was sealed for something else (``credential_unreadable``).
    """
    key = keys.find("credentials", sealed.key_id)
    if key is None:
        raise _unreadable(f"the key file has no key '{sealed.key_id:.40}' (any more)")
    nonce, ciphertext = sealed.data[:NONCE_BYTES], sealed.data[NONCE_BYTES:]
    try:
        return AESGCM(key.secret[:32]).decrypt(nonce, ciphertext, bound_to).decode()
    except (InvalidTag, ValueError):
        raise _unreadable("it was sealed for another place, or changed") from None


def _unreadable(why: str) -> SetupError:
    return SetupError(
        f"A stored provider key cannot be opened: {why}.",
        hint="Enter the provider's key anew, or put back the key file that it was saved with.",
        code="credential_unreadable",
    )
