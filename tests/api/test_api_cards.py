"""Cards, versions, drafts and cases over REST."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from promptcard_ext.core.case import Case
from tests.api.conftest import Api
from tests.support import greetings

CARD = {"name": "greet", "template": "Say hello to {{ who }}."}
ADA = Case({"who": "Ada"}).uid
CASES = {"cases": [{"variables": {"who": "Ada"}, "assertions": [{"type": "contains", "value": "Ada"}]}]}


async def pages(api: Api, path: str, limit: int) -> list[Any]:
    """Return all entries of a list of the workspace, page by page."""
    return await all_pages(api, f"{api.workspace}/{path}", limit)


async def all_pages(api: Api, path: str, limit: int) -> list[Any]:
    """Return all entries of a list, page by page."""
    found: list[Any] = []
    edge = ""
    while True:
        answer = await api.ask("GET", f"{path}?limit={limit}{edge}")
        assert len(answer.json["items"]) <= limit
        found += answer.json["items"]
        if answer.json["next"] is None:
            return found
        edge = f"&cursor={answer.json['next']}"


async def test_workspaces_are_made_listed_and_read(api: Api) -> None:
    made = await api.ask("POST", "workspaces", {"name": "Acme & Söhne"})
    listed = await all_pages(api, "workspaces", 100)
    read = await api.ask("GET", f"workspaces/{made.json['slug']}")

    assert made.status == 201
    assert made.json["id"] in {workspace["id"] for workspace in listed}
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
    templates = [entry["card"]["template"] for entry in versions.json["items"]]
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
    assert versions.json["items"][0]["card"]["template"] == f"{odd} {{{{ who }}}}"


async def test_a_draft_is_saved_on_top_of_the_state_it_is_based_on(api: Api) -> None:
    await api.post("cards", CARD)
    state = (await api.get("cards/greet/draft")).headers["ETag"]
    mine = {"template": "Hi {{ who }}!"}

    saved = await api.put("cards/greet/draft", mine, headers={"If-Match": state})
    late = await api.put("cards/greet/draft", {"template": "Late {{ who }}"}, headers={"If-Match": state})
    gone = await api.ask("DELETE", f"{api.workspace}/cards/greet/draft", headers={"If-Match": saved.headers["ETag"]})

    assert (saved.status, saved.json["content"]) == (200, mine)
    assert saved.headers["ETag"] != state
    assert (late.status, late.json["code"]) == (412, "etag_mismatch")
    assert late.json["current"]["content"] == mine
    assert late.json["diff"]["messages"][0]["place"] == "template"
    assert gone.status == 204
    assert (await api.get("cards/greet/draft")).json["content"] is None


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "cards/greet", {"title": "x"}),
        ("DELETE", "cards/greet", None),
        ("PUT", "cards/greet/draft", {"template": "Hi"}),
        ("DELETE", "cards/greet/draft", None),
        ("PUT", "cards/greet/labels/production", {"version": 2}),
        ("DELETE", "cards/greet/labels/production", None),
        ("PATCH", f"cards/greet/cases/{ADA}", {"name": "x"}),
        ("DELETE", f"cards/greet/cases/{ADA}", None),
    ],
)
async def test_a_change_says_which_state_it_is_based_on(api: Api, method: str, path: str, body: Any) -> None:
    await api.post("cards", CARD)
    await api.post("cards", {**CARD, "template": "Hi {{ who }}"})
    await api.put("cards/greet/labels/production", {"version": 1})
    await api.put("cards/greet/cases", CASES)
    url = f"{api.workspace}/{path}"
    state = (await api.get(path)).headers["ETag"]

    none = await api.ask(method, url, body)
    wrong = await api.ask(method, url, body, headers={"If-Match": '"0123"'})
    right = await api.ask(method, url, body, headers={"If-Match": f'"x", {state}'})

    assert (none.status, none.json["code"]) == (428, "if_match_missing")
    assert (wrong.status, wrong.json["code"]) == (412, "etag_mismatch")
    assert "current" in wrong.json
    assert right.status == (204 if method == "DELETE" else 200)
    assert method == "DELETE" or right.headers["ETag"] != state


async def test_a_draft_that_can_be_no_card_is_refused(api: Api) -> None:
    await api.post("cards", CARD)
    answer = await api.put("cards/greet/draft", {"templat": "Hi"}, headers={"If-Match": "*"})
    assert (answer.status, answer.json["code"]) == (422, "card_invalid")


async def test_a_card_is_changed_archived_and_restored(api: Api) -> None:
    await api.post("cards", {**CARD, "tags": ["a"]})
    any_state = {"If-Match": "*"}
    patched = await api.ask("PATCH", f"{api.workspace}/cards/greet", {"title": "Greeting"}, headers=any_state)
    assert (patched.json["title"], patched.json["tags"]) == ("Greeting", ["a"])
    assert (await api.ask("DELETE", f"{api.workspace}/cards/greet", headers=any_state)).status == 204
    assert (await api.get("cards/greet")).status == 404
    assert [one["name"] for one in (await api.get("cards?archived=true")).json["items"]] == ["greet"]
    assert (await api.post("cards/greet/restore")).json["archived_at"] is None


async def test_a_program_fetches_a_version_by_label(api: Api) -> None:
    await api.post("cards", CARD)
    await api.post("cards", {**CARD, "template": "Hi {{ who }}"})
    await api.put("cards/greet/labels/production", {"version": 1})

    fetched = await api.get("cards/greet/fetch?label=production")
    assert (fetched.json["version"], fetched.json["card"]["template"]) == (1, CARD["template"])
    assert (await api.get("cards/greet/fetch")).json["version"] == 2
    assert (await api.get("cards/greet/fetch?version=1")).json["label"] is None
    assert (await api.get("cards/greet/versions/production")).json["version"] == 1
    assert (await api.get("cards/greet/fetch?label=nightly")).status == 404
    assert [one["label"] for one in (await api.get("cards/greet/labels")).json["items"]] == ["production"]
    diff = (await api.get("cards/greet/diff?base=production")).json
    assert [one["change"] for one in diff["messages"]] == ["changed"]


async def test_cards_are_searched_and_tags_renamed(api: Api) -> None:
    await api.post("cards", {**CARD, "tags": ["a/b", "c"]})
    found = (await api.get("search?text=greeet")).json["items"] + (await api.get("search?text=hello")).json["items"]
    assert [one["card"]["name"] for one in found] == ["greet", "greet"]
    renamed = await api.ask("PATCH", f"{api.workspace}/tags/a%2Fb", {"tag": "d"})
    assert renamed.json == {"cards": 1}
    assert (await api.get("tags")).json["items"] == [{"tag": "c", "cards": 1}, {"tag": "d", "cards": 1}]


async def test_a_case_is_added_once_however_often_it_is_sent(api: Api) -> None:
    await api.post("cards", CARD)
    key = {"Idempotency-Key": "one"}
    first = await api.post("cards/greet/cases", {"variables": {"who": "Ada"}}, headers=key)
    again = await api.post("cards/greet/cases", {"variables": {"who": "Ada"}}, headers=key)
    twin = await api.post("cards/greet/cases", {"variables": {"who": "Ada"}})
    assert (first.status, again.status, again.json) == (201, 201, first.json)
    assert (twin.status, twin.json["code"]) == (422, "case_twice")


async def test_cases_are_changed_in_bulk_imported_and_exported(api: Api) -> None:
    await api.post("cards", CARD)
    bulk = await api.post("cards/greet/cases/bulk", {"save": [{"variables": {"who": who}} for who in ("Ada", "=1+1")]})
    preview = await api.post("cards/greet/cases/import?format=csv&dry_run=true", b"who\nGrace\n")
    lines = await api.get("cards/greet/cases/export?format=jsonl")
    table = await api.get("cards/greet/cases/export")

    assert (bulk.json["added"], preview.json["added"], preview.json["removed"]) == (2, 1, 2)
    assert preview.json["dry_run"] is True
    assert lines.raw.count(b"\n") == 2
    assert table.headers["Content-Type"].startswith("text/csv")
    assert table.raw == b"who\nAda\n'=1+1\n"
    broken = await api.post("cards/greet/cases/import?format=xlsx", b"nonsense")
    assert (broken.status, broken.json["code"]) == (422, "table_invalid")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("cards/greet/cases/bulk", {"save": [{"variables": {"n": n}} for n in range(1001)]}),
        ("cards/greet/cases/bulk", {"delete": ["x"]}),
        ("cards/greet/cases/bulk", {"remove": []}),
        ("cards", {**CARD, "unknown": 1}),
        ("cards", {**CARD, "tags": ["a"] * 21}),
        ("cards", {**CARD, "title": "x" * 501}),
        ("cards", {**CARD, "description": "x" * 2001}),
    ],
)
async def test_what_is_beyond_the_limits_is_refused(api: Api, path: str, body: Any) -> None:
    await api.post("cards", CARD)
    assert (await api.post(path, body)).status == 422


async def test_what_the_limits_allow_is_taken(api: Api) -> None:
    variables = [{"name": f"v{number}"} for number in range(20)]
    most = {
        **CARD, "template": "x" * 10_000, "title": "t" * 500, "description": "d" * 2000, "variables": variables,
        "tags": [f"{number:050}" for number in range(10)],
    }  # fmt: skip
    assert (await api.post("cards", most)).status == 201


async def test_putting_cases_replaces_them(api: Api) -> None:
    await api.post("cards", CARD)
    await api.put("cards/greet/cases", {"cases": [{"variables": {"who": who}} for who in ("Ada", "Grace", "Edsger")]})
    kept = {case["case_uid"]: case["id"] for case in (await api.get("cards/greet/cases")).json["items"]}

    answer = await api.put("cards/greet/cases", {"cases": [{"variables": {"who": who}} for who in ("Barbara", "Ada")]})
    now = (await api.get("cards/greet/cases")).json["items"]

    assert answer.json == {"count": 2}
    assert [case["variables"]["who"] for case in now] == ["Barbara", "Ada"]
    assert kept[now[1]["case_uid"]] == now[1]["id"]  # the same case, with its history
    assert (await api.put("cards/greet/cases", {"cases": []})).json == {"count": 0}
    assert (await api.get("cards/greet/cases")).json == {"items": [], "next": None}


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

    assert [card["name"] for card in await pages(api, "cards", limit)] == names
    cases = await pages(api, "cards/card-a/cases", limit)
    assert [case["position"] for case in cases] == list(range(7))


async def test_a_card_that_appears_meanwhile_moves_no_other_to_another_page(api: Api) -> None:
    for name in ("card-b", "card-d", "card-f"):
        await api.post("cards", {**CARD, "name": name})
    first = await api.get("cards?limit=2")
    await api.post("cards", {**CARD, "name": "card-a"})
    await api.post("cards", {**CARD, "name": "card-e"})
    rest = await api.get(f"cards?limit=2&cursor={first.json['next']}")

    assert [card["name"] for card in first.json["items"] + rest.json["items"]] == [
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
