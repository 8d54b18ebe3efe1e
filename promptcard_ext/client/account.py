"""Logging in, staying so, and who one is."""

from __future__ import annotations

from collections.abc import Iterator

from promptcard_ext.client.noun import Noun, Ref
from promptcard_ext.client.session import decoded
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
from promptcard_ext.core.contract.invitations import Acceptance, Joining
from promptcard_ext.core.contract.page import Page
from promptcard_ext.core.contract.workspaces import WorkspaceOut


class Account(Noun):
    """One's account. The tokens that are got here are not used by themselves: give them to a `Session`."""

    def log_in(self, email: str, password: str) -> TokenPair:
        """Begin a session of the server with e-mail and password."""
        return self._read(TokenPair, "POST", "auth", "login", body=LoginSpec(email, password))

    def refresh(self, refresh_token: str) -> TokenPair:
        """Return the next pair of tokens. A refresh token is good once; used again later, it ends its session."""
        return self._read(TokenPair, "POST", "auth", "refresh", body=RefreshSpec(refresh_token))

    def log_out(self, refresh_token: str | None = None) -> None:
        """End the session of the token that is shown, or of a refresh token, and what was got from it."""
        self._ask("POST", "auth", "logout", body=LogoutSpec(refresh_token))

    def change_password(self, old: str, new: str) -> AccessToken | None:
        """Change the password, which ends all other sessions; return a token in place of the one that asked, if any."""
        reply = self._ask("POST", "auth", "password", body=PasswordChange(old, new))
        return decoded(reply.body, AccessToken) if reply.status != 204 else None

    def me(self) -> Me:
        """Return who one is, by which credential, and what that allows."""
        return self._read(Me, "GET", "auth", "me")

    def sessions(self) -> Iterator[SessionOut]:
        """Yield one's sessions that go on, the latest first."""
        return self._pages(Page[SessionOut], "auth", "sessions", query=SessionQuery(limit=200))

    def revoke_session(self, session: Ref) -> None:
        """End one session, and what was got from it."""
        self._ask("DELETE", "auth", "sessions", session)

    def revoke_sessions(self) -> None:
        """End all one's sessions, the one that asks among them."""
        self._ask("DELETE", "auth", "sessions")

    def exchange(self, wanted: ExchangeSpec) -> AccessToken:
        """Return a token for a kernel or job, which allows no more than the credential that is shown."""
        return self._read(AccessToken, "POST", "auth", "exchange", body=wanted)

    def accept_invitation(self, acceptance: Acceptance) -> WorkspaceOut:
        """Become a member by an invitation: with a password as somebody new, else as who one is."""
        return self._read(WorkspaceOut, "POST", "invitations", "accept", body=acceptance)

    def join(self, token: str) -> WorkspaceOut:
        """Become a member by an invitation, as who one is."""
        return self._read(WorkspaceOut, "POST", "invitations", "join", body=Joining(token))
