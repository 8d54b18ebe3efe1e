"""Logging in, staying so, logging out, and who one is."""

from __future__ import annotations

from promptcard_ext.core.contract.accounts import (
    AccessToken,
    ExchangeSpec,
    LoginSpec,
    LogoutSpec,
    Me,
    PasswordChange,
    RefreshSpec,
    SessionOut,
    SessionQuery,
    TokenPair,
)
from promptcard_ext.core.contract.page import Page
from promptcard_ext.core.contract.workspaces import WorkspaceQuery
from promptcard_ext.core.errors import Denied, Unauthenticated
from server_ext.api.operation import Call, Operations
from server_ext.auth.permissions import ANY_CREDENTIAL, PUBLIC, SIGNED_IN
from server_ext.services import accounts, exchanges, logins, sessions, workspaces

operations = Operations("auth")
_ALL_WORKSPACES = WorkspaceQuery(limit=200)


@operations.post("auth/login", action=PUBLIC, body=LoginSpec, answer=TokenPair, limit="login")
def log_in(call: Call) -> TokenPair:
    """Begin a session with e-mail and password. Guesses take longer and longer."""
    _require_password_login(call)
    wanted: LoginSpec = call.body
    return logins.login(
        call.server.database, wanted.email, wanted.password, address=call.address, user_agent=call.user_agent
    )


@operations.post("auth/refresh", action=PUBLIC, body=RefreshSpec, answer=TokenPair, limit="refresh")
def refresh_session(call: Call) -> TokenPair:
    """Get the next pair of tokens. A refresh token is good once; used again later, it ends its session."""
    _require_password_login(call)
    return logins.refresh(call.server.database, call.body.refresh_token)


@operations.post("auth/logout", action=PUBLIC, body=LogoutSpec, status=204)
def log_out(call: Call) -> None:
    """End the session of the access token that is shown, or of a refresh token, and what was got from it."""
    if call.body.refresh_token is not None:
        logins.logout(call.server.database, call.body.refresh_token)
    elif call.visitor is not None:
        sessions.logout(call.server.database, call.visitor)
    else:
        raise Unauthenticated("Whose session is to end?", hint="Show its access token, or send its refresh token.")


@operations.post("auth/password", action=SIGNED_IN, body=PasswordChange, answer=AccessToken, limit="login", also=(204,))
def change_password(call: Call) -> AccessToken | None:
    """Change one's own password. All other sessions end; the answer has a token in place of the one that asked.

    When that was no token of a session there is nothing to replace, and the answer is 204.
    """
    wanted: PasswordChange = call.body
    made = accounts.change_password(call.server.database, call.actor, wanted.old, wanted.new, address=call.address)
    if made is None:
        call.status = 204
    return made


@operations.get("auth/me", action=ANY_CREDENTIAL, answer=Me)
def get_me(call: Call) -> Me:
    """Return who one is, by which credential, what it allows, and the workspaces that it opens."""
    actor, database = call.actor, call.server.database
    return Me(
        user=accounts.describe(database, actor),
        kind=actor.kind,
        via=actor.via,
        scopes=None if actor.scopes is None else sorted(actor.scopes),
        workspace=actor.workspace_id,
        workspaces=workspaces.list_mine(database, actor, _ALL_WORKSPACES).items,
    )


@operations.get("auth/sessions", action=SIGNED_IN, query=SessionQuery, answer=Page[SessionOut])
def list_sessions(call: Call) -> Page[SessionOut]:
    """List one's own sessions that go on, the latest first."""
    return sessions.list_mine(call.server.database, call.actor, call.query)


@operations.delete("auth/sessions", action=SIGNED_IN)
def revoke_sessions(call: Call) -> None:
    """End all of one's own sessions, the one that asks among them."""
    sessions.revoke_all(call.server.database, call.actor)


@operations.delete("auth/sessions/{session}", action=SIGNED_IN)
def revoke_session(call: Call) -> None:
    """End one of one's own sessions, and what was got from it."""
    sessions.revoke(call.server.database, call.actor, call.path["session"])


@operations.post("auth/exchange", action=ANY_CREDENTIAL, body=ExchangeSpec, answer=AccessToken, refuses=(404,))
def exchange_token(call: Call) -> AccessToken:
    """Get a token for a kernel or job. It allows no more than the credential shown, and ends with it."""
    return exchanges.exchange(call.server.database, call.actor, call.body, user_agent=call.user_agent)


def _require_password_login(call: Call) -> None:
    if not call.password_login:
        raise Denied(
            "This server lets nobody in by password.",
            hint="Log in to Jupyter, or show an API token.",
            code="password_login_off",
        )
