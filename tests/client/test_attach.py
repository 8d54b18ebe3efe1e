"""Coming back to runs of a real server, and steering them there."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any

import pytest

from promptcard_ext.client.discovery import Address
from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.case import Case
from promptcard_ext.core.errors import Conflict, NotFound
from promptcard_ext.kernel.attach import attach
from promptcard_ext.kernel.handle import RunHandle
from promptcard_ext.kernel.run_keeper import RunKeeper
from promptcard_ext.kernel.workspace import Workspace
from tests.conftest import StartWorker
from tests.support import ECHO, GREET, SLOW, Tenant, greetings, wait_for


def keeper_of(run: RunHandle) -> RunKeeper:
    assert run.keeper is not None
    return run.keeper


def test_a_run_is_attached_to_with_all_its_results_and_followed_to_its_end(
    workspace: Workspace, start_worker: StartWorker, address: Address, tenant: Tenant
) -> None:
    workspace.save(GREET, greetings(12))
    begun = workspace.run("greet", SLOW, concurrency=2, repeats=2)
    start_worker()
    wait_for(lambda: begun.counts.done >= 2)
    assert begun.id is not None
    again = attach(begun.id, workspace=tenant.slug, url=address.url, token=address.token)
    wait_for(lambda: again.counts.done >= 4)
    assert again.status == "running"
    again.cancel()
    assert again.wait(30).status == begun.wait(30).status == "cancelled"
    assert again.results() == begun.results() == list(workspace.api.runs.items(begun.id))
    shape = again.shape
    assert shape is not None
    assert (shape.labels, shape.models, shape.repeats, shape.cases) == (("greet@1",), (SLOW,), 2, 12)
    keeper: Any = again.keeper
    keeper._api.session.close()


def test_an_ended_run_tells_how_long_it_took_and_not_how_long_it_took_to_read_it(
    workspace: Workspace, start_worker: StartWorker
) -> None:
    workspace.save(GREET, greetings(3))
    start_worker()
    first = workspace.run("greet", ECHO).wait(60)
    run = workspace.api.runs.get(first.id or "")
    assert run.finished_at is not None
    assert run.started_at is not None
    again = attach(run.id, workspace=workspace).wait(30)
    assert again.elapsed_s == pytest.approx((run.finished_at - run.started_at).total_seconds())


def test_a_run_of_another_workspace_or_none_is_not_attached_to(workspace: Workspace) -> None:
    with pytest.raises(NotFound):
        attach(uuid.uuid4(), workspace=workspace)


def test_a_run_is_paused_and_goes_on_from_its_keeper(workspace: Workspace, start_worker: StartWorker) -> None:
    workspace.save(GREET, greetings(8))
    start_worker()
    run = workspace.run("greet", SLOW, concurrency=2)
    wait_for(lambda: run.counts.done >= 1)
    keeper = keeper_of(run)
    assert keeper.reasons("running")["resume"] == "It is not paused."
    keeper.pause()
    wait_for(lambda: run.status == "paused")
    assert keeper.reasons("paused")["pause"] == "It is paused."
    assert keeper.reasons("paused")["resume"] == ""
    keeper.resume()
    assert run.wait(60).counts.done == 8
    assert keeper.reasons(run.status)["pause"] == "The run has ended."
    with pytest.raises(Conflict):
        keeper.pause()


def test_a_budget_is_set_while_a_run_goes_on_and_its_money_is_told(
    workspace: Workspace, start_worker: StartWorker
) -> None:
    workspace.save(GREET, greetings(8))
    # Nobody works on it: nothing is spent.
    run = workspace.run("greet", "simulated:steady", concurrency=1)
    keeper = keeper_of(run)
    assert keeper.money() is None
    keeper.set_budget(Decimal("1.50"))
    money = keeper.money()
    assert money is not None
    assert (money.limit, money.spent) == (Decimal("1.50"), 0)
    start_worker()
    run.wait(60)
    told: list[bool] = []

    def refreshed() -> bool:
        keeper.refresh(lambda: told.append(True))
        return bool(told)

    wait_for(refreshed)
    money = keeper.money()
    assert money is not None
    assert money.spent > 0


def test_an_item_has_its_prompt_its_calls_and_its_case(workspace: Workspace, start_worker: StartWorker) -> None:
    workspace.save(GREET, greetings(2))
    start_worker()
    run = workspace.run("greet", ECHO, repeats=2).wait(60)
    keeper = keeper_of(run)
    for result in run.results():
        story = keeper.story(result)
        assert story.messages == [("user", f"Say hello to Ada {result.case[-1]}.")]
        assert len(story.attempts) == 1
        assert " recorded, by " in story.attempts[0]
    assert keeper.case(run.results()[0]) == greetings(2)[0]


def test_an_answer_becomes_the_expected_one_of_its_case(workspace: Workspace, start_worker: StartWorker) -> None:
    workspace.save(GREET, greetings(2))
    start_worker()
    run = workspace.run("greet", ECHO).wait(60)
    keeper, result = keeper_of(run), run.results()[1]
    assert "expected one of case 'ada-1'" in keeper.promote(result)
    assert [case.expected_output for case in workspace.cases("greet")] == [None, "Say hello to Ada 1."]
    workspace.api.cases.replace("greet", greetings(1))
    with pytest.raises(NotFound):
        keeper.promote(result)


def test_an_item_is_asked_again_as_a_run_of_its_own(workspace: Workspace, start_worker: StartWorker) -> None:
    workspace.save(GREET, greetings(3))
    start_worker()
    run = workspace.run("greet", [ECHO, "simulated:steady"], repeats=2).wait(60)
    again = keeper_of(run).ask_again(run.results()[7])
    assert again is not None
    again.wait(60)
    (result,) = again.results()
    assert (result.case, result.model, result.label) == ("ada-1", "simulated:steady", "greet@1")
    assert run.results() == list(workspace.api.runs.items(run.id or ""))
    made = workspace.api.runs.get(again.id or "").provenance
    assert made is not None
    assert made == keeper_of(run)._provenance()


def test_errors_are_asked_again_and_what_changed_is_known(workspace: Workspace, start_worker: StartWorker) -> None:
    cases = [*greetings(2), Case({"who": "Bo"}, (Assertion("contains", "Ada"),), name="bo")]
    workspace.save(GREET, cases)
    start_worker()
    first = workspace.run("greet", ECHO).wait(60)
    keeper = keeper_of(first)
    assert keeper.reasons(first.status)["retry"] == ""
    workspace.api.cases.replace(
        "greet", [*greetings(2), Case({"who": "Bo"}, (Assertion("contains", "Bo"),), name="bo")]
    )
    second = workspace.run("greet", ECHO).wait(60)
    assert [key for key, _ in keeper.others()] == [second.id]
    assert keeper.changed_since(second.id or "") == {2}
    with pytest.raises(NotFound):
        keeper.changed_since("no id")
