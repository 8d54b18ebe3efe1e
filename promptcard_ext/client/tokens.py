"""API tokens of a workspace."""

from __future__ import annotations

from collections.abc import Iterator

from promptcard_ext.client.noun import Noun, Ref
from promptcard_ext.core.contract.api_tokens import ApiToken, ApiTokenQuery, ApiTokenSpec, NewApiToken
from promptcard_ext.core.contract.page import Page


class Tokens(Noun):
    """The API tokens of a workspace."""

    def list(self, *, everybody: bool = False) -> Iterator[ApiToken]:
        """Yield one's own, or with ``everybody`` those of all members, newest first."""
        return self._pages(Page[ApiToken], "tokens", query=ApiTokenQuery(everybody, limit=200))

    def create(self, wanted: ApiTokenSpec) -> NewApiToken:
        """Make one. What is returned has the token itself; it is shown this once."""
        return self._read(NewApiToken, "POST", "tokens", body=wanted)

    def revoke(self, token: Ref) -> None:
        """Revoke one."""
        self._ask("DELETE", "tokens", token)
