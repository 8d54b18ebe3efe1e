"""The secrets of an installation: one ring of keys for each purpose.

The first key of a ring is the one that signs and encrypts; those behind it still verify and decrypt, so that a key can
be replaced while everything runs. Servers and workers of one installation share the file.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import tempfile
from base64 import b64decode, b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from promptcard_ext.core.errors import SetupError

Purpose = Literal["signing", "credentials", "audit"]
log = logging.getLogger("promptcards")
PURPOSES: tuple[Purpose, ...] = ("signing", "credentials", "audit")
MIN_BYTES = 32


@dataclass(frozen=True)
class Key:
    """A secret with a name. Its repr does not show the secret.

    Attributes:
        id: What tokens and rows name it by (``kid``).
        secret: At least 32 bytes.
    """

    id: str
    secret: bytes

    def __repr__(self) -> str:
        return f"Key({self.id!r})"


class KeyRing:
    """Keys by purpose.

    Args:
        keys: For each purpose, the newest key first; none may be missing.
        path: The file that they are from. When it changes, so does the ring: keys are replaced while servers run.
    """

    def __init__(self, keys: dict[Purpose, tuple[Key, ...]], path: Path | None = None) -> None:
        self._known, self._path = keys, path
        self._stamp = _stamp(path)

    @property
    def _keys(self) -> dict[Purpose, tuple[Key, ...]]:
        # To look at the file's times takes two microseconds.
        if self._path is not None and (stamp := _stamp(self._path)) not in (None, self._stamp):
            self._stamp = stamp
            try:
                self._known = _read(self._path)
            except (SetupError, OSError) as error:
                # Half of an edit by hand: what was good a moment ago still is, until the file changes again.
                log.warning("The keys stay as they were: %s", error)
        return self._known

    def current(self, purpose: Purpose) -> Key:
        """Return the key that signs or encrypts."""
        return self._keys[purpose][0]

    def find(self, purpose: Purpose, key_id: str) -> Key | None:
        """Return the key of this id, or None when the ring has dropped it or never had it."""
        return next((key for key in self._keys[purpose] if key.id == key_id), None)

    def ids(self, purpose: Purpose) -> list[str]:
        """Return the ids of all keys, the current one first."""
        return [key.id for key in self._keys[purpose]]

    def rotated(self, purpose: Purpose) -> KeyRing:
        """Return a ring in which a new key is the current one and all others still count."""
        return KeyRing({**self._keys, purpose: (new_key(), *self._keys[purpose])})

    def without(self, purpose: Purpose, key_id: str) -> KeyRing:
        """Return a ring that has dropped a key.

        Raises:
            SetupError: It is the current one, or there is none of this id (``key_unknown``).
        """
        if key_id == self.current(purpose).id or self.find(purpose, key_id) is None:
            raise SetupError(
                f"Key '{key_id:.60}' for {purpose} cannot be dropped: it is not an old key of this ring.",
                hint=f"Old keys are: {', '.join(self.ids(purpose)[1:]) or 'none'}.",
                code="key_unknown",
            )
        return KeyRing({**self._keys, purpose: tuple(k for k in self._keys[purpose] if k.id != key_id)})

    def save(self, path: Path) -> None:
        """Write the ring, readable by this user only; whoever reads meanwhile sees the old ring or the new one."""
        text = json.dumps({purpose: [_as_json(key) for key in keys] for purpose, keys in self._keys.items()}, indent=1)
        handle, name = tempfile.mkstemp(prefix=".keys-", dir=path.parent)  # mode 0600
        try:
            with os.fdopen(handle, "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def new_key() -> Key:
    """Return a key that nobody has seen."""
    return Key(secrets.token_hex(6), secrets.token_bytes(MIN_BYTES))


def new_ring() -> KeyRing:
    """Return a ring with one key for each purpose."""
    return KeyRing({purpose: (new_key(),) for purpose in PURPOSES})


def load_ring(path: Path) -> KeyRing:
    """Return the ring of a file; makes the file when there is none.

    Raises:
        SetupError: The file is not a ring, others may read it, or a key is too short (``keys_invalid``).
    """
    try:
        return KeyRing(_read(path), path)
    except FileNotFoundError:
        return _made(path)
    except OSError as error:
        raise _invalid(path, f"cannot be read: {error.strerror}") from None


def _made(path: Path) -> KeyRing:
    """Make the file unless another process has just done so; then its ring counts."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}-{secrets.token_hex(6)}")
    new_ring().save(draft)
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return KeyRing(_read(path), path)


def _stamp(path: Path | None) -> tuple[int, int, int] | None:
    """Return what tells one content of a file from the next; None when there is no file."""
    try:
        found = path.stat() if path is not None else None
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_ino, found.st_size) if found is not None else None


def _read(path: Path) -> dict[Purpose, tuple[Key, ...]]:
    if path.stat().st_mode & 0o077:
        raise _invalid(path, "may be read by others: its mode must be 0600")
    try:
        document = json.loads(path.read_text("utf-8"))
        keys = {purpose: tuple(_as_keys(document[purpose])) for purpose in PURPOSES}
    except (ValueError, KeyError, TypeError):
        raise _invalid(path, "is not a ring of keys") from None
    for purpose, ring in keys.items():
        if not ring or any(len(key.secret) < MIN_BYTES for key in ring):
            raise _invalid(path, f"has no key for {purpose}, or one shorter than {MIN_BYTES} bytes")
    return keys


def _as_keys(entries: Iterable[Any]) -> Iterable[Key]:
    for entry in entries:
        yield Key(str(entry["id"]), b64decode(entry["secret"], validate=True))


def _as_json(key: Key) -> dict[str, str]:
    return {"id": key.id, "secret": b64encode(key.secret).decode()}


def _invalid(path: Path, what: str) -> SetupError:
    return SetupError(
        f"The key file {path} {what}.",
        hint="Put back the file that this installation was made with; 'jupyter promptcards keys' makes a new one.",
        code="keys_invalid",
    )
