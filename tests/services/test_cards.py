"""Saved cards: what they include, and secrets, which are never saved."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from promptcard_ext.core.card import Card, Example, Message, Variable
from promptcard_ext.core.case import Case
from promptcard_ext.core.errors import CardError
from server_ext.db.engine import Database
from server_ext.db.tables import test_cases as saved_cases
from server_ext.services import card_versions, cards, cases
from tests.support import Tenant

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
