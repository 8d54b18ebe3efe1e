"""The server that an environment names: what a Hub starts learns that way where the Hub's service is."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

HUB_SERVICE = "promptcards"
"""What the service of a JupyterHub is called unless `PROMPTCARDS_URL` says otherwise."""


def named_server(environment: Mapping[str, str]) -> tuple[str, str] | None:
    """Return base URL, with a slash at the end, and token of the server that the environment names; None for none.

    It is the one of ``PROMPTCARDS_URL`` (with ``PROMPTCARDS_TOKEN``), else the service of the JupyterHub that started
    this process; of a Hub that does not know its own public address there is none. The token may be empty.
    """
    url = environment.get("PROMPTCARDS_URL")
    if url:
        return url.rstrip("/") + "/", environment.get("PROMPTCARDS_TOKEN") or _hub_token(url, environment)
    hub = environment.get("JUPYTERHUB_PUBLIC_HUB_URL", "").rstrip("/")
    token = environment.get("JUPYTERHUB_API_TOKEN", "")
    if not token or not hub.endswith("/hub"):
        return None
    return f"{hub.removesuffix('hub')}services/{HUB_SERVICE}/", token


def _hub_token(url: str, environment: Mapping[str, str]) -> str:
    """Return the Hub's token for one of the Hub's services; nobody else gets it."""
    services = environment.get("JUPYTERHUB_BASE_URL", "/").rstrip("/") + "/services/"
    try:
        path = urlsplit(url).path
    except ValueError:
        return ""
    return environment.get("JUPYTERHUB_API_TOKEN", "") if path.startswith(services) else ""
