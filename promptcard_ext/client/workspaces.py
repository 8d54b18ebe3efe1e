"""Workspaces: one's own, and what an owner does to one."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from promptcard_ext.client.noun import Noun, Ref, Tagged
from promptcard_ext.core.contract.page import Page
from promptcard_ext.core.contract.workspaces import (
    TransferSpec,
    WorkspaceOut,
    WorkspacePatch,
    WorkspaceQuery,
    WorkspaceSpec,
)


class Workspaces(Noun):
    """The workspaces that the credential opens; each is named by its slug or id."""

    def list(self) -> Iterator[WorkspaceOut]:
        """Yield them, oldest first."""
        return self._pages(Page[WorkspaceOut], "workspaces", query=WorkspaceQuery(limit=200))

    def create(self, name: str) -> WorkspaceOut:
        """Make one, and become its owner."""
        return self._read(WorkspaceOut, "POST", "workspaces", body=WorkspaceSpec(name))

    def get(self, workspace: Ref) -> Tagged[WorkspaceOut]:
        """Return one, with the role in it."""
        return self._read_tagged(WorkspaceOut, "GET", "workspaces", workspace)

    def update(self, workspace: Ref, patch: WorkspacePatch, *, etag: str) -> Tagged[WorkspaceOut]:
        """Change name or slug."""
        return self._read_tagged(WorkspaceOut, "PATCH", "workspaces", workspace, body=patch, etag=etag)

    def transfer(self, workspace: Ref, user: UUID) -> WorkspaceOut:
        """Make another member an owner in one's place."""
        return self._read(WorkspaceOut, "POST", "workspaces", workspace, "transfer", body=TransferSpec(user))

    def leave(self, workspace: Ref) -> None:
        """End one's membership; the last owner stays."""
        self._ask("POST", "workspaces", workspace, "leave")
