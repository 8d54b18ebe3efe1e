"""The server as such."""

from __future__ import annotations

from typing import Any

from promptcard_ext.client.noun import Noun
from promptcard_ext.core.contract.health import Health, Ready


class Server(Noun):
    """What can be asked outside of workspaces."""

    def ready(self) -> Ready:
        """Ask whether the server can do its work; nobody needs to say who they are for that."""
        return self._read(Ready, "GET", "ready")

    def health(self) -> Health:
        """Ask whether database and queue can be used."""
        return self._read(Health, "GET", "health")

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document of the interface."""
        return self._read(dict[str, Any], "GET", "openapi.json")
