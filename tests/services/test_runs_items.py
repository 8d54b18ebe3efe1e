"""Items of a run: filtered, paged, written to files, judged again."""

from __future__ import annotations

import csv
import io
import tracemalloc
from uuid import UUID

import msgspec
import pytest
import sqlalchemy as sa

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.case import Case
from promptcard_ext.core.contract.regrades import CaseAssertions, Regraded, RegradeSpec
from promptcard_ext.core.contract.runs import ExportQuery, ItemQuery, RunSpec
from promptcard_ext.core.errors import CardError, NotFound
from promptcard_ext.core.results import ItemResult, Outcome
from promptcard_ext.interchange.result_rows import DTYPES
from server_ext.db.tables import generations
from server_ext.services import cases, items, regrading, runs, shards
from tests.conftest import StartWorker
from tests.services.test_leases import lease_of, task_of
from tests.services.test_recording import record
from tests.services.test_runs_control import OTHER, ended
from tests.support import ECHO, Tenant, greetings, wait_for


def ordinals(tenant: Tenant, run_id: str, **query: object) -> list[int]:
    with tenant.scope() as scope:
        return [item.ordinal for item in items.list_items(scope, run_id, ItemQuery(**query)).items]  # type: ignore[arg-type]


def regrade(tenant: Tenant, run_id: str, spec: RegradeSpec) -> Regraded:
    with tenant.scope() as scope:
        return regrading.regrade(scope, run_id, spec)


def done(tenant: Tenant, start_worker: StartWorker, given: list[Case], spec: RunSpec) -> str:
    """Let a worker do a run of these cases."""
    tenant.fill(0)
    with tenant.scope() as scope:
        cases.replace_all(scope, "greet", given)
        run_id = str(runs.create(scope, spec).id)
    start_worker()
    wait_for(lambda: tenant.status(run_id) == "completed")
    return run_id


def test_items_are_found_by_what_they_are(tenant: Tenant) -> None:
    run_id = ended(tenant, tenant.start([ECHO], count=4, repeats=2))  # 0 pass, 1 fail, 2 error, 3 unscored, 4 pass …
    assert ordinals(tenant, run_id, outcome=[Outcome.ERROR, Outcome.FAIL]) == [1, 2, 5, 6]
    assert ordinals(tenant, run_id, model=[ECHO, OTHER]) == list(range(8))
    assert ordinals(tenant, run_id, model=[OTHER]) == []
    assert ordinals(tenant, run_id, version=[1]) == list(range(8))
    assert ordinals(tenant, run_id, version=[2]) == []
    assert ordinals(tenant, run_id, case="ada-1") == [2, 3]
    assert ordinals(tenant, run_id, text="hELLO", outcome=["unscored"]) == [3, 7]
    assert ordinals(tenant, run_id, text="100%") == []
    assert ordinals(tenant, run_id, reason="timeout") == []


def test_items_that_changed_between_two_runs_are_found_by_identity(tenant: Tenant) -> None:
    first = ended(tenant, tenant.start([ECHO], count=4))
    with tenant.scope() as scope:
        cases.replace_all(scope, "greet", greetings(4)[::-1])
        second = str(runs.create(scope, RunSpec(card="greet", models=[ECHO])).id)
    ended(tenant, second)  # the same cases in another order: each has another outcome now
    assert ordinals(tenant, second, changed_since=UUID(first)) == [0, 1, 2, 3]
    assert ordinals(tenant, second, changed_since=UUID(second)) == []
    with pytest.raises(NotFound):
        ordinals(tenant, second, changed_since=UUID(int=1))


def test_items_are_paged_in_the_order_of_the_plan(tenant: Tenant) -> None:
    run_id = ended(tenant, tenant.start([ECHO], count=7))
    for limit in (1, 3, 7, 8):
        seen: list[int] = []
        cursor = None
        while True:
            with tenant.scope() as scope:
                page = items.list_items(scope, run_id, ItemQuery(limit=limit, cursor=cursor))
            seen += [item.ordinal for item in page.items]
            cursor = page.next
            if cursor is None:
                break
        assert seen == list(range(7))
    with pytest.raises(CardError, match="cursor"):
        ordinals(tenant, run_id, cursor="nonsense")


