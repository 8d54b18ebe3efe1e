"""Which workspaces are mine."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from server_ext.api.operation import Call, Operations
from server_ext.auth.permissions import ANY_CREDENTIAL, SIGNED_IN
from server_ext.services import workspaces

operations = Operations("workspaces")


class NewWorkspace(Struct, forbid_unknown_fields=True):
    """A workspace to be made."""

    name: Annotated[str, Meta(min_length=1, max_length=255)]


@operations.get("workspaces", action=ANY_CREDENTIAL)
def list_workspaces(call: Call) -> Any:
    """List the workspaces of whoever asks, oldest first."""
    return {"workspaces": workspaces.list_mine(call.server.database, call.actor)}


@operations.post("workspaces", action=SIGNED_IN, body=NewWorkspace, status=201)
def create_workspace(call: Call) -> Any:
    """Make a workspace, and become its owner."""
    return workspaces.create(call.server.database, call.actor, call.body.name)


@operations.get("workspaces/{workspace}", action="workspace:read")
def get_workspace(call: Call) -> Any:
    """Return one workspace, with the role in it."""
    return workspaces.get(call.scope)
