"""Labels: names for versions that can be moved."""

from __future__ import annotations

import json
from contextlib import suppress

import psycopg
import pytest
import sqlalchemy as sa

from promptcard_ext.core.card import Card
from promptcard_ext.core.contract.cards import LabelTarget
from promptcard_ext.core.errors import CardError, Conflict, NotFound
from server_ext.db.tables import audit_log
from server_ext.embedded import Services
from server_ext.services import card_versions, cards, labels
from server_ext.services.changes import CHANNEL
from server_ext.services.precondition import etag_of, if_match
from tests.support import Tenant


@pytest.fixture
def ask(tenant: Tenant) -> Tenant:
    """A workspace with a card of three versions."""
    with tenant.scope() as scope:
        for number in range(3):
            cards.save_version(scope, Card("ask", f"{number} {{{{ q }}}}"))
        cards.save_version(scope, Card("other", "Hi"))
    return tenant


def test_a_label_is_put_moved_and_taken_off(ask: Tenant) -> None:
    with ask.scope() as scope:
        first = labels.put(scope, "ask", "production", LabelTarget(1))
        moved = labels.put(scope, "ask", "production", LabelTarget(3), if_match(etag_of(first)))
        labels.put(scope, "ask", "next", LabelTarget(3))
        assert moved.version == 3
        assert labels.get(scope, "ask", "production") == moved
        assert [one.label for one in labels.list_labels(scope, "ask").items] == ["next", "production"]
        assert labels.list_labels(scope, "other").items == []
        labels.delete(scope, "ask", "production", if_match(etag_of(moved)))
        with pytest.raises(NotFound):
            labels.get(scope, "ask", "production")
        with pytest.raises(NotFound):
            card_versions.resolve(scope, "ask", "production")


def test_a_label_that_somebody_moved_meanwhile_stays_where_they_put_it(ask: Tenant) -> None:
    with ask.scope() as scope:
        seen = if_match(etag_of(labels.put(scope, "ask", "production", LabelTarget(1))))
        labels.put(scope, "ask", "production", LabelTarget(2), seen)
        for change in (
            lambda: labels.put(scope, "ask", "production", LabelTarget(3), seen),
            lambda: labels.delete(scope, "ask", "production", seen),
        ):
            with pytest.raises(Conflict) as caught:
                change()
            assert caught.value.current.version == 2
        assert card_versions.resolve(scope, "ask", "production").version == 2


def test_moving_a_label_without_saying_from_where_is_refused(ask: Tenant) -> None:
    with ask.scope() as scope:
        labels.put(scope, "ask", "production", LabelTarget(1), if_match(None))
        with pytest.raises(CardError) as caught:
            labels.put(scope, "ask", "production", LabelTarget(2), if_match(None))
    assert caught.value.code == "if_match_missing"


def test_a_label_that_was_moved_away_and_back_is_another_state(ask: Tenant) -> None:
    with ask.scope() as scope:
        first = labels.put(scope, "ask", "production", LabelTarget(1))
        labels.put(scope, "ask", "production", LabelTarget(2))
        back = labels.put(scope, "ask", "production", LabelTarget(1))
    assert etag_of(first) != etag_of(back)


def test_latest_cannot_be_moved(ask: Tenant) -> None:
    with ask.scope() as scope, pytest.raises(CardError) as caught:
        labels.put(scope, "ask", "latest", LabelTarget(1))
    assert caught.value.code == "label_reserved"


@pytest.mark.parametrize("label", ["", "1", "Prod", "a b", "a/b", "ä", "a\n", "\x00", "\ud800", "a" * 101, "-a"])
def test_a_name_that_can_be_no_label_is_refused(ask: Tenant, label: str) -> None:
    with ask.scope() as scope, pytest.raises(CardError) as caught:
        labels.put(scope, "ask", label, LabelTarget(1))
    assert caught.value.code == "label_invalid"


def test_a_label_needs_a_version_of_its_card(ask: Tenant) -> None:
    with ask.scope() as scope, pytest.raises(NotFound):
        labels.put(scope, "other", "production", LabelTarget(2))


def test_labels_of_a_card_are_limited(ask: Tenant) -> None:
    with ask.scope() as scope:
        for number in range(labels.MAX_LABELS):
            labels.put(scope, "ask", f"l{number}", LabelTarget(1))
        with pytest.raises(CardError) as caught:
            labels.put(scope, "ask", "one-more", LabelTarget(1))
        assert labels.put(scope, "ask", "l0", LabelTarget(2)).version == 2
    assert caught.value.code == "too_many_labels"


def test_where_a_label_has_been_is_in_the_audit_trail(ask: Tenant) -> None:
    with ask.scope() as scope:
        for version in (1, 3, 3):
            labels.put(scope, "ask", "production", LabelTarget(version))
        labels.delete(scope, "ask", "production")
        query = sa.select(audit_log.c.action, audit_log.c.detail).where(audit_log.c.action.like("label.%"))
        found = [(row.action, row.detail) for row in scope.connection.execute(query.order_by(audit_log.c.seq))]
    assert found == [
        ("label.created", {"label": "production", "version": 1, "before": None}),
        ("label.moved", {"label": "production", "version": 3, "before": 1}),
        ("label.deleted", {"label": "production", "before": 3}),
    ]


def test_every_server_hears_of_a_moved_label_when_it_is_committed(ask: Tenant, services: Services) -> None:
    with ask.scope() as scope:
        labels.put(scope, "ask", "production", LabelTarget(1))
    url = services.database_url.replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True) as listener:
        listener.execute(f"listen {CHANNEL}")
        with suppress(ZeroDivisionError), ask.scope() as scope:
            labels.put(scope, "ask", "production", LabelTarget(3))
            raise ZeroDivisionError
        with ask.scope() as scope:
            labels.put(scope, "ask", "production", LabelTarget(2))
        heard = [json.loads(one.payload) for one in listener.notifies(timeout=30, stop_after=1)]
    assert heard == [[str(ask.id), "label", "ask/production"]]
