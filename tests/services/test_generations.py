"""Answers as they are stored: with what was asked, and the ledger of calls."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from promptcard_ext.core.card import Card
from promptcard_ext.core.contract.generations import GenerationHead, GenerationQuery
from promptcard_ext.core.contract.runs import RunSpec
from promptcard_ext.core.errors import NotFound
from server_ext.services import cards, cases, generations, items, runs
from tests.conftest import StartWorker
from tests.services.test_runs_control import ended
from tests.support import ECHO, Tenant, greetings, wait_for


def found(tenant: Tenant, **query: Any) -> list[GenerationHead]:
    with tenant.scope() as scope:
        return generations.list_generations(scope, GenerationQuery(**query)).items


def test_an_answer_is_shown_with_its_question_its_item_and_its_calls(tenant: Tenant, start_worker: StartWorker) -> None:
    run_id = tenant.start([ECHO], count=1)
    start_worker()
    wait_for(lambda: tenant.status(run_id) == "completed")
    (head,) = found(tenant)
    with tenant.scope() as scope:
        shown = generations.get(scope, str(head.id))
        (item,) = items.list_items(scope, run_id).items
    assert head.output == "Say hello to Ada 0."
    assert shown.request["messages"] == [{"role": "user", "content": "Say hello to Ada 0."}]
    assert shown.generation == item.generation
    (use,) = shown.uses
    assert (use.run_id, use.ordinal, use.outcome) == (UUID(run_id), 0, "pass")
    (attempt,) = use.attempts
    assert (attempt.attempt, attempt.state) == (1, "recorded")
    assert attempt.closed_at is not None


def test_answers_are_found_by_card_model_question_and_time(tenant: Tenant) -> None:
    ended(tenant, tenant.start([ECHO], count=4))
    with tenant.scope() as scope:
        cards.save_version(scope, Card("other", "Hi {{ who }}"))
        cases.replace_all(scope, "other", greetings(2))
        other = str(runs.create(scope, RunSpec(card="other", models=[ECHO])).id)
    ended(tenant, other)
    everything = found(tenant)
    assert len(everything) == 3 + 2
    assert len(found(tenant, card="greet")) == 3
    assert len(found(tenant, card="other")) == 2
    assert len(found(tenant, model="echo", provider="simulated")) == 5
    assert found(tenant, model="nothing") == []
    assert len(found(tenant, request_hash="a" * 64)) == 5
    newest: datetime = everything[0].created_at
    assert len(found(tenant, created_after=newest)) == 2
    assert len(found(tenant, created_before=newest)) == 3
    assert found(tenant, created_after=newest + timedelta(seconds=1)) == []
    with pytest.raises(NotFound):
        found(tenant, card="nothing")


def test_answers_are_paged_newest_first(tenant: Tenant) -> None:
    ended(tenant, tenant.start([ECHO], count=12))
    everything = [head.id for head in found(tenant)]
    seen, cursor = [], None
    while True:
        with tenant.scope() as scope:
            page = generations.list_generations(scope, GenerationQuery(limit=4, cursor=cursor))
        seen += [head.id for head in page.items]
        if (cursor := page.next) is None:
            break
    assert seen == everything
    assert len(seen) == 9


def test_another_workspace_sees_no_answer(tenant: Tenant, stranger: Tenant) -> None:
    ended(tenant, tenant.start([ECHO], count=1))
    (head,) = found(tenant)
    assert found(stranger) == []
    for reference in (str(head.id), "no id"):
        with stranger.scope() as scope, pytest.raises(NotFound):
            generations.get(scope, reference)
