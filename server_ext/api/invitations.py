"""Invitations into a workspace."""

from __future__ import annotations

from promptcard_ext.core.contract.invitations import (
    Acceptance,
    Invitation,
    InvitationQuery,
    InvitationSpec,
    Joining,
    NewInvitation,
)
from promptcard_ext.core.contract.page import Page
from promptcard_ext.core.contract.workspaces import WorkspaceOut
from server_ext.api.operation import Call, Operations
from server_ext.auth.permissions import PUBLIC, SIGNED_IN
from server_ext.services import invitations

operations = Operations("invitations")


@operations.get(
    "workspaces/{workspace}/invitations", action="user:read", query=InvitationQuery, answer=Page[Invitation]
)
def list_invitations(call: Call) -> Page[Invitation]:
    """List the open invitations, newest first."""
    return invitations.list_invitations(call.scope, call.query)


# Not idempotent: an answer that may be repeated is kept, and this one holds a secret.
@operations.post(
    "workspaces/{workspace}/invitations",
    action="user:create",
    body=InvitationSpec,
    answer=NewInvitation,
    status=201,
    limit="invitation",
)
def create_invitation(call: Call) -> NewInvitation:
    """Invite somebody. The answer has the token that accepts; it is never shown again, and sent to nobody."""
    return invitations.create(call.scope, call.body)


@operations.delete("workspaces/{workspace}/invitations/{invitation}", action="user:create")
def revoke_invitation(call: Call) -> None:
    """Take an open invitation back."""
    invitations.revoke(call.scope, call.path["invitation"])


@operations.post(
    "invitations/accept", action=PUBLIC, body=Acceptance, answer=WorkspaceOut, limit="login", refuses=(404, 409)
)
def accept_invitation(call: Call) -> WorkspaceOut:
    """Become a member by an invitation: as whoever a token of ours says, or with a password as somebody new."""
    wanted: Acceptance = call.body
    # Where nobody logs in by password, a new account would be one that nobody can enter.
    password = wanted.password if call.password_login else None
    return invitations.accept(call.server.database, wanted.token, call.visitor, wanted.name, password)


@operations.post("invitations/join", action=SIGNED_IN, body=Joining, answer=WorkspaceOut, refuses=(404, 409))
def join_workspace(call: Call) -> WorkspaceOut:
    """Become a member by an invitation, as who one is: also for those whom Jupyter or the Hub lets in."""
    return invitations.accept(call.server.database, call.body.token, call.actor)
