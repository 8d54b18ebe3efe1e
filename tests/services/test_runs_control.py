"""Runs that wait, go on, are asked again, renamed and found."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.card import Card
from promptcard_ext.core.case import Case
from promptcard_ext.core.contract.provenance import Provenance
from promptcard_ext.core.contract.runs import ItemQuery, RetrySpec, RunPatch, RunQuery, RunSpec
from promptcard_ext.core.errors import CardError, Conflict, NotFound
from promptcard_ext.core.results import Outcome
from server_ext.db.tables import attempts, audit_log, generations, outbox, run_cases, tasks
from server_ext.services import cards, cases, items, run_control, run_retry, runs, shards
from server_ext.services import tasks as task_service
from tests.conftest import StartWorker
from tests.services.test_leases import claim, expired_lease, lease_of, row_of, task_of
from tests.services.test_recording import record
from tests.support import ECHO, SLOW, Tenant, greetings, wait_for

OTHER = "simulated:steady?latency_ms=1"
ORIGIN = Provenance(notebook="a.ipynb", cell_id="8c1d")


def pause(tenant: Tenant, run_id: str) -> str:
    with tenant.scope() as scope:
        return run_control.pause(scope, run_id).status


def resume(tenant: Tenant, run_id: str) -> str:
    with tenant.scope() as scope:
        return run_control.resume(scope, run_id).status


def kinds(tenant: Tenant, run_id: str) -> list[str]:
    with tenant.scope() as scope:
        events, _ = items.events_after(scope, run_id, 0)
    return [event.kind for event in events]


def actions(tenant: Tenant, run_id: str) -> list[str]:
    with tenant.scope() as scope:
        query = sa.select(audit_log.c.action).where(audit_log.c.object_id == run_id).order_by(audit_log.c.seq)
        return list(scope.connection.execute(query).scalars())


def test_a_run_that_nobody_has_taken_up_is_paused_at_once_and_waits_again_when_it_goes_on(tenant: Tenant) -> None:
    run_id = tenant.start()
    assert (pause(tenant, run_id), pause(tenant, run_id)) == ("paused", "paused")
    assert claim(tenant, task_of(tenant, run_id)) is None
    assert (resume(tenant, run_id), resume(tenant, run_id)) == ("queued", "queued")
    assert claim(tenant, task_of(tenant, run_id)) is not None
    assert tenant.status(run_id) == "running"
    assert kinds(tenant, run_id) == ["queued", "pausing", "paused", "queued", "running"]
    assert actions(tenant, run_id) == ["run.created", "run.paused", "run.resumed"]


def test_a_run_is_paused_once_its_workers_have_handed_back_what_they_were_at(tenant: Tenant) -> None:
    run_id = tenant.start()
    lease = lease_of(tenant, task_of(tenant, run_id))
    assert pause(tenant, run_id) == "pausing"
    assert task_service.renew(tenant.database, lease, 60) == "pausing"
    task_service.release(tenant.database, lease)
    row = row_of(tenant, lease.task_id)
    assert (tenant.status(run_id), row.state, row.lease_token) == ("paused", "held", None)
    assert row.max_attempts == 21  # waiting uses up none of them
    assert resume(tenant, run_id) == "running"
    assert row_of(tenant, lease.task_id).state == "queued"


def test_nobody_is_woken_for_a_run_that_waits(tenant: Tenant) -> None:
    run_id = tenant.start()
    pause(tenant, run_id)
    assert tenant.id not in {note.workspace_id for note in task_service.overdue(tenant.database, 0)}
    with tenant.scope() as scope:
        scope.connection.execute(sa.text("select * from pc.take_outbox(10000)"))
    resume(tenant, run_id)
    with tenant.scope() as scope:
        noted = scope.connection.execute(sa.select(outbox.c.ref_id)).scalars().all()
    assert noted == [task_of(tenant, run_id)]


def test_a_pause_taken_back_before_the_worker_noticed_is_none(tenant: Tenant) -> None:
    run_id = tenant.start()
    lease = lease_of(tenant, task_of(tenant, run_id))
    pause(tenant, run_id)
    assert resume(tenant, run_id) == "running"
    assert task_service.renew(tenant.database, lease, 60) == "running"
    assert task_service.finish(tenant.database, lease, "done")


def test_a_worker_that_died_does_not_keep_a_run_from_waiting(tenant: Tenant) -> None:
    run_id = tenant.start()
    lease = expired_lease(tenant, task_of(tenant, run_id))
    assert pause(tenant, run_id) == "pausing"
    assert claim(tenant, lease.task_id) is None  # whoever looks at the task finds that it waits
    assert tenant.status(run_id) == "paused"


def test_a_run_that_waits_can_be_cancelled(tenant: Tenant) -> None:
    run_id = tenant.start()
    pause(tenant, run_id)
    with tenant.scope() as scope:
        assert run_control.cancel(scope, run_id).status == "cancelled"
    assert row_of(tenant, task_of(tenant, run_id)).state == "cancelled"


def test_a_task_handed_back_to_a_run_that_is_cancelled_ends_with_it(tenant: Tenant) -> None:
    run_id = tenant.start()
    lease = lease_of(tenant, task_of(tenant, run_id))
    pause(tenant, run_id)
    with tenant.scope() as scope:
        assert run_control.cancel(scope, run_id).status == "cancelling"
    task_service.release(tenant.database, lease)
    assert tenant.status(run_id) == "cancelled"


@pytest.mark.parametrize("control", [run_control.pause, run_control.resume])
def test_what_has_ended_neither_waits_nor_goes_on(tenant: Tenant, control: object) -> None:
    run_id = tenant.start()
    with tenant.scope() as scope:
        run_control.cancel(scope, run_id)
    with tenant.scope() as scope, pytest.raises(Conflict) as refusal:
        control(scope, run_id)  # type: ignore[operator]
    assert refusal.value.code == "run_state"


@pytest.mark.parametrize("turn", range(6))
def test_pausing_while_workers_come_and_go_pauses_the_run_and_loses_no_task(tenant: Tenant, turn: int) -> None:
    run_id = tenant.start(count=4, repeats=200)  # four tasks
    with tenant.scope() as scope:
        task_ids = scope.connection.execute(sa.select(tasks.c.id)).scalars().all()
    gate = threading.Barrier(9)

    def work(number: int) -> None:
        gate.wait()
        lease = claim(tenant, task_ids[number % 4], f"w{number}")
        if lease is not None:
            task_service.renew(tenant.database, lease, 60)
            task_service.release(tenant.database, lease)

    def wait() -> None:
        gate.wait()
        pause(tenant, run_id)

    with ThreadPoolExecutor(9) as pool:
        for future in [*(pool.submit(work, number) for number in range(8)), pool.submit(wait)]:
            future.result(timeout=30)
    assert tenant.status(run_id) == "paused"
    assert {row_of(tenant, task_id).state for task_id in task_ids} == {"held"}
    resume(tenant, run_id)
    assert all(claim(tenant, task_id) for task_id in task_ids)


def test_a_run_that_works_waits_within_a_second_and_goes_on_where_it_was(
    tenant: Tenant, start_worker: StartWorker
) -> None:
    run_id = tenant.start([SLOW], count=30, concurrency=3)
    start_worker()
    wait_for(lambda: tenant.recorded(run_id) >= 3)
    pause(tenant, run_id)
    wait_for(lambda: tenant.status(run_id) == "paused", 2.0)
    done = tenant.recorded(run_id)
    assert 3 <= done < 30
    resume(tenant, run_id)
    wait_for(lambda: tenant.recorded(run_id) > done, 10)
    wait_for(lambda: tenant.status(run_id) == "completed")
    with tenant.scope() as scope:
        found = items.list_items(scope, run_id).items
    assert [item.ordinal for item in found] == list(range(30))


def test_an_answer_whose_judge_was_interrupted_by_a_pause_is_judged_when_the_run_goes_on(
    tenant: Tenant, start_worker: StartWorker
) -> None:
    tenant.fill(0)
    judged = [Case({"who": f"Ada {n}"}, (Assertion("llm-rubric", "Is friendly."),)) for n in range(12)]
    with tenant.scope() as scope:
        cases.replace_all(scope, "greet", judged)
        spec = RunSpec(card="greet", models=[ECHO], concurrency=2, judges=["simulated:judge?latency_ms=500&spread=0"])
        run_id = str(runs.create(scope, spec).id)
    start_worker()
    wait_for(lambda: tenant.recorded(run_id) >= 2)
    pause(tenant, run_id)
    wait_for(lambda: tenant.status(run_id) == "paused", 3.0)
    resume(tenant, run_id)
    wait_for(lambda: tenant.status(run_id) == "completed")
    with tenant.scope() as scope:
        found = items.list_items(scope, run_id).items
        answers = sa.select(sa.func.count()).where(generations.c.model == "echo")
        paid = scope.connection.execute(answers).scalar_one()
        states = scope.connection.execute(sa.select(attempts.c.state)).scalars().all()
    assert len(found) == 12
    assert {item.outcome for item in found} <= {Outcome.PASS, Outcome.FAIL}
    # What was answered and not judged was paid for, and is kept: the ledger says so.
    assert states.count("late") > 0
    assert (states.count("recorded"), paid) == (12, 12 + states.count("late"))


def ended(tenant: Tenant, run_id: str) -> str:
    """End a run of one shard as a worker does; of four items one passed, failed, broke and was not judged each."""
    lease = lease_of(tenant, task_of(tenant, run_id))
    shard = shards.load(tenant.database, lease)
    record(tenant, lease, shard, [item.ordinal for item in shard.pending])
    assert task_service.finish(tenant.database, lease, "done")
    assert tenant.status(run_id) == "completed"
    return run_id


@pytest.mark.parametrize(("unscored", "outcomes"), [(False, {"error"}), (True, {"error", "unscored"})])
def test_failed_items_are_asked_again_as_a_run_of_their_own(
    tenant: Tenant, start_worker: StartWorker, unscored: bool, outcomes: set[str]
) -> None:
    run_id = ended(tenant, tenant.start([ECHO], count=9, repeats=3))
    with tenant.scope() as scope:
        failed = [item for item in items.list_items(scope, run_id).items if item.outcome in outcomes]
        again = run_retry.retry_errors(scope, run_id, RetrySpec(unscored, "Once more", provenance=ORIGIN))
        copied = scope.connection.execute(
            sa.select(run_cases.c.position, run_cases.c.case_uid)
            .where(run_cases.c.run_id == again.id)
            .order_by(run_cases.c.position)
        ).all()
    assert (again.retry_of, again.counts.total, again.plan.chosen) == (UUID(run_id), len(failed), len(failed))
    assert (again.name, again.provenance) == ("Once more", ORIGIN)
    assert [row.position for row in copied] == list(range(len({item.case_uid for item in failed})))
    assert {row.case_uid for row in copied} == {item.case_uid for item in failed}
    start_worker()
    wait_for(lambda: tenant.status(str(again.id)) == "completed")
    with tenant.scope() as scope:
        found = items.list_items(scope, str(again.id)).items
        assert [run.id for run in runs.list_runs(scope, RunQuery(retry_of=UUID(run_id))).items] == [again.id]
        assert len(items.list_items(scope, str(again.id), ItemQuery(changed_since=UUID(run_id))).items) == len(failed)
    whose = {(item.case_uid, item.label, item.model, item.repeat) for item in failed}
    assert {(item.case_uid, item.label, item.model, item.repeat) for item in found} == whose
    assert len(found) == len(failed)
    assert {item.outcome for item in found} == {Outcome.PASS}
    assert actions(tenant, str(again.id)) == ["run.retried"]


def test_what_failed_twice_is_asked_a_third_time(tenant: Tenant) -> None:
    run_id = ended(tenant, tenant.start([ECHO], count=16, repeats=2))
    with tenant.scope() as scope:
        second = run_retry.retry_errors(scope, run_id, RetrySpec())
    ended(tenant, str(second.id))
    with tenant.scope() as scope:
        failed = items.list_items(scope, str(second.id), ItemQuery(outcome=[Outcome.ERROR])).items
        third = run_retry.retry_errors(scope, str(second.id), RetrySpec())
    assert second.counts.total == 8
    assert third.counts.total == len(failed) > 0
    assert third.retry_of == second.id


def test_many_failed_items_are_cut_into_shards(tenant: Tenant) -> None:
    run_id = tenant.start([ECHO], count=2, repeats=600)
    with tenant.scope() as scope:
        task_ids = scope.connection.execute(sa.select(tasks.c.id).order_by(tasks.c.first_ordinal)).scalars().all()
    for task_id in task_ids:
        lease = lease_of(tenant, task_id)
        shard = shards.load(tenant.database, lease)
        record(tenant, lease, shard, [item.ordinal for item in shard.pending])
        task_service.finish(tenant.database, lease, "done")
    with tenant.scope() as scope:
        again = run_retry.retry_errors(scope, run_id, RetrySpec())
        cut = scope.connection.execute(
            sa.select(tasks.c.first_ordinal, tasks.c.last_ordinal, tasks.c.ordinals)
            .where(tasks.c.run_id == again.id)
            .order_by(tasks.c.first_ordinal)
        ).all()
    assert again.counts.total == 300
    assert [len(row.ordinals) for row in cut] == [150, 150]
    assert all((row.first_ordinal, row.last_ordinal) == (row.ordinals[0], row.ordinals[-1]) for row in cut)


def test_where_answers_are_compared_the_whole_group_is_asked_again(tenant: Tenant) -> None:
    tenant.fill(0)
    compared = (Assertion("contains", "Ada"), Assertion("max-score"))
    alone = (Assertion("contains", "Ada"),)
    with tenant.scope() as scope:
        given = [Case({"who": f"Ada {n}"}, compared if n < 4 else alone) for n in range(8)]
        cases.replace_all(scope, "greet", given)
        run_id = str(runs.create(scope, RunSpec(card="greet", models=[ECHO, OTHER])).id)
    ended(tenant, run_id)
    with tenant.scope() as scope:
        again = run_retry.retry_errors(scope, run_id, RetrySpec())
    # Every second case has an error: two of those whose answers are compared, and two of the others.
    assert again.counts.total == 2 * 2 + 2


def test_a_run_without_failed_items_has_nothing_to_ask_again(tenant: Tenant) -> None:
    run_id = ended(tenant, tenant.start([ECHO], count=2))
    with tenant.scope() as scope, pytest.raises(CardError) as refusal:
        run_retry.retry_errors(scope, run_id, RetrySpec())
    assert refusal.value.code == "nothing_to_retry"


def test_only_an_ended_run_is_asked_again(tenant: Tenant) -> None:
    run_id = tenant.start()
    with tenant.scope() as scope, pytest.raises(Conflict) as refusal:
        run_retry.retry_errors(scope, run_id, RetrySpec())
    assert refusal.value.code == "run_state"


def test_a_run_gets_another_name(tenant: Tenant) -> None:
    run_id = tenant.start()
    with tenant.scope() as scope:
        assert runs.update(scope, run_id, RunPatch(name="Better")).name == "Better"
        assert runs.update(scope, run_id, RunPatch()).name == "Better"
    assert actions(tenant, run_id) == ["run.created", "run.renamed"]


@pytest.mark.parametrize("name", ["\x00" * 255, "\ud800", "\ufdd00000", "'; drop table runs; --"])
def test_any_name_comes_back_as_it_was_given(tenant: Tenant, name: str) -> None:
    run_id = tenant.start()
    with tenant.scope() as scope:
        assert runs.update(scope, run_id, RunPatch(name=name)).name == name
        found = runs.list_runs(scope, RunQuery(name=name)).items
    assert [str(run.id) for run in found] == [run_id]


def test_runs_are_found_by_what_they_are(tenant: Tenant) -> None:
    first = UUID(tenant.start([ECHO]))
    second = UUID(tenant.start([SLOW]))
    with tenant.scope() as scope:
        runs.update(scope, str(first), RunPatch(name="50 % Off"))
        run_control.pause(scope, str(second))
        cards.save_version(scope, Card("other", "Hi {{ who }}"))
        cases.replace_all(scope, "other", greetings(1))
        third = runs.create(scope, RunSpec(card="other", models=[ECHO])).id
        middle = runs.get(scope, str(second)).created_at

        def found(**query: object) -> list[UUID]:
            return [run.id for run in runs.list_runs(scope, RunQuery(**query)).items]  # type: ignore[arg-type]

        assert found() == [third, second, first]
        assert found(card="greet") == [second, first]
        assert found(status=["paused", "failed"]) == [second]
        assert found(model=SLOW) == [second]
        assert found(name="50 % o") == [first]
        assert found(name="50_%") == []
        assert found(created_by=tenant.actor.user_id) == [third, second, first]
        assert found(created_by=uuid4()) == []
        assert found(created_after=middle) == [third, second]
        assert found(created_before=middle) == [first]
        with pytest.raises(NotFound):
            found(card="nothing")


def test_runs_are_paged_while_new_ones_come(tenant: Tenant) -> None:
    made = [tenant.start(count=1) for _ in range(4)]
    seen: list[str] = []
    cursor = None
    while True:
        with tenant.scope() as scope:
            page = runs.list_runs(scope, RunQuery(limit=2, cursor=cursor))
        seen += [str(run.id) for run in page.items]
        tenant.start(count=1)
        cursor = page.next
        if cursor is None:
            break
    assert seen == made[::-1]


def test_another_workspace_finds_none_of_it(tenant: Tenant, stranger: Tenant) -> None:
    run_id = tenant.start()
    with stranger.scope() as scope:
        assert runs.list_runs(scope, RunQuery()).items == []
        for use in (
            lambda: run_control.pause(scope, run_id),
            lambda: run_control.resume(scope, run_id),
            lambda: run_control.cancel(scope, run_id),
            lambda: run_retry.retry_errors(scope, run_id, RetrySpec()),
            lambda: runs.update(scope, run_id, RunPatch(name="mine")),
            lambda: runs.get(scope, "no id"),
        ):
            with pytest.raises(NotFound):
                use()
