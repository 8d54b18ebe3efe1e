"""Whoever has changed something and asks the same server again sees the change, whatever is cached."""

from __future__ import annotations

import time

from promptcard_ext.core.card import Card
from server_ext.app import PromptCards
from server_ext.auth.actor import Actor
from server_ext.db.engine import Database
from server_ext.services import cards, workspaces
from tests.api.conftest import Api
from tests.support import Tenant


async def test_a_label_that_was_just_moved_is_fetched_as_it_is(api: Api, tenant: Tenant) -> None:
    for number in range(1, 31):
        with tenant.scope() as scope:
            cards.save_version(scope, Card("greet", f"Say hello {number} times to {{{{ who }}}}."))
    label, fetch = "cards/greet/labels/production", "cards/greet/fetch?label=production"
    moved = await api.put(label, {"version": 1})
    for number in range(2, 31):
        assert (await api.get(fetch)).json["version"] == number - 1
        moved = await api.put(label, {"version": number}, headers={"If-Match": moved.headers["ETag"]})
        assert moved.status == 200
        assert (await api.get(fetch)).json["version"] == number


async def test_a_workspace_that_was_just_made_is_there(api: Api, extension: PromptCards) -> None:
    for number in range(20):
        assert (await api.ask("GET", api.workspace)).status == 200  # what one may see is in memory
        made = await api.ask("POST", "workspaces", {"name": f"Workspace {number}"})
        assert made.status == 201
        assert (await api.ask("GET", f"workspaces/{made.json['id']}")).status == 200


async def test_nobody_is_refused_by_what_a_server_remembers_from_before_the_workspace_was_made(
    api: Api, extension: PromptCards, me: Actor, database: Database
) -> None:
    runtime = await extension.ready(30)
    assert (await api.get("cards")).status == 200  # rights are remembered from here on
    runtime.news.close()
    runtime.cache.heard(time.monotonic())  # as if nothing had happened
    made = workspaces.create(database, me, "Made elsewhere")
    assert (await api.ask("GET", f"workspaces/{made.slug}")).status == 200
