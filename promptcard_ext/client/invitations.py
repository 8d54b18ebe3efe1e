"""Invitations into a workspace; they are accepted by `Account`."""

from __future__ import annotations

from collections.abc import Iterator

from promptcard_ext.client.noun import Noun, Ref
from promptcard_ext.core.contract.invitations import Invitation, InvitationQuery, InvitationSpec, NewInvitation
from promptcard_ext.core.contract.page import Page


class Invitations(Noun):
    """The open invitations of a workspace."""

    def list(self) -> Iterator[Invitation]:
        """Yield them, newest first."""
        return self._pages(Page[Invitation], "invitations", query=InvitationQuery(limit=200))

    def create(self, wanted: InvitationSpec) -> NewInvitation:
        """Invite somebody. What is returned has the token that accepts; it is shown this once."""
        return self._read(NewInvitation, "POST", "invitations", body=wanted)

    def revoke(self, invitation: Ref) -> None:
        """Take one back."""
        self._ask("DELETE", "invitations", invitation)
