"""API tokens: credentials of programs, of one workspace each."""

from __future__ import annotations

from promptcard_ext.core.contract.api_tokens import ApiToken, ApiTokenQuery, ApiTokenSpec, NewApiToken
from promptcard_ext.core.contract.page import Page
from server_ext.api.operation import Call, Operations
from server_ext.services import api_tokens

operations = Operations("tokens")


@operations.get("workspaces/{workspace}/tokens", action="token:read", query=ApiTokenQuery, answer=Page[ApiToken])
def list_tokens(call: Call) -> Page[ApiToken]:
    """List one's own tokens, or with ``everybody`` those of all members, newest first."""
    return api_tokens.list_tokens(call.scope, call.query)


# Not idempotent: an answer that may be repeated is kept, and this one holds a secret.
@operations.post(
    "workspaces/{workspace}/tokens", action="token:create", body=ApiTokenSpec, answer=NewApiToken, status=201
)
def create_token(call: Call) -> NewApiToken:
    """Make a token of one's own for this workspace. The answer has it; it is never shown again."""
    return api_tokens.create(call.scope, call.body)


@operations.delete("workspaces/{workspace}/tokens/{token}", action="token:delete")
def revoke_token(call: Call) -> None:
    """Revoke a token of one's own, or with ``user:update`` anybody's."""
    api_tokens.revoke(call.scope, call.path["token"])
