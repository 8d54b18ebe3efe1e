"""Passwords: what may be one, and argon2id for few at once: each takes 46 MiB and a good part of a processor."""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager

import argon2

from promptcard_ext.core.errors import CardError, Unavailable

MIN_CHARACTERS = 12
MAX_BYTES = 1024
# One of OWASP's choices: 46 MiB, one pass, one lane; about 75 ms.
_HASHER = argon2.PasswordHasher(time_cost=1, memory_cost=47_104, parallelism=1)
# Of a password that nobody knows. A test sees to it that it costs what new ones do.
NOBODYS_HASH = "$argon2id$v=19$m=47104,t=1,p=1$dfRBEEXlPgrnsY8DKB+iBA$hHuRtzErl1WvVPChIQS+Qlzx13K+0GTrueEIvOkhrzA"
AT_ONCE = 2
# They wait in threads that serve other requests too; what waits longer than this is better off trying again.
MAX_WAITING = 4
MAX_WAIT_S = 10.0


class Gate:
    """Lets a few in at once, and a few more wait.

    Args:
        at_once: How many are in.
        max_waiting: How many wait; all others are sent away at once.
    """

    def __init__(self, at_once: int, max_waiting: int, max_wait_s: float = MAX_WAIT_S) -> None:
        self._inside = threading.BoundedSemaphore(at_once)
        self._places = threading.BoundedSemaphore(at_once + max_waiting)
        self._max_wait_s = max_wait_s

    @contextmanager
    def passed(self) -> Iterator[None]:
        """Hold a place.

        Raises:
            Unavailable: Too many wait, or it took too long (``login_busy``).
        """
        if not self._places.acquire(blocking=False):
            raise _busy()
        try:
            if not self._inside.acquire(timeout=self._max_wait_s):
                raise _busy()
            try:
                yield
            finally:
                self._inside.release()
        finally:
            self._places.release()


gate = Gate(AT_ONCE, MAX_WAITING)


def check_new(password: str, *, email: str = "", name: str = "") -> None:
    """Refuse what is no good as a password.

    Raises:
        CardError: It has fewer than 12 characters or more than 1,024 bytes, is no text, or is the user's e-mail or
            name (``password_refused``).
    """
    if _bytes(password) is None:
        raise _too_long()
    if len(unicodedata.normalize("NFC", password)) < MIN_CHARACTERS:
        raise _refused(f"has fewer than {MIN_CHARACTERS} characters")
    plain = password.strip().casefold()
    if plain in {email.casefold(), email.partition("@")[0].casefold(), name.strip().casefold()}:
        raise _refused("is the user's own e-mail or name")
    if len(set(plain)) < 3:
        raise _refused("is hardly more than one character over and over")


def hash_password(password: str) -> str:
    """Return what is stored of a password.

    Raises:
        CardError: It is longer than 1,024 bytes (``password_refused``).
        Unavailable: Too many passwords are being checked (``login_busy``).
    """
    raw = _bytes(password)
    if raw is None:
        raise _too_long()
    with gate.passed():
        return _HASHER.hash(raw)


def verify(stored: str | None, password: str) -> bool:
    """Tell whether a password is the one of which ``stored`` is left; costs the same when there is none.

    Raises:
        Unavailable: Too many passwords are being checked (``login_busy``).
    """
    raw = _bytes(password)
    against = NOBODYS_HASH if stored is None or raw is None else stored
    with gate.passed():
        try:
            _HASHER.verify(against, raw or b"")
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return False
    return against is stored


def needs_rehash(stored: str) -> bool:
    """Tell whether a stored hash was made with other parameters than new ones are."""
    return _HASHER.check_needs_rehash(stored)


def _bytes(password: str) -> bytes | None:
    """Return a password's bytes, the same for the same characters; None when it cannot be one."""
    # Before anything that takes time in proportion to it.
    if len(password) > MAX_BYTES:
        return None
    try:
        raw = unicodedata.normalize("NFC", password).encode()
    except UnicodeEncodeError:
        return None
    return raw if len(raw) <= MAX_BYTES else None


def _too_long() -> CardError:
    return _refused(f"has more than {MAX_BYTES:,} bytes, or characters that are none")


def _refused(why: str) -> CardError:
    return CardError(
        f"This password {why}.",
        hint=f"Take {MIN_CHARACTERS} or more characters that nobody guesses, such as several words.",
        code="password_refused",
    )


def _busy() -> Unavailable:
    return Unavailable("Too many passwords are being checked.", hint="Try again in a moment.", code="login_busy")
