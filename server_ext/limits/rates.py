"""How many requests of which kind: the table of limits, and how an operator changes it."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace
from typing import Literal, get_args

from promptcard_ext.core.errors import SetupError

LimitName = Literal["anonymous", "login", "refresh", "authenticated", "export", "key_test", "invitation"]
# With PROMPTCARDS_LIMITS=authenticated=12000/60/1200,export=30/60
_SETTING = re.compile(r"(\w+)=(\d{1,9})/(\d{1,7})(?:/(\d{1,9}))?")
MAX_PERIOD_S = 7 * 86_400


@dataclass(frozen=True)
class Rate:
    """A number of requests in a time, spread evenly, of which some may come at once.

    In any period there are at most ``count + burst`` of them.
    """

    count: int
    period_s: float
    burst: int

    @property
    def interval_s(self) -> float:
        """Seconds after which one more is welcome."""
        return self.period_s / self.count

    def divided(self, by: int) -> Rate:
        """Return a part of it, at least one request."""
        return replace(self, count=max(1, self.count // by), burst=max(1, self.burst // by))


@dataclass(frozen=True)
class Limit:
    """What one kind of requests is held to.

    Attributes:
        closed: Whether there are none at all while Redis, which does the counting, is away.
        by_network: Whether the identity is an address, of which IPv6 counts by /64.
    """

    rate: Rate
    closed: bool = False
    by_network: bool = False


LIMITS: dict[LimitName, Limit] = {
    "anonymous": Limit(Rate(100, 900, burst=100), by_network=True),
    # An office shares an address; the accounts behind it have each their own limit, and a throttle in the database.
    "login": Limit(Rate(100, 900, burst=50), closed=True, by_network=True),
    # Every client that stays logged in comes once in ten minutes.
    "refresh": Limit(Rate(3000, 900, burst=300), by_network=True),
    "authenticated": Limit(Rate(6000, 60, burst=600)),
    "export": Limit(Rate(10, 60, burst=10), closed=True),
    "key_test": Limit(Rate(10, 3600, burst=10), closed=True),
    "invitation": Limit(Rate(60, 3600, burst=20), closed=True),
}


def limits_from(setting: str | None) -> dict[LimitName, Limit]:
    """Return the limits as ``PROMPTCARDS_LIMITS`` changes them.

    Args:
        setting: ``kind=requests/seconds/burst``, several with commas; without a burst, all may come at once.

    Raises:
        SetupError: It cannot be read as that (``limits_invalid``).
    """
    limits = dict(LIMITS)
    for part in (setting or "").replace(" ", "").split(","):
        if part:
            name, rate = _read(part)
            limits[name] = replace(limits[name], rate=rate)
    return limits


def _read(part: str) -> tuple[LimitName, Rate]:
    found = _SETTING.fullmatch(part)
    name = next((name for name in get_args(LimitName) if found and name == found[1]), None)
    if found and name:
        count, period_s, burst = int(found[2]), int(found[3]), int(found[4] or found[2])
        if min(count, period_s, burst) >= 1 and period_s <= MAX_PERIOD_S:
            return name, Rate(count, period_s, burst)
    raise SetupError(
        f"PROMPTCARDS_LIMITS has '{part:.60}', which is no limit.",
        hint=f"Write kind=requests/seconds/burst; kinds are {', '.join(LIMITS)}.",
        code="limits_invalid",
    )


def network_of(address: str) -> str:
    """Return what counts as one client: an IPv4 address, or the /64 of an IPv6 address.

    Example:
        >>> network_of("2001:db8::1:2:3:4"), network_of("::ffff:192.0.2.7")
        ('2001:db8::/64', '192.0.2.7')
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((parsed, 64), strict=False))
