"""Where a workspace may call: the public internet, over TLS, and the private hosts that its owners allowed.

What is checked is what is connected to. A name is resolved once a connection; each of its addresses is looked at, and
the connection goes to one of them, so that no second answer of a name server can lead elsewhere. The engine's client
follows no redirects and takes no proxy from the environment.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import NoReturn

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from promptcard_ext.core.errors import ProviderError
from promptcard_ext.providers.address_ranges import Reach, reach_of
from promptcard_ext.providers.place import Place, place_of

HostPort = tuple[str, int]
_PORTS = (80, 443)
# Names that only an inner network knows; what they lead to is checked as well.
_INNER = (".localhost", ".local", ".internal", ".home.arpa", ".onion")


class Guard:
    """The limits of one workspace.

    Args:
        allowed: Private hosts with their ports, as `place.host_of` writes them. An entry also allows plain HTTP to
            that host, and any port of a public one.
        resolver: Asks for the addresses of a name; default: the system's.
    """

    def __init__(self, allowed: Iterable[HostPort] = (), resolver: AbstractResolver | None = None) -> None:
        self._allowed = frozenset(allowed)
        self._resolver = resolver

    def __eq__(self, other: object) -> bool:
        """Tell whether both let the same be called."""
        return isinstance(other, Guard) and (self._allowed, self._resolver) == (other._allowed, other._resolver)

    def __hash__(self) -> int:
        return hash(self._allowed)

    def check(self, url: str) -> Place:
        """Return the parts of a URL that may be called, as far as its text tells.

        Raises:
            ProviderError: It may not (``address_refused``).
        """
        place = place_of(url)
        if self._allows(place):
            if place.is_address:
                self._check_address(place, place.host)
            return place
        if place.scheme != "https":
            _refuse(place, "is called in plain text, which only allowed private hosts are")
        if place.port not in _PORTS:
            _refuse(place, f"is called at port {place.port}, and only 80 and 443 are open to all")
        if place.is_address:
            self._check_address(place, place.host)
        elif "." not in place.host or place.host.endswith(_INNER):
            _refuse(place, "is a name of an inner network", allowable=True)
        return place

    def connector(self, place: Place, keep_alive_s: float) -> aiohttp.TCPConnector:
        """Return the connections to one place, each to an address that was checked for it."""
        return aiohttp.TCPConnector(
            limit=0,
            use_dns_cache=False,
            keepalive_timeout=keep_alive_s,
            resolver=_Checked(self, place, self._resolver),
            socket_factory=lambda info: self._socket(place, info),
        )

    def _allows(self, place: Place) -> bool:
        return (place.host, place.port) in self._allowed

    def _check_address(self, place: Place, address: str) -> None:
        reach = reach_of(address)
        if reach is Reach.FORBIDDEN:
            _refuse(place)
        if reach is Reach.PRIVATE and not self._allows(place):
            _refuse(place, allowable=True)
        if reach is Reach.PUBLIC and place.scheme != "https":
            _refuse(place, "is on the internet, where plain text is not sent")

    def check_addresses(self, place: Place, found: Iterable[ResolveResult]) -> None:
        """Raise `ProviderError` (``address_refused``) unless every address of a name may be connected to."""
        for one in found:
            self._check_address(place, one["host"])

    def _socket(self, place: Place, info: aiohttp.AddrInfoType) -> socket.socket:
        """Return a socket for an address; the last look before the connection, whoever gave the address."""
        try:
            self._check_address(place, str(info[4][0]))
        except ProviderError as error:
            # Only an OSError ends the other attempts to connect in good order.
            raise OSError(error.message) from None
        return socket.socket(info[0], info[1], info[2])


class _Checked(AbstractResolver):
    """A resolver that gives no address which its place must not lead to."""

    def __init__(self, guard: Guard, place: Place, resolver: AbstractResolver | None) -> None:
        self._guard, self._place = guard, place
        self._resolver = resolver or aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a name.

        Raises:
            ProviderError: One of them is refused (``address_refused``).
        """
        found = await self._resolver.resolve(host, port, family)
        self._guard.check_addresses(self._place, found)
        return found

    async def close(self) -> None:
        """Do nothing: the resolver beneath belongs to the guard."""


def _refuse(
    place: Place, why: str = "leads to an address that is not on the internet", *, allowable: bool = False
) -> NoReturn:
    # The address behind a name is not told: whoever asks could map the inner network with the answers.
    raise ProviderError(
        f"'{place.host:.100}' must not be called: it {why}.",
        code="address_refused",
        sent=False,
        hint=f"An owner may allow {place.host:.100}, port {place.port}, in the workspace's network rules."
        if allowable
        else "Give a public address that speaks HTTPS, or let an owner allow a private one.",
    )