def test_a_file_of_results_has_the_columns_of_a_frame_and_no_formulas(tenant: Tenant) -> None:
    run_id = tenant.start([ECHO], count=4)
    lease = lease_of(tenant, task_of(tenant, run_id))
    record(tenant, lease, shards.load(tenant.database, lease), range(4), said='=HYPERLINK("http://x")')
    with tenant.scope() as scope:
        text = b"".join(items.export(scope, run_id, ExportQuery())).decode()
        lines = b"".join(items.export(scope, run_id, ExportQuery(format="jsonl", outcome=[Outcome.PASS]))).splitlines()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert list(rows[0]) == list(DTYPES)
    assert [row["outcome"] for row in rows] == ["pass", "fail", "error", "unscored"]
    assert rows[0]["output"] == """'=HYPERLINK("http://x")"""
    assert [msgspec.json.decode(line, type=ItemResult).ordinal for line in lines] == [0]


def test_an_export_of_many_results_is_never_in_memory_as_a_whole(tenant: Tenant) -> None:
    run_id = ended(tenant, tenant.start([ECHO], count=4))
    # As if the run had 40,000 items: what is measured is reading, not writing.
    many = sa.text(
        "insert into test_executions (workspace_id, run_id, run_created_at, ordinal, card_version_id, case_position, "
        "case_uid, model, provider, repeat, generation_id, outcome, attempt, event_seq) "
        "select workspace_id, run_id, run_created_at, 100 + n, card_version_id, case_position, case_uid, model, "
        "provider, n, generation_id, outcome, attempt, event_seq "
        "from test_executions cross join generate_series(1, 40000) as n where run_id = :run and ordinal = 0"
    )
    with tenant.scope() as scope:
        scope.connection.execute(many, {"run": UUID(run_id)})
    with tenant.scope() as scope:
        pieces = items.export(scope, run_id, ExportQuery(format="jsonl"))
        size = len(next(pieces))
        tracemalloc.start()
        count = 0
        for piece in pieces:
            size += len(piece)
            count += 1
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert count == 40_003
    assert size > 10_000_000
    assert peak < 8_000_000


def test_other_assertions_are_tried_on_stored_answers_without_a_call(tenant: Tenant, start_worker: StartWorker) -> None:
    run_id = done(tenant, start_worker, greetings(5), RunSpec(card="greet", models=[ECHO], repeats=2))
    with tenant.scope() as scope:
        before = scope.connection.execute(sa.select(sa.func.count()).select_from(generations)).scalar_one()
    told = regrade(tenant, run_id, RegradeSpec(assertions=[Assertion("contains", "Ada 3")]))
    assert (told.judged, told.without_answer, told.unjudged) == (10, 0, 0)
    assert told.flips.text == "8 of 10 items flipped: 8 pass → fail"
    assert [result.ordinal for result in told.results] == list(range(10))
    assert [result.outcome for result in told.results] == [Outcome.FAIL] * 6 + [Outcome.PASS] * 2 + [Outcome.FAIL] * 2
    assert {flip.reason_after for flip in told.flips.items} == {"not_contained"}
    with tenant.scope() as scope:
        after = scope.connection.execute(sa.select(sa.func.count()).select_from(generations)).scalar_one()
        kept = items.list_items(scope, run_id).items
    assert (after, {item.outcome for item in kept}) == (before, {Outcome.PASS})


def test_without_other_assertions_those_of_the_card_as_it_is_now_judge(
    tenant: Tenant, start_worker: StartWorker
) -> None:
    run_id = done(tenant, start_worker, greetings(4), RunSpec(card="greet", models=[ECHO]))
    assert regrade(tenant, run_id, RegradeSpec()).flips.text == "0 of 4 items flipped"
    stricter = [msgspec.structs.replace(case, assertions=(Assertion("equals", "Hi"),)) for case in greetings(2)]
    with tenant.scope() as scope:
        cases.replace_all(scope, "greet", stricter)  # two changed, two gone
    told = regrade(tenant, run_id, RegradeSpec())
    assert [result.outcome for result in told.results] == ["fail", "fail", "pass", "pass"]


