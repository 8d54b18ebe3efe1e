"""Where an Ollama is, in its own notation."""

from __future__ import annotations

OLLAMA_URL = "http://127.0.0.1:11434"


def address(host: str) -> str:
    """Return the URL for a value of ``OLLAMA_HOST``.

    That is also what the server listens on: a bare host, host:port or :port, or an address for "everywhere".

    Example:
        >>> address(":1234"), address("0.0.0.0")
        ('http://127.0.0.1:1234', 'http://127.0.0.1:11434')
    """
    bare = "://" not in host
    scheme, _, rest = (f"http://{host}" if bare else host).partition("://")
    netloc, slash, path = rest.rstrip("/").partition("/")
    user, at, place = netloc.rpartition("@")
    has_port = place.rpartition(":")[2].isdigit() and not place.endswith("]")
    name, port = (place.rpartition(":")[0], place.rpartition(":")[2]) if has_port else (place, "11434" if bare else "")
    name = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(name, name)  # noqa: S104
    return f"{scheme}://{user}{at}{name}{':' if port else ''}{port}{slash}{path}"
