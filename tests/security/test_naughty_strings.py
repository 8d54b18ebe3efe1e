"""Whatever text is given for whatever field is stored and comes back the same, or is refused as a user's mistake."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import msgspec
import pytest
import yaml

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.card import Card, Message, ModelSettings, Variable
from promptcard_ext.core.case import Case
from promptcard_ext.core.contract.cards import CardPatch, CardQuery, LabelTarget, SearchQuery, TagQuery, TagRename
from promptcard_ext.core.contract.cases import CasePatch, CaseQuery, ExportQuery, ImportQuery, SavedCase
from promptcard_ext.core.errors import CardError, FileError, NotFound
from promptcard_ext.interchange.formula_guard import guarded, unguarded
from server_ext.services import (
    card_diffs,
    card_search,
    card_versions,
    cards,
    case_transfer,
    cases,
    drafts,
    labels,
    tags,
)
from server_ext.services.scope import Scope
from tests.security.naughty import texts
from tests.support import Tenant

TEXTS = list(texts())
REFUSALS = (CardError, FileError, NotFound)
Use = Callable[[Scope, str], object]
T = TypeVar("T")


def saved(scope: Scope, card: Card) -> Card:
    """Save a card and return it as it is read again."""
    cards.save_version(scope, card)
    return card_versions.resolve(scope, card.name).card


def replaced(scope: Scope, case: Case) -> SavedCase:
    """Make it the only case of the card and return it as it is read again."""
    cases.replace_all(scope, "free", [case])
    return cases.list_cases(scope, "free").items[0]


def imported(scope: Scope, data: bytes, kind: Any) -> SavedCase:
    """Import a file as the only cases of the card and return the first as it is read again."""
    case_transfer.import_cases(scope, "free", data, ImportQuery(kind))
    return cases.list_cases(scope, "free").items[0]


def table(*rows: list[str]) -> bytes:
    file = io.StringIO(newline="")
    csv.writer(file, quoting=csv.QUOTE_ALL).writerows(rows)
    return file.getvalue().encode("utf-8", "surrogatepass")


def line(**fields: object) -> bytes:
    return json.dumps(fields).encode()


def node(text: str) -> bytes:
    return yaml.safe_dump([{"variables": {"a": text}}], default_style='"').encode()


def patched(scope: Scope, **fields: object) -> Any:
    """Change the card's head by what a request says."""
    return cards.update(scope, "free", read(fields, CardPatch))


def read(fields: dict[str, object], kind: type[T]) -> T:
    """Read a request, whose limits are checked there."""
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        raise CardError(str(error), code="request_invalid") from None


