"""Who am I, which workspaces are mine, is the server well."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct
from tornado.web import authenticated

from promptcard_ext._version import __version__
from promptcard_ext.core.errors import NotFound
from server_ext.api.base import PromptCardsHandler
from server_ext.services import workspaces


class NewWorkspace(Struct, forbid_unknown_fields=True):
    """Body of ``POST workspaces``."""

    name: Annotated[str, Meta(min_length=1, max_length=255)]


class HealthHandler(PromptCardsHandler):
    """``GET health``: version and identity; answers once database and queue can be used."""

    @authenticated
    async def get(self) -> None:
        """Answer 200, or 503 with the reason."""
        runtime = await self.runtime()
        waiting = await self.call(runtime.doorbell.waiting)
        await self.call(runtime.database.ping)
        worker = runtime.worker
        self.reply(
            {
                "status": "ok",
                "version": __version__,
                "user": self.actor().name,
                "queue": waiting,
                "worker": "none" if worker is None else "running" if worker.alive else "stopped",
            }
        )


class WorkspacesHandler(PromptCardsHandler):
    """``GET, POST workspaces``."""

    @authenticated
    async def get(self) -> None:
        """Answer with the user's workspaces."""
        runtime = await self.runtime()
        self.reply({"workspaces": await self.call(workspaces.list_mine, runtime.database, self.actor())})

    @authenticated
    async def post(self) -> None:
        """Make a workspace."""
        runtime = await self.runtime()
        name = self.body(NewWorkspace).name
        self.reply(await self.call(workspaces.create, runtime.database, self.actor(), name), 201)


class WorkspaceHandler(PromptCardsHandler):
    """``GET workspaces/W``."""

    @authenticated
    async def get(self, workspace: str) -> None:
        """Answer with one workspace."""
        self.reply(await self.use(workspace, workspaces.get))


class NothingHereHandler(PromptCardsHandler):
    """Every path that is none of ours."""

    @authenticated
    async def get(self) -> None:
        """Answer 404."""
        raise NotFound(f"There is nothing at '{self.request.path:.200}'.", code="no_such_route")

    post = put = patch = delete = get
