"""Who belongs to a workspace."""

from __future__ import annotations

from promptcard_ext.core.contract.members import Member, MemberPatch, MemberQuery
from promptcard_ext.core.contract.page import Page
from server_ext.api.operation import Call, Operations
from server_ext.services import members

operations = Operations("members")


@operations.get("workspaces/{workspace}/members", action="workspace:read", query=MemberQuery, answer=Page[Member])
def list_members(call: Call) -> Page[Member]:
    """List the members, those who came first first."""
    return members.list_members(call.scope, call.query)


@operations.get("workspaces/{workspace}/members/{user}", action="workspace:read", answer=Member, etag=True)
def get_member(call: Call) -> Member:
    """Return one member."""
    return members.get(call.scope, call.path["user"])


@operations.patch(
    "workspaces/{workspace}/members/{user}",
    action="user:update",
    body=MemberPatch,
    answer=Member,
    etag=True,
    conditional=True,
    refuses=(409,),
)
def update_member(call: Call) -> Member:
    """Give a member another role. Nobody gives more than they have, and the last owner stays one."""
    return members.change_role(call.scope, call.path["user"], call.body.role, call.match)


@operations.delete("workspaces/{workspace}/members/{user}", action="user:delete", refuses=(409,))
def remove_member(call: Call) -> None:
    """Take a member out, and revoke the member's tokens for this workspace."""
    members.remove(call.scope, call.path["user"])