def whole(text: str) -> str:
    """Return a text whose halves of characters are joined, as JSON reads them."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def drafted(scope: Scope, **fields: object) -> dict[str, Any]:
    return drafts.save(scope, "free", {"template": "x", **fields}).content or {}


def declared(scope: Scope, **fields: Any) -> Variable:
    return saved(scope, Card("one", "Hi", variables=(Variable("a", **fields),))).variables[0]


def renamed_tag(scope: Scope, text: str) -> str:
    patched(scope, tags=["old"])
    tags.rename(scope, "old", read({"tag": text}, TagRename))
    return cards.get(scope, "free").tags[0]


def asserted(scope: Scope, text: str) -> object:
    return replaced(scope, Case({"a": 1}, (Assertion("equals", text),))).assertions[0]["value"]


def column(scope: Scope, text: str) -> str:
    made = imported(scope, table([guarded(text), "z"], ["1", "2"]), "csv")
    return min(made.variables, key=lambda name: name == "z")


def changed_case(scope: Scope, text: str) -> object:
    case = replaced(scope, Case({"a": 1}))
    patch = CasePatch(variables={"a": text}, metadata={"b": text})
    changed = cases.update(scope, "free", str(case.id), patch)
    assert changed.metadata["b"] == text
    return changed.variables["a"]


STORED: dict[str, Use] = {
    "title": lambda scope, text: saved(scope, Card("one", "Hi", title=text)).title,
    "description": lambda scope, text: saved(scope, Card("one", "Hi", description=text)).description,
    "tag": lambda scope, text: saved(scope, Card("one", "Hi", tags=(text,))).tags[0],
    "note": lambda scope, text: saved(scope, Card("noted", f"Hi {hash(text)}", note=text)).note,
    "template": lambda scope, text: saved(scope, Card("one", text)).template,
    "system": lambda scope, text: saved(scope, Card("one", "Hi", system=text)).system or "",
    "message": lambda scope, text: saved(scope, Card("one", messages=(Message("user", text),) * 2)).messages[1].content,
    "name": lambda scope, text: saved(scope, Card(text, "Hi")).name,
    "default": lambda scope, text: declared(scope, default=text).default,
    "about a variable": lambda scope, text: declared(scope, description=text).description,
    "value of an enum": lambda scope, text: declared(scope, type="enum", values=(text,)).values[0],
    "setting": lambda scope, text: saved(
        scope, Card("one", "Hi", settings=ModelSettings(extra={"given": text}))
    ).settings.extra["given"],
    "changed title": lambda scope, text: patched(scope, title=text).title,
    "changed description": lambda scope, text: patched(scope, description=text).description,
    "changed tag": lambda scope, text: patched(scope, tags=[text]).tags[0],
    "draft": lambda scope, text: drafted(scope, template=text)["template"],
    "title of a draft": lambda scope, text: drafted(scope, title=text)["title"],
    "label": lambda scope, text: labels.put(scope, "free", text, LabelTarget(1)).label,
    "renamed tag": renamed_tag,
    "case name": lambda scope, text: replaced(scope, Case({"a": 1}, name=text)).name if text else "",
    "case value": lambda scope, text: replaced(scope, Case({"a": text})).variables["a"],
    "case variable": lambda scope, text: next(iter(replaced(scope, Case({text: 1})).variables)),
    "nested value": lambda scope, text: replaced(scope, Case({"a": [{text: [text]}]})).variables["a"][0][text][0],
    "expected output": lambda scope, text: replaced(scope, Case({"a": 1}, expected_output=text)).expected_output,
    "priority": lambda scope, text: replaced(scope, Case({"a": 1}, priority=text)).priority,
    "metadata": lambda scope, text: replaced(scope, Case({"a": 1}, metadata={text: text})).metadata[text],
    "assertion": asserted,
    "changed case": changed_case,
    "cell": lambda scope, text: imported(scope, table(["a", "b"], [guarded(text), "x"]), "csv").variables.get("a", ""),
    "column": column,
    "line": lambda scope, text: imported(scope, line(variables={"a": text}), "jsonl").variables["a"],
    "key of a line": lambda scope, text: next(iter(imported(scope, line(variables={text: 1}), "jsonl").variables)),
    "node": lambda scope, text: imported(scope, node(text), "yaml").variables["a"],
}  # fmt: skip


def as_column(text: str) -> str:
    """Return the variable of such a column: spaces around it are no part of it, and some names mean something."""
    name = unguarded(guarded(text).strip())
    return "z" if not name or name.startswith("__") else name


CHANGED: dict[str, Callable[[str], object]] = {"column": as_column}


ASKED: dict[str, Use] = {
    "card": cards.get,
    "version": lambda scope, text: card_versions.resolve(scope, "free", text),
    "label": lambda scope, text: labels.get(scope, "free", text),
    "side of a difference": lambda scope, text: card_diffs.diff(scope, "free", text, "latest"),
    "case": lambda scope, text: cases.get(scope, "free", text),
    "search": lambda scope, text: card_search.search(scope, SearchQuery(text[:200])),
    "text of cases": lambda scope, text: cases.list_cases(scope, "free", CaseQuery(text=text)),
    "priority of cases": lambda scope, text: cases.list_cases(scope, "free", CaseQuery([text])),
    "tag of cards": lambda scope, text: cards.list_cards(scope, CardQuery([text])),
    "label of cards": lambda scope, text: cards.list_cards(scope, CardQuery(label=text)),
    "tag to rename": lambda scope, text: tags.rename(scope, text, TagRename("new")),
    "label to delete": lambda scope, text: labels.delete(scope, "free", text),
    "case to delete": lambda scope, text: cases.delete(scope, "free", text),
    "cursor of cards": lambda scope, text: cards.list_cards(scope, CardQuery(cursor=text)),
    "cursor of tags": lambda scope, text: tags.list_tags(scope, TagQuery(text)),
    "cursor of cases": lambda scope, text: cases.list_cases(scope, "free", CaseQuery(cursor=text)),
    "cursor of a search": lambda scope, text: card_search.search(scope, SearchQuery("x", text)),
    "file": lambda scope, text: [
        looked_at(scope, text.encode("utf-8", "surrogatepass"), kind) for kind in ("csv", "jsonl", "xlsx", "yaml")
    ],
}


def looked_at(scope: Scope, data: bytes, kind: Any) -> None:
    with suppress(*REFUSALS):
        case_transfer.import_cases(scope, "free", data[:100_000], ImportQuery(kind, dry_run=True))


@pytest.fixture
def shelf(tenant: Tenant) -> Tenant:
    """A workspace with a card that takes any variables, and a case."""
    with tenant.scope() as scope:
        cards.save_version(scope, Card("free", "Hi"))
    return tenant


def test_there_are_many_texts() -> None:
    assert len(TEXTS) >= 300


@pytest.mark.parametrize("field", STORED)
def test_a_text_is_stored_as_it_is_or_refused(shelf: Tenant, field: str) -> None:
    use, change = STORED[field], CHANGED.get(field, str)
    kept = 0
    with shelf.scope() as scope:
        for text in TEXTS:
            try:
                found = use(scope, text)
            except REFUSALS:
                continue
            assert found in (change(text), whole(text)), repr(text[:100])
            kept += 1
    assert kept >= (5 if field in ("name", "label") else 100)


@pytest.mark.parametrize("place", ASKED)
def test_a_text_that_is_asked_for_is_found_or_not_or_refused(shelf: Tenant, place: str) -> None:
    with shelf.scope() as scope:
        for text in TEXTS:
            try:
                ASKED[place](scope, text)
            except REFUSALS:
                continue


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_what_is_exported_can_be_imported(shelf: Tenant, kind: Any) -> None:
    # CSV is UTF-8, which has no halves of characters.
    given = [text for text in TEXTS if kind != "csv" or text.encode(errors="ignore").decode() == text]
    with shelf.scope() as scope:
        cases.replace_all(scope, "free", [Case({"a": text}, name="one") for text in dict.fromkeys(map(whole, given))])
        data = b"".join(case_transfer.export_cases(scope, "free", ExportQuery(kind))[1])
        done = case_transfer.import_cases(scope, "free", data, ImportQuery(kind))
    assert (done.added, done.changed, done.removed) == (0, 0, 0)
    assert done.unchanged >= 400


@pytest.mark.parametrize("depth", [10, 60, 500, 5_000, 100_000])
def test_values_nested_deep_are_stored_or_refused(shelf: Tenant, depth: int) -> None:
    nested: Any = "x"
    for _ in range(depth):
        nested = [nested]
    text = b'{"variables": {"a": ' + b"[" * depth + b'"x"' + b"]" * depth + b"}}"
    with shelf.scope() as scope:
        for use in (
            lambda: replaced(scope, Case({"a": nested})).variables["a"],
            lambda: replaced(scope, Case({"a": 1}, metadata={"a": nested})).metadata["a"],
            lambda: imported(scope, text, "jsonl").variables["a"],
            lambda: imported(scope, b"- " + text, "yaml").variables["a"],
        ):
            try:
                found = use()
            except REFUSALS:
                continue
            for _ in range(depth):
                (found,) = found
            assert found == "x"
