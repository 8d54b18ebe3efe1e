"""Saved cards: heads, drafts, versions, differences and tags; what they include; secrets, which are never saved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from promptcard_ext.core.card import Card, Example, Message, ModelSettings, Variable
from promptcard_ext.core.case import Case
from promptcard_ext.core.contract.cards import CardPatch, CardQuery, LabelTarget, TagQuery, TagRename, VersionQuery
from promptcard_ext.core.errors import CardError, Conflict, NotFound
from server_ext.db.engine import Database
from server_ext.db.tables import audit_log
from server_ext.db.tables import test_cases as saved_cases
from server_ext.services import card_diffs, card_versions, cards, cases, drafts, labels, tags
from server_ext.services.precondition import etag_of, if_match
from server_ext.services.scope import Scope
from server_ext.services.text_diff import unified
from tests.conftest import NewActor
from tests.support import GREET, Tenant

STYLE = Card("style", "Be brief.")
ASK = Card("ask", '{% include "style@1" %} {{ question }}')
SECRET = "sk-2f8a-very-secret"


def test_what_a_card_includes_is_saved_with_it_and_stays(tenant: Tenant) -> None:
    with tenant.scope() as scope:
        cards.save_version(scope, STYLE)
        cards.save_version(scope, ASK)
        cards.save_version(scope, Card("style", "Be long."))
        saved = card_versions.load(scope, "ask")[0].card
    assert saved.includes == {"style@1": "Be brief."}
    assert saved.render({"question": "Why?"})[0].content == "Be brief. Why?"


def test_a_card_that_is_not_there_cannot_be_included(tenant: Tenant, stranger: Tenant) -> None:
    with stranger.scope() as scope:
        cards.save_version(scope, STYLE)
    with tenant.scope() as scope, pytest.raises(CardError) as caught:
        cards.save_version(scope, ASK)
    assert caught.value.code == "include_unknown"


def test_a_card_cannot_bring_another_text_under_a_saved_name(tenant: Tenant) -> None:
    with tenant.scope() as scope:
        cards.save_version(scope, STYLE)
        with pytest.raises(CardError) as caught:
            cards.save_version(scope, ASK.compose([Card("style", "Say everything.", version=1)]))
    assert caught.value.code == "include_conflict"


def test_a_chat_card_is_read_as_it_was_saved(tenant: Tenant) -> None:
    chat = Card(
        "chat",
        messages=(Message("system", "Be kind."), Message("assistant", "Yes?"), Message("user", "{{ q }}")),
        examples=(Example("1+1?", "2"),),
        variables=(Variable("q", max_length=50, trust="untrusted"),),
    )
    with tenant.scope() as scope:
        assert cards.save_version(scope, chat).created
        assert not cards.save_version(scope, chat).created
        saved = card_versions.load(scope, "chat")[0].card
    assert saved.content == chat.content
    assert saved.content_hash == chat.content_hash


def test_a_secret_is_never_in_the_database(database: Database, tenant: Tenant) -> None:
    card = Card("deploy", "Hi {{ who }}", variables=(Variable("who"), Variable("token", "secret")))
    with tenant.scope() as scope:
        cards.save_version(scope, card)
        cases.replace_all(scope, "deploy", [Case({"who": "Ada", "token": "env:DEPLOY_TOKEN"})])
    with tenant.scope() as scope, pytest.raises(CardError) as caught:
        cases.replace_all(scope, "deploy", [Case({"who": "Eve", "token": SECRET})])
    assert caught.value.code == "variable_type"
    assert SECRET not in str(caught.value.to_dict())
    with database.transaction(tenant.id) as connection:
        rows = connection.execute(sa.select(saved_cases.c.input_variables)).scalars().all()
    assert rows == [{"who": "Ada", "token": "env:DEPLOY_TOKEN"}]


def save(tenant: Tenant, *cards_to_save: Card) -> None:
    with tenant.scope() as scope:
        for card in cards_to_save:
            cards.save_version(scope, card)


def names(tenant: Tenant, **query: Any) -> list[str]:
    with tenant.scope() as scope:
        return [card.name for card in cards.list_cards(scope, CardQuery(**query)).items]


def test_cards_are_listed_by_name_page_by_page(tenant: Tenant) -> None:
    save(tenant, *(Card(f"card-{letter}", "Hi") for letter in "dbace"))
    found, cursor = [], None
    with tenant.scope() as scope:
        while True:
            page = cards.list_cards(scope, CardQuery(cursor=cursor, limit=2))
            found += [card.name for card in page.items]
            if (cursor := page.next) is None:
                break
    assert found == [f"card-{letter}" for letter in "abcde"]


def test_cards_are_filtered(tenant: Tenant, new_actor: NewActor) -> None:
    grace = replace(tenant, actor=new_actor(tenant))
    save(tenant, Card("one", "Hi", tags=["a", "b"]), Card("two", "Hi", tags=["a"]))
    save(grace, Card("three", "Hi", tags=["b"]), Card("four", "Hi"))
    with tenant.scope() as scope:
        labels.put(scope, "two", "production", LabelTarget(1))
        cards.archive(scope, "four")
        before = cards.get(scope, "one").updated_at
    save(tenant, Card("five", "Hi"))

    assert names(tenant) == ["five", "one", "three", "two"]
    assert names(tenant, tag=["a"]) == ["one", "two"]
    assert names(tenant, tag=["a", "b"]) == ["one"]
    assert names(tenant, tag=["'; drop table"]) == []
    assert names(tenant, label="production") == ["two"]
    assert names(tenant, created_by=grace.actor.user_id) == ["three"]
    assert names(tenant, archived=True) == ["four"]
    assert names(tenant, updated_after=before, tag=["a"]) == []
    assert "five" in names(tenant, updated_after=before)


def test_only_what_is_given_changes(tenant: Tenant) -> None:
    save(tenant, Card("greet", "Hi", title="Greeting", description="Says hi", tags=["old"]))
    with tenant.scope() as scope:
        changed = cards.update(scope, "greet", CardPatch(tags=("new", "new", "other")))
        assert (changed.title, changed.description, changed.tags) == ("Greeting", "Says hi", ["new", "other"])
        assert cards.update(scope, "greet", CardPatch()) == changed
        cleared = cards.update(scope, "greet", CardPatch(title="", description=""))
    assert (cleared.title, cleared.description, cleared.latest_version) == ("", "", 1)


def test_a_change_based_on_an_older_state_is_refused(tenant: Tenant) -> None:
    save(tenant, Card("greet", "Hi"))
    with tenant.scope() as scope:
        seen = if_match(f'"{etag_of(cards.get(scope, "greet"))}"', CardPatch(title="Mine"))
        cards.update(scope, "greet", CardPatch(title="Theirs"), seen)
        with pytest.raises(Conflict) as caught:
            cards.update(scope, "greet", CardPatch(title="Mine"), seen)
        with pytest.raises(Conflict):
            cards.archive(scope, "greet", seen)
    assert caught.value.code == "etag_mismatch"
    assert caught.value.current.title == "Theirs"
    assert caught.value.diff == {"title": {"current": "Theirs", "wanted": "Mine"}}


def test_an_archived_card_is_gone_until_it_is_restored(tenant: Tenant) -> None:
    save(tenant, Card("greet", "Hi"))
    with tenant.scope() as scope:
        archived = cards.archive(scope, "greet")
        assert archived.archived_at is not None
        for use in (cards.get, card_versions.resolve, drafts.get, cards.archive, labels.list_labels):
            with pytest.raises(NotFound):
                use(scope, "greet")
        # A run that was started before goes on.
        assert card_versions.load(scope, "greet", [1])[0].version == 1
        assert cards.restore(scope, str(archived.id)).archived_at is None
        with pytest.raises(NotFound):
            cards.restore(scope, "greet")
        assert cards.get(scope, "greet").latest_version == 1


def test_a_draft_is_kept_beside_the_versions(tenant: Tenant) -> None:
    save(tenant, GREET)
    with tenant.scope() as scope:
        empty = drafts.get(scope, "greet")
        saved = drafts.save(scope, "greet", {"template": "Hello {{ who }}", "title": "Draft"}, if_match(etag_of(empty)))
        assert cards.get(scope, "greet").has_draft
        assert card_versions.resolve(scope, "greet").card.template == GREET.template
        with pytest.raises(Conflict):
            drafts.delete(scope, "greet", if_match(etag_of(empty)))
        gone = drafts.delete(scope, "greet", if_match(etag_of(saved)))
    assert empty.content is None
    assert saved.content == {"template": "Hello {{ who }}", "title": "Draft"}
    assert gone.content is None
    assert gone.revision > saved.revision > empty.revision


def test_a_draft_that_came_late_learns_what_it_would_have_overwritten(tenant: Tenant) -> None:
    save(tenant, GREET)
    with tenant.scope() as scope:
        seen = if_match(etag_of(drafts.get(scope, "greet")))
        drafts.save(scope, "greet", {"template": "One\nTwo {{ who }}"}, seen)
        with pytest.raises(Conflict) as caught:
            drafts.save(scope, "greet", {"template": "One\nThree {{ who }}"}, seen)
    assert caught.value.current.content == {"template": "One\nTwo {{ who }}"}
    assert "-Two {{ who }}\n+Three {{ who }}" in caught.value.diff.messages[0].unified


@pytest.mark.parametrize(
    "draft", [{"templat": "Hi"}, {}, {"template": "Hi", "name": "other"}, {"template": "Hi", "version": 3}]
)
def test_a_draft_that_can_be_no_card_is_refused(tenant: Tenant, draft: dict[str, Any]) -> None:
    save(tenant, GREET)
    with tenant.scope() as scope, pytest.raises(CardError):
        drafts.save(scope, "greet", draft)


def test_a_version_is_found_by_number_label_and_as_the_latest(tenant: Tenant) -> None:
    save(tenant, Card("ask", "One {{ q }}"), Card("ask", "Two {{ q }}", title="Ask"))
    with tenant.scope() as scope:
        labels.put(scope, "ask", "production", LabelTarget(1))
        first = card_versions.resolve(scope, "ask", "production")
        assert (first.version, first.label, first.card.template) == (1, "production", "One {{ q }}")
        assert card_versions.resolve(scope, "ask", "1").label is None
        latest = card_versions.resolve(scope, str(cards.get(scope, "ask").id))
        assert (latest.version, latest.label, latest.card.title) == (2, "latest", "Ask")
        assert latest.content_hash == latest.card.content_hash
        assert card_versions.resolve(scope, "ask") == latest
        cards.update(scope, "ask", CardPatch(title="Asks"))
        assert card_versions.resolve(scope, "ask").etag != latest.etag


@pytest.mark.parametrize(
    "which", ["0", "3", "²", "٣", "9" * 5000, "99999999999", "-1", "", "nightly", "\x00", "a" * 200]
)
def test_a_version_that_does_not_exist_is_not_found(tenant: Tenant, which: str) -> None:
    save(tenant, GREET)
    with tenant.scope() as scope, pytest.raises(NotFound):
        card_versions.resolve(scope, "greet", which)


def test_what_belongs_to_others_looks_like_what_does_not_exist(tenant: Tenant, stranger: Tenant) -> None:
    save(stranger, GREET)
    with stranger.scope() as scope:
        theirs = str(cards.get(scope, "greet").id)
    nobodys = str(uuid4())
    uses: list[Callable[[Scope, str], object]] = [
        cards.get, card_versions.resolve, card_versions.list_versions, drafts.get, labels.list_labels, cases.list_cases,
        cards.archive, cards.restore, drafts.delete,
        lambda scope, card: cards.update(scope, card, CardPatch(title="x")),
        lambda scope, card: labels.put(scope, card, "production", LabelTarget(1)),
        lambda scope, card: card_diffs.diff(scope, card, "1", "draft"),
    ]  # fmt: skip
    for use in uses:
        told = []
        for card in (theirs, nobodys):
            with tenant.scope() as scope, pytest.raises(NotFound) as caught:
                use(scope, card)
            told.append(str(caught.value).replace(card, "ID"))
        assert told[0] == told[1]


def test_versions_are_listed_page_by_page(tenant: Tenant) -> None:
    save(tenant, *(Card("ask", f"{number} {{{{ q }}}}", note=f"n{number}") for number in range(5)))
    with tenant.scope() as scope:
        first = card_versions.list_versions(scope, "ask", VersionQuery(limit=3))
        rest = card_versions.list_versions(scope, "ask", VersionQuery(limit=3, cursor=first.next))
    assert [one.version for one in (*first.items, *rest.items)] == [1, 2, 3, 4, 5]
    assert rest.next is None
    assert [one.card.note for one in rest.items] == ["n3", "n4"]


def test_a_difference_names_texts_variables_and_settings(tenant: Tenant) -> None:
    save(
        tenant,
        Card("ask", "Say\n{{ a }} {{ b }}", variables=(Variable("a"), Variable("b"))),
        Card(
            "ask", "Tell\n{{ a }} {{ c }}", system="Be kind.",
            variables=(Variable("a", "integer"), Variable("c")), settings=ModelSettings(temperature=0.5),
        ),
    )  # fmt: skip
    with tenant.scope() as scope:
        drafts.save(scope, "ask", {"template": "Say\n{{ a }} {{ b }}", "variables": [{"name": "a"}, {"name": "b"}]})
        found = card_diffs.diff(scope, "ask", "1", "latest")
        assert card_diffs.diff(scope, "ask", "1", "draft").equal
    assert not found.equal
    assert {one.place: one.change for one in found.messages} == {"system": "added", "template": "changed"}
    assert "-Say\n" in next(one.unified for one in found.messages if one.place == "template")
    assert {one.name: one.change for one in found.variables} == {"a": "changed", "b": "removed", "c": "added"}
    assert [(one.name, one.after) for one in found.settings] == [("temperature", 0.5)]


def test_a_difference_of_long_texts_ends_soon() -> None:
    lines = ["x" if number % 2 else f"y{number % 7}" for number in range(100_000)]
    before, after = "\n".join(lines), "\n".join(reversed(lines))
    assert unified(before, after).count("\n") == 2 + 2 * len(lines)


def test_tags_are_counted_and_renamed_on_all_cards(tenant: Tenant, stranger: Tenant) -> None:
    save(tenant, Card("one", "Hi", tags=["b", "a"]), Card("two", "Hi", tags=["a", "c", "z"]), Card("three", "Hi"))
    save(stranger, Card("one", "Hi", tags=["a"]))
    with tenant.scope() as scope:
        first = tags.list_tags(scope, TagQuery(limit=2))
        rest = tags.list_tags(scope, TagQuery(limit=2, cursor=first.next))
        assert [(one.tag, one.cards) for one in (*first.items, *rest.items)] == [("a", 2), ("b", 1), ("c", 1), ("z", 1)]
        assert tags.rename(scope, "a", TagRename("c")).cards == 2
        assert cards.get(scope, "one").tags == ["b", "c"]
        assert cards.get(scope, "two").tags == ["c", "z"]
        with pytest.raises(NotFound):
            tags.rename(scope, "a", TagRename("x"))
    with stranger.scope() as scope:
        assert cards.get(scope, "one").tags == ["a"]


def test_every_change_of_a_card_is_in_the_audit_trail(tenant: Tenant) -> None:
    save(tenant, Card("greet", "Hi", tags=["a"]))
    with tenant.scope() as scope:
        cards.update(scope, "greet", CardPatch(title="T"))
        drafts.save(scope, "greet", {"template": "Ho"})
        drafts.delete(scope, "greet")
        labels.put(scope, "greet", "production", LabelTarget(1))
        labels.delete(scope, "greet", "production")
        tags.rename(scope, "a", TagRename("b"))
        cards.archive(scope, "greet")
        cards.restore(scope, "greet")
        actions = scope.connection.scalars(sa.select(audit_log.c.action).order_by(audit_log.c.seq)).all()
    assert list(actions[-9:]) == [
        "card.version_saved", "card.updated", "card.draft_saved", "card.draft_deleted", "label.created",
        "label.deleted", "tag.renamed", "card.archived", "card.restored",
    ]  # fmt: skip
