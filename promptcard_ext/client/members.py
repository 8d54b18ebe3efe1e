"""Who belongs to a workspace."""

from __future__ import annotations

from collections.abc import Iterator

from promptcard_ext.client.noun import Noun, Ref, Tagged
from promptcard_ext.core.contract.members import Member, MemberPatch, MemberQuery, Role
from promptcard_ext.core.contract.page import Page


class Members(Noun):
    """The members of a workspace, by the ids of their users."""

    def list(self) -> Iterator[Member]:
        """Yield them, those who came first first."""
        return self._pages(Page[Member], "members", query=MemberQuery(limit=200))

    def get(self, user: Ref) -> Tagged[Member]:
        """Return one."""
        return self._read_tagged(Member, "GET", "members", user)

    def update(self, user: Ref, role: Role, *, etag: str) -> Tagged[Member]:
        """Give one another role, at most one's own."""
        return self._read_tagged(Member, "PATCH", "members", user, body=MemberPatch(role), etag=etag)

    def remove(self, user: Ref) -> None:
        """Take one out, and revoke the tokens that one has for this workspace."""
        self._ask("DELETE", "members", user)
