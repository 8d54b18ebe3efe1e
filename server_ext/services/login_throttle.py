"""How often somebody may try to log in: counted in PostgreSQL, by account and by network, over all servers.

An account has 5 attempts at once, then one after 30 s, 60 s, 120 s and so on up to 15 minutes, and starts anew after a
good login or a day of rest. Networks have 30, then one a second up to one a minute. Nobody is locked out for good, and
an attempt that comes too early is not counted. The table of it is in migration 0003.
"""

from __future__ import annotations

import hmac
import ipaddress
import math
from typing import NamedTuple

import sqlalchemy as sa

from promptcard_ext.core.errors import RateLimited
from server_ext.db.engine import Database
from server_ext.keys import KeyRing

_ADMIT = sa.text("select pc.admit_login(:account, :network)")
_FORGIVE = sa.text("select pc.forgive_login(:account, :network)")


class Attempt(NamedTuple):
    """What an attempt is counted by: nothing that tells who it was.

    Attributes:
        network: None when it is not known.
    """

    account: bytes
    network: bytes | None


def attempt_of(keys: KeyRing, subject: str, address: str) -> Attempt:
    """Return by what an attempt to log in is counted.

    Args:
        subject: The e-mail address, as `identities.subject_of` returns it; there may be no such account.
        address: Of the client; empty when it is not known.
    """
    network = network_of(address)
    return Attempt(_hidden(keys, f"account {subject}"), _hidden(keys, f"network {network}") if network else None)


def admit(database: Database, attempt: Attempt) -> None:
    """Count an attempt, before the password is looked at and in a transaction of its own.

    Raises:
        RateLimited: It comes too early (``login_throttled``).
    """
    with database.transaction() as connection:
        wait_s: float = connection.execute(_ADMIT, attempt._asdict()).scalar_one()
    if wait_s > 0:
        raise RateLimited(
            "Too many attempts to log in.",
            hint=f"Try again in {math.ceil(wait_s)} s.",
            retry_after_s=wait_s,
            code="login_throttled",
        )


def forgive(connection: sa.Connection, attempt: Attempt) -> None:
    """Take note that an attempt was good."""
    connection.execute(_FORGIVE, attempt._asdict())


def network_of(address: str) -> str:
    """Return the /24 of an IPv4 address or the /56 of an IPv6 address; other texts, such as a socket's, are themselves.

    Example:
        >>> network_of("192.0.2.77"), network_of("2001:db8:1:203::7"), network_of("::ffff:192.0.2.7")
        ('192.0.2.0/24', '2001:db8:1:200::/56', '192.0.2.0/24')
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is None:
            return str(ipaddress.IPv6Network((parsed, 56), strict=False))
        parsed = parsed.ipv4_mapped
    return str(ipaddress.IPv4Network((parsed, 24), strict=False))


def _hidden(keys: KeyRing, text: str) -> bytes:
    """Return what stands for a text, and is of no use without our keys: there are few addresses to try."""
    key = hmac.digest(keys.current("signing").secret, b"promptcards login attempts", "sha256")
    return hmac.digest(key, text.encode("utf-8", "surrogatepass"), "sha256")
