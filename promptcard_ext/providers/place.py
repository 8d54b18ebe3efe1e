"""The address of an endpoint, read so strictly that nobody else can read it differently."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from promptcard_ext.core.errors import ProviderError

MAX_URL = 2000
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>(?:/(?:[a-z0-9._~!$&'()*+,;=:-]|%[0-9a-f]{2})*)*)",
    re.IGNORECASE | re.ASCII,
)
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.ASCII)
# How browsers and resolvers tell a number from a name: by the last label.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_DEFAULT_PORT = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Place:
    """Where calls go.

    Attributes:
        scheme: ``http`` or ``https``.
        host: A name in lower case, or an address in its usual form, without brackets.
        path: Without a slash at the end.
    """

    scheme: str
    host: str
    port: int
    path: str = ""

    @property
    def origin(self) -> str:
        """Scheme, host and port: what a key is given to."""
        return f"{self.scheme}://{self._bracketed}:{self.port}"

    @property
    def url(self) -> str:
        """The whole address, in the one way we write it."""
        port = "" if self.port == _DEFAULT_PORT[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self._bracketed}{port}{self.path}"

    @property
    def is_address(self) -> bool:
        """Whether the host is an address and no name."""
        return is_address(self.host)

    @property
    def _bracketed(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


def place_of(url: str) -> Place:
    """Return the parts of a URL.

    Raises:
        ProviderError: It is no plain web address (``address_refused``): another scheme, a name and password, a query,
            a fragment, a host that is not ASCII or an IP address in an unusual form, a port above 65535.

    Example:
        >>> place_of("https://API.openai.com/v1/").url
        'https://api.openai.com/v1'
    """
    found = _URL.fullmatch(url) if len(url) <= MAX_URL else None
    if found is None:
        raise _refused(
            f"{url!r:.100} is not a plain web address.",
            "Write https://HOST/PATH or https://HOST:PORT/PATH, without name, password, query, fragment or spaces.",
        )
    scheme = found["scheme"].lower()
    path = found["path"].rstrip("/")
    if any(part in (".", "..") or "%2e" in part.lower() for part in path.split("/")):
        raise _refused(f"The path of {url!r:.100} goes up.", "Write the path that is meant.")
    return Place(scheme, host_of(found["host"]), port_of(found["port"] or _DEFAULT_PORT[scheme]), path)


def host_of(text: str) -> str:
    """Return a host in its one form: a name in lower case, or an IP address; brackets are optional here.

    Raises:
        ProviderError: It is neither (``address_refused``).
    """
    host = text.lower()
    if host.startswith("[") or ":" in host:
        return _address(host.removeprefix("[").removesuffix("]"), IPv6Address, text)
    if is_number(host):
        return _address(host, IPv4Address, text)
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in host.split(".")):
        raise _refused(f"{text!r:.100} is not the name of a host.", "Write it in ASCII, without a dot at the end.")
    return host


def port_of(number: str | int) -> int:
    """Return a port.

    Raises:
        ProviderError: There is none of that number (``address_refused``).
    """
    port = int(number)
    if not 1 <= port <= 65535:
        raise _refused(f"{port} is not a port.", "Ports are 1 to 65535.")
    return port


def is_address(host: str) -> bool:
    """Tell whether a host, as `host_of` writes it, is an IP address and no name."""
    return ":" in host or is_number(host)


def is_number(host: str) -> bool:
    """Tell whether resolvers read ``host`` as an IPv4 address, in whatever form."""
    return _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]) is not None


def _address(host: str, kind: type[IPv4Address | IPv6Address], text: str) -> str:
    try:
        return str(kind(host))
    except ValueError:
        raise _refused(
            f"{text!r:.100} is an IP address in an unusual form.", "Write it as 192.0.2.1 or [2001:db8::1]."
        ) from None


def _refused(message: str, hint: str) -> ProviderError:
    return ProviderError(message, code="address_refused", hint=hint, sent=False)
