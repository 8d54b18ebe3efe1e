"""The typed calls against a real server."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pytest

from promptcard_ext.client.api import Api, WorkspaceApi
from promptcard_ext.client.discovery import Address
from promptcard_ext.client.session import Session
from promptcard_ext.core.card import Card
from promptcard_ext.core.case import Case
from promptcard_ext.core.contract.accounts import ExchangeSpec
from promptcard_ext.core.contract.analytics import ExecutionFilter
from promptcard_ext.core.contract.api_tokens import ApiTokenSpec
from promptcard_ext.core.contract.budgets import BudgetSpec
from promptcard_ext.core.contract.cards import CardPatch
from promptcard_ext.core.contract.cases import BulkCases, CasePatch
from promptcard_ext.core.contract.invitations import Acceptance, InvitationSpec
from promptcard_ext.core.contract.runs import RunSpec
from promptcard_ext.core.contract.workspaces import WorkspacePatch
from promptcard_ext.core.errors import CardError, Conflict, Denied, NotFound, OverBudget, Unauthenticated
from promptcard_ext.core.results import Outcome
from server_ext.db.engine import Database
from server_ext.services import accounts, invitations
from server_ext.services import tasks as task_service
from tests.client.conftest import Serve
from tests.services.test_leases import expired_lease, lease_of, task_of
from tests.support import ECHO, GREET, Tenant, free_port, greetings

PASSWORD = "correct horse battery staple"


def test_a_change_of_something_that_changed_meanwhile_carries_state_and_difference(api: WorkspaceApi) -> None:
    api.cards.save(GREET)
    read = api.cards.get("greet")
    changed = api.cards.update("greet", CardPatch(title="Theirs"), etag=read.etag)
    with pytest.raises(Conflict) as problem:
        api.cards.update("greet", CardPatch(title="Mine"), etag=read.etag)
    assert problem.value.code == "etag_mismatch"
    assert problem.value.current["title"] == "Theirs"
    assert problem.value.diff == {"title": {"current": "Theirs", "wanted": "Mine"}}
    assert api.cards.update("greet", CardPatch(title="Mine"), etag=changed.etag).value.title == "Mine"
    api.cards.archive("greet", etag="*")
    assert [card.name for card in api.cards.list(archived=True)] == ["greet"]
    assert api.cards.restore("greet").value.archived_at is None


def test_lists_go_over_all_pages_and_filters_over_the_network(api: WorkspaceApi) -> None:
    for number in range(3):
        api.cards.save(Card(f"card-{number}", "Hi", tags=("even",) if number % 2 == 0 else ()))
    assert [card.name for card in api.cards.list()] == ["card-0", "card-1", "card-2"]
    assert [card.name for card in api.cards.list(tag=["even"])] == ["card-0", "card-2"]
    assert [found.card.name for found in api.cards.search("card-1")] == ["card-1"]
    api.cases.replace("card-0", greetings(2100))
    assert [case.name for case in api.cases.list("card-0")] == [case.name for case in greetings(2100)]
    assert [(tag.tag, tag.cards) for tag in api.tags.list()] == [("even", 2)]


def test_labels_are_put_without_and_moved_with_a_condition(api: WorkspaceApi) -> None:
    api.cards.save(GREET)
    api.cards.save(Card("greet", "Good day, {{ who }}."))
    put = api.labels.set("greet", "production", 1)
    with pytest.raises(CardError) as problem:
        api.labels.set("greet", "production", 2)
    assert problem.value.code == "if_match_missing"
    assert api.labels.set("greet", "production", 2, etag=put.etag).value.version == 2
    assert api.labels.set("greet", "production", 1, etag="*").value.version == 1
    assert api.versions.get("greet", "production").value.version == 1
    assert api.cards.fetch("greet", label="production").version == 1
    assert not api.versions.diff("greet", 1, 2).equal
    assert [label.label for label in api.labels.list("greet")] == ["production"]


def test_cases_of_any_size_are_replaced_and_come_back_the_same(api: WorkspaceApi, tmp_path: Path) -> None:
    api.cards.save(GREET)
    many = [Case({"who": f"{number} " + "é" * 30_000}, name=f"n{number}") for number in range(50)]
    assert api.cases.replace("greet", many) == 50  # three million bytes
    assert [case.variables for case in api.cases.list("greet")] == [case.variables for case in many]
    assert api.cases.replace("greet", greetings(2)) == 2

    file = api.cases.export("greet", format="jsonl").save(tmp_path / "cases.jsonl")
    assert api.cases.import_file("greet", file.read_bytes(), "jsonl", dry_run=True).unchanged == 2
    with api.cases.export("greet") as download:
        assert download.media_type == "text/csv; charset=utf-8"
        assert b"Ada 1" in b"".join(download)


def test_cases_are_changed_one_by_one_and_together(api: WorkspaceApi) -> None:
    api.cards.save(GREET)
    added = api.cases.add("greet", Case({"who": "Ada"}))
    updated = api.cases.update("greet", added.value.id, CasePatch(name="first"), etag=added.etag)
    done = api.cases.change("greet", BulkCases([Case({"who": "Grace"})], [updated.value.case_uid]))
    assert (done.added, done.removed) == (1, 1)
    with pytest.raises(NotFound):
        api.cases.get("greet", added.value.id)


def test_a_run_is_started_once_and_its_results_are_downloaded(api: WorkspaceApi, tenant: Tenant) -> None:
    run_id = tenant.start([ECHO])
    run = api.runs.get(run_id)
    assert (run.status, run.counts.total) == ("queued", 3)
    assert api.runs.change(run_id, name="Named").name == "Named"
    assert api.runs.cancel(run_id).status in ("cancelling", "cancelled")
    assert [one.id for one in api.runs.list(status=["cancelled", "cancelling"])] == [run.id]
    assert list(api.runs.items(run_id)) == []
    assert api.runs.export(run_id, format="jsonl").read() == b""


def test_money_is_bounded_and_a_run_is_steered(api: WorkspaceApi, tenant: Tenant) -> None:
    rule = api.budgets.set(BudgetSpec("workspace", "day", Decimal("0.002")))
    assert [one.id for one in api.budgets.list()] == [rule.id]
    tenant.fill(3)
    spec = RunSpec(card="greet", models=["simulated:steady"], budget_usd=Decimal("0.001"), on_unknown="hold")
    run = api.runs.start(spec)
    with pytest.raises(OverBudget) as refused:
        api.runs.change(run.id, budget_usd=Decimal(1))
    assert refused.value.exceeds[0]["limit_usd"] == "0.002"
    changed = api.runs.change(run.id, budget_usd=Decimal("0.0015"), concurrency=2)
    assert (changed.money.budget_usd, changed.concurrency) == (Decimal("0.0015"), 2)
    dead = expired_lease(tenant, task_of(tenant, str(run.id)))
    assert task_service.open_attempts(tenant.database, dead, [1])
    lease_of(tenant, dead.task_id, "b")  # whoever takes over finds a call whose outcome nobody knows
    assert api.runs.requeue(run.id, [1]).status == "running"
    with pytest.raises(Conflict):
        api.runs.requeue(run.id, [1])  # it waits no more
    api.budgets.remove(rule.id)
    assert list(api.budgets.list()) == []


def test_what_owners_do(api: WorkspaceApi, tenant: Tenant) -> None:
    server = Api(api.session)
    assert server.server.health().status == "ok"
    assert server.server.openapi()["openapi"].startswith("3.1")
    workspace = server.workspaces.get(tenant.slug)
    renamed = server.workspaces.update(tenant.slug, WorkspacePatch(name="Other"), etag=workspace.etag)
    assert renamed.value.name == "Other"
    assert tenant.id in {one.id for one in server.workspaces.list()}
    assert [member.role for member in api.members.list()] == ["owner"]
    made = api.tokens.create(ApiTokenSpec("ci"))
    assert [token.id for token in api.tokens.list()] == [made.api_token.id]
    api.tokens.revoke(made.api_token.id)
    assert api.audit.head().seq == next(iter(api.audit.list())).seq
    assert api.audit.verify().problem is None
    assert api.usage.get(group_by="model").rows == []
    assert api.analytics.cases() == api.analytics.found_cases() == list(api.analytics.executions()) == []
    assert api.analytics.latency(group_by="card").rows == []
    assert api.analytics.sums(ExecutionFilter(outcome=Outcome.FAIL)).items == 0
    assert api.queue.get().waiting == 0
    assert next(api.prices.list()).input_per_mtok is not None


def test_an_account_logs_in_refreshes_exchanges_joins_and_logs_out(
    start_server: Callable[..., Serve], tmp_path: Path, database: Database, tenant: Tenant
) -> None:
    (tmp_path / "jupyter_server_config.json").write_text('{"PromptCards": {"identity_mode": "jwt"}}')
    url = start_server(free_port(), "--no-worker", JUPYTER_CONFIG_PATH=str(tmp_path)).wait_ready().url
    email = f"{uuid.uuid4().hex}@example.com"
    accounts.create_user(database, "Ada", email, PASSWORD)
    with opened(url) as stranger:
        with pytest.raises(Unauthenticated) as problem:
            stranger.account.log_in(email, "wrong " + PASSWORD)
        assert PASSWORD not in str(problem.value)
        pair = stranger.account.refresh(stranger.account.log_in(email, PASSWORD).refresh_token)

    with opened(url, pair.access_token) as mine:
        assert (mine.account.me().user.email, mine.account.me().via) == (email, "jwt")
        assert [session.current for session in mine.account.sessions()] == [True]
        with opened(url, mine.account.exchange(ExchangeSpec("kernel")).access_token) as kernel:
            assert kernel.account.me().kind == "kernel"
        with tenant.scope() as scope:
            invitation = invitations.create(scope, InvitationSpec(email, role="viewer"))
        assert mine.account.accept_invitation(Acceptance(invitation.token)).role == "viewer"
        with pytest.raises(Denied):
            WorkspaceApi(mine.session, str(tenant.id)).cards.save(GREET)
        mine.account.log_out()
        with pytest.raises(Unauthenticated):
            mine.account.me()


@contextmanager
def opened(url: str, token: str = "") -> Iterator[Api]:
    session = Session(Address(url, token))
    try:
        yield Api(session)
    finally:
        session.close()
