"""Finding the server: a kernel knows the Jupyter server that started it, so nobody logs in a second time."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from promptcard_ext.core.errors import Unavailable

HUB_SERVICE = "promptcards"
"""What the service of a JupyterHub is called unless `PROMPTCARDS_URL` says otherwise."""


class Address(NamedTuple):
    """Where a server is and how to be let in. Its repr does not show the token.

    Attributes:
        url: Base URL of the Jupyter server, with a slash at the end.
        token: Token of Jupyter or JupyterHub, or one of ours; may be empty.
    """

    url: str
    token: str

    def __repr__(self) -> str:
        return f"Address({self.url!r})"


def find_server() -> Address:
    """Return the server to use.

    In this order: ``PROMPTCARDS_URL`` (with ``PROMPTCARDS_TOKEN``), the service of the JupyterHub that started this
    kernel's server, the Jupyter server that started this kernel, the youngest Jupyter server of this user.

    Raises:
        Unavailable: There is none (``server_not_found``).
    """
    url = os.environ.get("PROMPTCARDS_URL")
    if url:
        return Address(url.rstrip("/") + "/", os.environ.get("PROMPTCARDS_TOKEN") or _hub_token(url))
    on_hub = _hub_service()
    if on_hub is not None:
        return on_hub
    for record in _records():
        address = _read(record)
        if address is not None:
            return address
    raise Unavailable(
        "No Prompt Cards server was found.",
        hint="Open one with 'jupyter promptcards lab', or set PROMPTCARDS_URL; promptcard_ext.run() works without one.",
        code="server_not_found",
    )


def _hub_service() -> Address | None:
    """Return the service of the Hub; None elsewhere, and on a Hub that does not know its own public address."""
    hub = os.environ.get("JUPYTERHUB_PUBLIC_HUB_URL", "").rstrip("/")
    token = os.environ.get("JUPYTERHUB_API_TOKEN", "")
    if not token or not hub.endswith("/hub"):
        return None
    return Address(f"{hub.removesuffix('hub')}services/{HUB_SERVICE}/", token)


def _hub_token(url: str) -> str:
    """Return the Hub's token for one of the Hub's services; nobody else gets it."""
    services = os.environ.get("JUPYTERHUB_BASE_URL", "/").rstrip("/") + "/services/"
    try:
        path = urlsplit(url).path
    except ValueError:
        return ""
    return os.environ.get("JUPYTERHUB_API_TOKEN", "") if path.startswith(services) else ""


def _records() -> Iterator[Path]:
    from jupyter_core.paths import jupyter_runtime_dir

    folder = Path(jupyter_runtime_dir())
    parent = os.environ.get("JPY_PARENT_PID", "")
    if parent.isdecimal():
        yield folder / f"jpserver-{parent}.json"
    if folder.is_dir():
        yield from sorted(folder.glob("jpserver-*.json"), key=_age)


def _age(path: Path) -> float:
    try:
        return -path.stat().st_mtime
    except OSError:
        return 0.0


def _read(path: Path) -> Address | None:
    """Return the address in a server's record, or None when it is gone or its server is dead."""
    try:
        record = json.loads(path.read_text("utf-8"))
        os.kill(int(record["pid"]), 0)
        return Address(str(record["url"]), str(record.get("token") or ""))
    except (OSError, ValueError, KeyError, TypeError):
        return None
