"""Workspaces: one's own, and what an owner does to one."""

from __future__ import annotations

from promptcard_ext.core.contract.page import Page
from promptcard_ext.core.contract.workspaces import (
    TransferSpec,
    WorkspaceOut,
    WorkspacePatch,
    WorkspaceQuery,
    WorkspaceSpec,
)
from server_ext.api.operation import Call, Operations
from server_ext.auth.permissions import ANY_CREDENTIAL, SIGNED_IN
from server_ext.services import workspaces

operations = Operations("workspaces")


@operations.get("workspaces", action=ANY_CREDENTIAL, query=WorkspaceQuery, answer=Page[WorkspaceOut])
def list_workspaces(call: Call) -> Page[WorkspaceOut]:
    """List the workspaces of whoever asks, oldest first; a token lists its own one."""
    return workspaces.list_mine(call.server.database, call.actor, call.query)


@operations.post("workspaces", action=SIGNED_IN, body=WorkspaceSpec, answer=WorkspaceOut, status=201)
def create_workspace(call: Call) -> WorkspaceOut:
    """Make a workspace, and become its owner."""
    return workspaces.create(call.server.database, call.actor, call.body.name)


@operations.get("workspaces/{workspace}", action="workspace:read", answer=WorkspaceOut, etag=True)
def get_workspace(call: Call) -> WorkspaceOut:
    """Return one workspace, with the role in it."""
    return workspaces.get(call.scope)


@operations.patch(
    "workspaces/{workspace}",
    action="workspace:update",
    body=WorkspacePatch,
    answer=WorkspaceOut,
    etag=True,
    conditional=True,
)
def update_workspace(call: Call) -> WorkspaceOut:
    """Change name or slug."""
    return workspaces.update(call.scope, call.body, call.match)


@operations.post(
    "workspaces/{workspace}/transfer",
    action="workspace:transfer",
    body=TransferSpec,
    answer=WorkspaceOut,
    refuses=(409,),
)
def transfer_workspace(call: Call) -> WorkspaceOut:
    """Make another member an owner in place of whoever asks, who is an admin from then on."""
    return workspaces.transfer(call.scope, str(call.body.user))


@operations.post("workspaces/{workspace}/leave", action="workspace:leave", status=204, refuses=(409,))
def leave_workspace(call: Call) -> None:
    """End one's own membership; the last owner stays."""
    workspaces.leave(call.scope)
