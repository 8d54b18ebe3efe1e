"""Where an address leads. Python's own ``is_global`` does not tell: it is true for NAT64, 6to4 and cloud metadata."""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address
Networks = list[IPv4Network | IPv6Network]


class Reach(StrEnum):
    """Where an address leads.

    Attributes:
        PUBLIC: To the internet.
        PRIVATE: To this machine or its networks; a workspace may allow it for one host and port.
        FORBIDDEN: To metadata services, other neighbours on the link, tunnels, groups, or nowhere; never allowed.
    """

    PUBLIC = "public"
    PRIVATE = "private"
    FORBIDDEN = "forbidden"


# Looked at before the private ones: the metadata services of clouds, which hand out the machine's own credentials.
_METADATA: Networks = [
    IPv4Network("100.100.100.200/32"),  # Alibaba
    IPv4Network("168.63.129.16/32"),  # Azure's host
    IPv6Network("fd00:ec2::/32"),  # AWS
    IPv6Network("fd20:ce::/32"),  # Google
]
_PRIVATE: Networks = [
    IPv4Network("10.0.0.0/8"),
    IPv4Network("100.64.0.0/10"),  # carrier-grade NAT, and Tailscale
    IPv4Network("127.0.0.0/8"),
    IPv4Network("172.16.0.0/12"),
    IPv4Network("192.168.0.0/16"),
    IPv6Network("::1/128"),
    IPv6Network("fc00::/7"),
]
_FORBIDDEN: Networks = [
    IPv4Network("0.0.0.0/8"),
    IPv4Network("169.254.0.0/16"),  # link-local; metadata of most clouds
    IPv4Network("192.0.0.0/24"),  # protocol assignments; metadata of Oracle's cloud
    IPv4Network("192.0.2.0/24"),  # documentation, as are two below
    IPv4Network("192.88.99.0/24"),  # 6to4 relays
    IPv4Network("198.18.0.0/15"),  # benchmarks
    IPv4Network("198.51.100.0/24"),
    IPv4Network("203.0.113.0/24"),
    IPv4Network("224.0.0.0/4"),  # multicast
    IPv4Network("240.0.0.0/4"),  # reserved, and broadcast
    IPv6Network("2001::/23"),  # Teredo and other protocol assignments
    IPv6Network("2001:db8::/32"),  # documentation
    IPv6Network("2002::/16"),  # 6to4
    IPv6Network("3fff::/20"),  # documentation
]
# All that is routed on the internet. Outside of it are, among others, NAT64 (64:ff9b::/96, 64:ff9b:1::/48), addresses
# that embed an IPv4 address (::/96), discard-only, link-local, site-local and multicast ones.
_UNICAST = IPv6Network("2000::/3")
_MAPPED = IPv6Network("::ffff:0:0/96")


@lru_cache(maxsize=1024)
def reach_of(text: str) -> Reach:
    """Return where an address leads; an IPv4 address that is mapped into IPv6 counts as what it is.

    Args:
        text: As the resolver gives it, possibly with a zone (``fe80::1%eth0``).

    Example:
        >>> reach_of("8.8.8.8"), reach_of("::ffff:10.0.0.1"), reach_of("64:ff9b::7f00:1")
        (<Reach.PUBLIC: 'public'>, <Reach.PRIVATE: 'private'>, <Reach.FORBIDDEN: 'forbidden'>)
    """
    try:
        address: Address = ip_address(text)
    except ValueError:
        return Reach.FORBIDDEN
    if isinstance(address, IPv6Address) and address in _MAPPED:
        address = IPv4Address(int(address) & 0xFFFFFFFF)
    if _within(address, _METADATA):
        return Reach.FORBIDDEN
    if _within(address, _PRIVATE):
        return Reach.PRIVATE
    if _within(address, _FORBIDDEN) or (isinstance(address, IPv6Address) and address not in _UNICAST):
        return Reach.FORBIDDEN
    return Reach.PUBLIC


def _within(address: Address, networks: Networks) -> bool:
    return any(address in network for network in networks if network.version == address.version)
