"""Cards, versions, drafts and cases over REST."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.api.conftest import Api
from tests.support import greetings

CARD = {"name": "greet", "template": "Say hello to {{ who }}."}
CASES = {"cases": [{"variables": {"who": "Ada"}, "assertions": [{"type": "contains", "value": "Ada"}]}]}


async def pages(api: Api, path: str, key: str, limit: int, parameter: str = "after") -> list[Any]:
    """Return all entries of a list, page by page."""
    found: list[Any] = []
    edge = ""
    while True:
        answer = await api.get(f"{path}?limit={limit}{edge}")
        assert len(answer.json[key]) <= limit
        found += answer.json[key]
        if answer.json["next"] is None:
            return found
        edge = f"&{parameter}={answer.json['next']}"


async def test_workspaces_are_made_listed_and_read(api: Api) -> None:
    made = await api.ask("POST", "workspaces", {"name": "Acme & Söhne"})
    listed = await api.ask("GET", "workspaces")
    read = await api.ask("GET", f"workspaces/{made.json['slug']}")

    assert made.status == 201
    assert made.json["id"] in {workspace["id"] for workspace in listed.json["workspaces"]}
    assert (read.json["name"], read.json["role"]) == ("Acme & Söhne", "owner")


async def test_saving_a_card_makes_a_version_and_saving_it_again_does_not(api: Api) -> None:
    first = await api.post("cards", CARD)
    again = await api.post("cards", {**CARD, "title": "Greeting"})
    changed = await api.post("cards", {**CARD, "template": "Greet {{ who }}."})
    back = await api.post("cards", CARD)
    head = await api.get("cards/greet")
    versions = await api.get("cards/greet/versions")

    assert [answer.status for answer in (first, again, changed, back)] == [201, 200, 201, 200]
    assert [answer.json["version"] for answer in (first, again, changed, back)] == [1, 1, 2, 1]
    assert first.json["version_id"] == again.json["version_id"] == back.json["version_id"]
    assert head.json["latest_version"] == 2
    templates = [entry["card"]["template"] for entry in versions.json["versions"]]
    assert templates == ["Say hello to {{ who }}.", "Greet {{ who }}."]


async def test_a_card_is_found_by_name_and_by_id(api: Api) -> None:
    saved = await api.post("cards", CARD)
    by_name, by_id = await api.get("cards/greet"), await api.get(f"cards/{saved.json['card_id']}")
    assert by_name.json == by_id.json


async def test_a_name_that_looks_like_an_id_is_a_name(api: Api) -> None:
    name = "deadbeef" * 4
    await api.post("cards", {**CARD, "name": name})
    assert (await api.get(f"cards/{name}")).json["name"] == name


async def test_text_that_postgresql_refuses_is_stored_and_comes_back(api: Api) -> None:
    odd = "a\x00b \ud83d\ude00 \u202e <script>"
    odd = odd.encode("utf-16", "surrogatepass").decode("utf-16")
    saved = await api.post("cards", {**CARD, "template": f"{odd} {{{{ who }}}}", "title": odd, "tags": [odd]})
    head, versions = await api.get("cards/greet"), await api.get("cards/greet/versions")

    assert saved.status == 201
    assert (head.json["title"], head.json["tags"]) == (odd, [odd])
    assert versions.json["versions"][0]["card"]["template"] == f"{odd} {{{{ who }}}}"


async def test_a_draft_is_saved_on_top_of_the_revision_it_is_based_on(api: Api) -> None:
    await api.post("cards", CARD)
    revision = (await api.get("cards/greet")).headers["ETag"]
    mine = {"template": "Hi {{ who }}!"}

    saved = await api.put("cards/greet/draft", mine, headers={"If-Match": revision})
    late = await api.put("cards/greet/draft", {"template": "Late"}, headers={"If-Match": revision})

    assert (saved.status, saved.json["draft"]) == (200, mine)
    assert saved.headers["ETag"] != revision
    assert (late.status, late.json["code"]) == (412, "revision_conflict")
    assert late.json["current"]["draft"] == mine
    assert f'"{late.json["current"]["revision"]}"' == saved.headers["ETag"]


@pytest.mark.parametrize("match", [None, "", "*", '"x"', "-1", "1.5", "9" * 5000])
async def test_a_draft_without_a_usable_revision_is_refused(api: Api, match: str | None) -> None:
    await api.post("cards", CARD)
    headers = {} if match is None else {"If-Match": match}
    answer = await api.put("cards/greet/draft", {"template": "Hi"}, headers=headers)
    assert (answer.status, answer.json["code"]) == (428, "if_match_missing")


async def test_a_draft_that_can_be_no_card_is_refused(api: Api) -> None:
    await api.post("cards", CARD)
    answer = await api.put("cards/greet/draft", {"templat": "Hi"}, headers={"If-Match": '"2"'})
    assert (answer.status, answer.json["code"]) == (422, "card_invalid")


async def test_putting_cases_replaces_them(api: Api) -> None:
    await api.post("cards", CARD)
    await api.put("cards/greet/cases", {"cases": [{"variables": {"who": who}} for who in ("Ada", "Grace", "Edsger")]})
    kept = {case["case_uid"]: case["id"] for case in (await api.get("cards/greet/cases")).json["cases"]}

    answer = await api.put("cards/greet/cases", {"cases": [{"variables": {"who": who}} for who in ("Barbara", "Ada")]})
    now = (await api.get("cards/greet/cases")).json["cases"]

    assert answer.json == {"count": 2}
    assert [case["variables"]["who"] for case in now] == ["Barbara", "Ada"]
    assert kept[now[1]["case_uid"]] == now[1]["id"]  # the same case, with its history
    assert (await api.put("cards/greet/cases", {"cases": []})).json == {"count": 0}
    assert (await api.get("cards/greet/cases")).json == {"cases": [], "next": None}


async def test_the_same_case_twice_is_refused(api: Api) -> None:
    await api.post("cards", CARD)
    answer = await api.put("cards/greet/cases", {"cases": CASES["cases"] * 2})
    assert (answer.status, answer.json["code"]) == (422, "case_twice")


async def test_as_many_cases_as_a_request_holds_can_be_put(api: Api) -> None:
    await api.post("cards", {"name": "greet", "template": "{{ a }}"})
    many = [{"variables": {"a": n}} for n in range(70_000)]  # more than a statement takes parameters
    body = msgspec.json.encode({"cases": many})
    assert len(body) < 2_000_000

    assert (await api.put("cards/greet/cases", body)).json == {"count": 70_000}
    assert (await api.put("cards/greet/cases", {"cases": many[:1]})).json == {"count": 1}


@pytest.mark.parametrize("limit", [1, 3, 7, 50])
async def test_pages_of_cards_and_cases_are_complete_and_in_order(api: Api, limit: int) -> None:
    names = [f"card-{letter}" for letter in "abcdefg"]
    for name in names:
        await api.post("cards", {**CARD, "name": name})
    await api.put("cards/card-a/cases", {"cases": msgspec.to_builtins(greetings(7))})

    assert [card["name"] for card in await pages(api, "cards", "cards", limit)] == names
    cases = await pages(api, "cards/card-a/cases", "cases", limit)
    assert [case["position"] for case in cases] == list(range(7))


async def test_a_card_that_appears_meanwhile_moves_no_other_to_another_page(api: Api) -> None:
    for name in ("card-b", "card-d", "card-f"):
        await api.post("cards", {**CARD, "name": name})
    first = await api.get("cards?limit=2")
    await api.post("cards", {**CARD, "name": "card-a"})
    await api.post("cards", {**CARD, "name": "card-e"})
    rest = await api.get(f"cards?limit=2&after={first.json['next']}")

    assert [card["name"] for card in first.json["cards"] + rest.json["cards"]] == [
        "card-b",
        "card-d",
        "card-e",
        "card-f",
    ]


@pytest.mark.parametrize(
    ("template", "code", "place"),
    [
        ("Hello\n{{ who", "template_syntax", (2, 1)),
        ("Hello\n {% if who %}", "template_syntax", (2, 2)),
        ("Hello\n{{ who | nosuchfilter }}", "template_not_allowed", (2, 1)),
    ],
)
async def test_a_template_that_does_not_parse_is_refused_with_its_place(
    api: Api, template: str, code: str, place: tuple[int, int]
) -> None:
    answer = await api.post("cards", {"name": "greet", "template": template})
    assert (answer.status, answer.json["code"]) == (422, code)
    assert (answer.json["line"], answer.json["column"]) == place


async def test_an_undeclared_variable_is_refused_with_its_place(api: Api) -> None:
    card = {"name": "greet", "template": "Hello\n  {{ whom }}", "variables": [{"name": "who"}]}
    answer = await api.post("cards", card)

    assert (answer.status, answer.json["code"]) == (422, "unknown_variable")
    assert (answer.json["line"], answer.json["column"]) == (2, 6)
    assert answer.json["hint"] == "Did you mean 'who'?"
