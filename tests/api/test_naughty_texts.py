"""Texts that programs have stumbled over, sent over HTTP: never an answer of 5xx, and what is taken comes back."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

import pytest

from promptcard_ext.interchange.formula_guard import guarded
from tests.api.conftest import Answer, Api
from tests.security.naughty import texts

# The largest are for the services; here the way counts.
TEXTS = [text for text in texts() if len(text) <= 2_000]
EVERYWHERE = {"If-Match": "*"}
Use = Callable[[Api, str], Awaitable[tuple[Answer, Any]]]


def as_sent(text: str) -> str:
    """Return the text that JSON makes of it: two halves of a character are one there."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


async def head(api: Api, text: str) -> tuple[Answer, Any]:
    body = {"title": text, "description": text}
    answer = await api.ask("PATCH", f"{api.workspace}/cards/free", body, headers=EVERYWHERE)
    return answer, answer.json.get("title")


async def tag(api: Api, text: str) -> tuple[Answer, Any]:
    answer = await api.ask("PATCH", f"{api.workspace}/cards/free", {"tags": [text]}, headers=EVERYWHERE)
    return answer, answer.json.get("tags", [None])[0]


async def draft(api: Api, text: str) -> tuple[Answer, Any]:
    answer = await api.put("cards/free/draft", {"template": text}, headers=EVERYWHERE)
    return answer, (answer.json.get("content") or {}).get("template")


async def case(api: Api, text: str) -> tuple[Answer, Any]:
    one = {"variables": {text: text, "": ""}, "metadata": {text: text}, "expected_output": text, "name": "x"}
    answer = await api.put("cards/free/cases", {"cases": [one]})
    if answer.status != 200:
        return answer, None
    read = (await api.get("cards/free/cases")).json["items"][0]
    assert read["variables"] == {as_sent(text): as_sent(text), "": ""}
    return answer, read["expected_output"]


async def file(api: Api, text: str) -> tuple[Answer, Any]:
    table = io.StringIO(newline="")
    csv.writer(table).writerows([["a", "b"], [guarded(text), "x"]])
    body = table.getvalue().encode("utf-8", "surrogatepass")
    answer = await api.post("cards/free/cases/import?format=csv", body)
    if answer.status != 200:
        return answer, None
    return answer, (await api.get("cards/free/cases")).json["items"][0]["variables"].get("a", "")


async def label(api: Api, text: str) -> tuple[Answer, Any]:
    path = f"cards/free/labels/{quote(text, safe='', errors='surrogatepass')}"
    answer = await api.put(path, {"version": 1}, headers=EVERYWHERE)
    return answer, answer.json.get("label") if answer.status == 200 else None


async def search(api: Api, text: str) -> tuple[Answer, Any]:
    return await api.get(f"search?text={quote(text, safe='', errors='surrogatepass')}"), text


async def body(api: Api, text: str) -> tuple[Answer, Any]:
    return await api.post(
        "cards", json.dumps({"name": "x"}).encode()[:-1] + text.encode("utf-8", "surrogatepass")
    ), text


@pytest.mark.parametrize("use", [head, tag, draft, case, file, label, search, body])
async def test_no_text_makes_the_server_stumble(api: Api, use: Use) -> None:
    await api.post("cards", {"name": "free", "template": "Hi"})
    for text in TEXTS:
        answer, found = await use(api, text)
        assert answer.status in (200, 400, 404, 422), (repr(text[:100]), answer.raw)
        if answer.status == 200:
            assert found == as_sent(text), repr(text[:100])
        else:
            assert answer.json["code"], repr(text[:100])