def test_assertions_are_changed_case_by_case_and_cases_chosen(tenant: Tenant, start_worker: StartWorker) -> None:
    run_id = done(tenant, start_worker, greetings(6), RunSpec(card="greet", models=[ECHO, OTHER]))
    by_case = [CaseAssertions("ada-4", [Assertion("contains", "never")])]
    told = regrade(tenant, run_id, RegradeSpec(by_case=by_case, cases=["ada-4", "ada-2"]))
    assert [result.ordinal for result in told.results] == [4, 5, 8, 9]
    assert told.results[2].outcome is told.results[3].outcome is Outcome.FAIL
    with pytest.raises(NotFound):
        regrade(tenant, run_id, RegradeSpec(by_case=by_case, cases=["ada-2"]))
    with pytest.raises(NotFound):
        regrade(tenant, run_id, RegradeSpec(cases=["nobody"]))
    with pytest.raises(CardError) as refusal:
        regrade(tenant, run_id, RegradeSpec(by_case=by_case, assertions=[]))
    assert refusal.value.code == "regrade_what"


def test_cases_are_named_by_identity_too_and_those_without_a_result_can_be_left_out(
    tenant: Tenant, start_worker: StartWorker
) -> None:
    run_id = done(tenant, start_worker, greetings(3), RunSpec(card="greet", models=[ECHO]))
    known, unknown = greetings(1)[0].uid, "0" * 64
    by_case = [CaseAssertions(uid, [Assertion("contains", "never")]) for uid in (known, unknown)]
    spec = RegradeSpec(by_case=by_case, cases=[known, unknown], skip_unknown=True)
    assert regrade(tenant, run_id, spec).flips.text == "1 of 1 items flipped: 1 pass → fail"
    with pytest.raises(NotFound):
        regrade(tenant, run_id, msgspec.structs.replace(spec, skip_unknown=False))
    with pytest.raises(CardError) as refusal:
        regrade(tenant, run_id, RegradeSpec(by_case=by_case[1:], cases=[unknown], skip_unknown=True))
    assert refusal.value.code == "nothing_to_regrade"


def test_what_needs_a_judge_keeps_what_it_said_or_is_unscored(tenant: Tenant, start_worker: StartWorker) -> None:
    friendly = Assertion("llm-rubric", "Is friendly.")
    given = [Case({"who": f"Ada {n}"}, (friendly,)) for n in range(6)]
    spec = RunSpec(card="greet", models=[ECHO], judges=["simulated:judge"])
    run_id = done(tenant, start_worker, given, spec)
    same = regrade(tenant, run_id, RegradeSpec())
    assert (same.unjudged, same.flips.text) == (0, "0 of 6 items flipped")
    other = regrade(tenant, run_id, RegradeSpec(assertions=[friendly, Assertion("similar", "Hello", threshold=0.1)]))
    assert other.unjudged == 6
    for result in other.results:
        judged, unjudged = result.verdicts
        assert judged.outcome in (Outcome.PASS, Outcome.FAIL)
        assert (unjudged.outcome, unjudged.reason) == (Outcome.UNSCORED, "not_recorded")


def test_python_is_not_run_by_a_server(tenant: Tenant, start_worker: StartWorker, tmp_path: object) -> None:
    run_id = done(tenant, start_worker, greetings(1), RunSpec(card="greet", models=[ECHO]))
    mark = f"{tmp_path}/ran"
    code = f"__import__('pathlib').Path({mark!r}).touch() or True"
    (result,) = regrade(tenant, run_id, RegradeSpec(assertions=[Assertion("python", code)])).results
    assert (result.outcome, result.reason) == (Outcome.UNSCORED, "python_not_here")


def test_items_without_an_answer_are_counted_and_left(tenant: Tenant) -> None:
    run_id = ended(tenant, tenant.start([ECHO], count=8))
    told = regrade(tenant, run_id, RegradeSpec(assertions=[Assertion("contains", "Hello")]))
    assert (told.judged, told.without_answer) == (6, 2)
    assert {result.outcome for result in told.results} == {Outcome.PASS}


def test_a_run_without_results_has_nothing_to_judge(tenant: Tenant) -> None:
    with pytest.raises(CardError) as refusal:
        regrade(tenant, tenant.start(), RegradeSpec())
    assert refusal.value.code == "nothing_to_regrade"


def test_more_than_ten_thousand_items_are_not_judged_at_once(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = ended(tenant, tenant.start([ECHO], count=8))
    monkeypatch.setattr(regrading, "MAX_ITEMS", 7)
    with pytest.raises(CardError) as refusal:
        regrade(tenant, run_id, RegradeSpec())
    assert refusal.value.code == "too_many_items"
    assert regrade(tenant, run_id, RegradeSpec(cases=["ada-0", "ada-1"])).judged == 2
