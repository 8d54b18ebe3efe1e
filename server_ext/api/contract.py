"""The contract itself, for whoever writes a client."""

from __future__ import annotations

from typing import Any

from server_ext.api.operation import Call, Operations
from server_ext.auth.permissions import PUBLIC

operations = Operations("contract")


@operations.get("openapi.json", action=PUBLIC, answer=dict[str, Any])
def get_openapi(call: Call) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of this interface."""
    # It is made from the table of routes, in which this very operation stands.
    from server_ext.api.openapi import document

    return document()
