"""Where versions and runs come from, and runs that are taken instead of new ones, over REST."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import Api
from tests.support import ECHO, Tenant

ORIGIN = {"notebook": "a.ipynb", "cell_id": "8c1d", "cell_hash": "0" * 64, "git_commit": "1" * 40, "git_dirty": True}


async def test_a_version_and_a_run_say_where_they_were_made(api: Api, tenant: Tenant) -> None:
    tenant.fill()
    await api.post("cards", {"name": "greet", "template": "Hello {{ who }}.", "provenance": ORIGIN})
    made = (await api.get("cards/greet/versions/2")).json
    assert made["provenance"] == ORIGIN
    assert "provenance" not in made["card"]
    assert (await api.get("cards/greet/versions/1")).json["provenance"] is None
    run = (await api.post("runs", {"card": "greet", "models": [ECHO], "provenance": ORIGIN})).json
    assert run["provenance"] == ORIGIN
    assert (await api.get("runs")).json["items"][0]["provenance"] == ORIGIN


@pytest.mark.parametrize(
    "wrong",
    [
        {"notebook": "x" * 1001},
        {"cell_id": "x" * 101},
        {"cell_hash": "0" * 63},
        {"cell_hash": "0" * 64 + "\n"},
        {"environment_hash": "G" * 64},
        {"git_commit": "HEAD"},
        {"git_dirty": "no"},
        {"host": "mine"},
        "a.ipynb",
    ],
    ids=str,
)
async def test_what_is_too_long_or_no_hash_is_refused(api: Api, tenant: Tenant, wrong: Any) -> None:
    tenant.fill()
    card = {"name": "greet", "template": "Hello {{ who }}.", "provenance": wrong}
    assert (await api.post("cards", card)).status == 422
    assert (await api.post("runs", {"card": "greet", "models": [ECHO], "provenance": wrong})).status == 422


async def test_a_run_that_asks_the_same_is_the_answer_when_that_is_wanted(api: Api, tenant: Tenant) -> None:
    tenant.fill()
    wanted = {"card": "greet", "models": [ECHO], "reuse": True}
    first, again = await api.post("runs", wanted), await api.post("runs", {**wanted, "concurrency": 3})
    assert (first.status, first.json["reused"]) == (201, False)
    assert (again.status, again.json["reused"], again.json["id"]) == (200, True, first.json["id"])
    other = await api.post("runs", {**wanted, "reuse": False})
    assert (other.status, other.json["id"] != first.json["id"]) == (201, True)
