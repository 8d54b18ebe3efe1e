"""Cards, their versions, drafts and cases."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct
from tornado.web import authenticated

from promptcard_ext.core.card import Card
from promptcard_ext.core.case import Case
from promptcard_ext.core.errors import CardError
from server_ext.api.base import PromptCardsHandler
from server_ext.services import cards, cases


class Cases(Struct, forbid_unknown_fields=True):
    """Body of ``PUT cards/C/cases``."""

    cases: list[Case]


class CardsHandler(PromptCardsHandler):
    """``GET, POST workspaces/W/cards``."""

    @authenticated
    async def get(self, workspace: str) -> None:
        """Answer with cards by name; ``?after=NAME&limit=N``."""
        limit = self.integer("limit", 50, 1, 200)
        found = await self.use(workspace, cards.list_cards, self.get_query_argument("after", ""), limit)
        self.reply({"cards": found, "next": found[-1]["name"] if len(found) == limit else None})

    @authenticated
    async def post(self, workspace: str) -> None:
        """Save a card as its next version; 201 when there is a new one, 200 when nothing changed."""
        # Reading templates of a megabyte takes seconds: not on the loop that serves everybody.
        card = await self.call(self.body, Card)
        saved = await self.use(workspace, cards.save_version, card)
        self.reply(saved, 201 if saved.created else 200)


class CardHandler(PromptCardsHandler):
    """``GET workspaces/W/cards/C``."""

    @authenticated
    async def get(self, workspace: str, card: str) -> None:
        """Answer with the head of a card; its revision is the ETag."""
        head = await self.use(workspace, cards.get, card)
        self.set_header("ETag", f'"{head["revision"]}"')
        self.reply(head)


class DraftHandler(PromptCardsHandler):
    """``PUT workspaces/W/cards/C/draft``."""

    @authenticated
    async def put(self, workspace: str, card: str) -> None:
        """Replace the draft; ``If-Match`` names the revision it is based on."""
        match = self.request.headers.get("If-Match", "").strip().strip('"')
        if not match.isdecimal() or len(match) > 18:
            raise CardError(
                "A draft is saved with 'If-Match' naming the revision it is based on.",
                hint="Read the card first; its ETag is the revision.",
                code="if_match_missing",
            )
        head = await self.use(workspace, cards.save_draft, card, self.body(dict[str, Any]), int(match))
        self.set_header("ETag", f'"{head["revision"]}"')
        self.reply(head)


class VersionsHandler(PromptCardsHandler):
    """``GET workspaces/W/cards/C/versions``."""

    @authenticated
    async def get(self, workspace: str, card: str) -> None:
        """Answer with all versions, oldest first."""
        found = await self.use(workspace, cards.versions, card)
        self.reply({"versions": [msgspec.to_builtins(version) for version in found]})


class CasesHandler(PromptCardsHandler):
    """``GET, PUT workspaces/W/cards/C/cases``."""

    # All cases of a card come at once.
    max_body_bytes = 64_000_000

    @authenticated
    async def get(self, workspace: str, card: str) -> None:
        """Answer with cases in order; ``?after=POSITION&limit=N``."""
        limit = self.integer("limit", 200, 1, 1000)
        after = self.integer("after", -1, -1, 10**9)
        found = await self.use(workspace, cases.list_cases, card, after, limit)
        self.reply({"cases": found, "next": found[-1]["position"] if len(found) == limit else None})

    @authenticated
    async def put(self, workspace: str, card: str) -> None:
        """Replace all cases."""
        # A hundred thousand cases take seconds to read and check: not on the loop that serves everybody.
        given = await self.call(self.body, Cases)
        self.reply({"count": await self.use(workspace, cases.replace_all, card, given.cases)})
