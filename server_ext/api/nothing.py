"""Every path that is none of ours."""

from __future__ import annotations

from jupyter_server.auth.decorator import allow_unauthenticated

from promptcard_ext.core.errors import NotFound
from server_ext.api.base import PromptCardsHandler


class NothingHereHandler(PromptCardsHandler):
    """Answers 404 to whoever may ask at all."""

    @allow_unauthenticated
    async def get(self) -> None:
        """Check who asks, and answer 404."""
        await self.runtime()
        await self.call(self.identify)
        raise NotFound(f"There is nothing at '{self.request.path:.200}'.", code="no_such_route")

    post = put = patch = delete = head = options = get
