"""What the audit trail says of a change, and how it is listed."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from promptcard_ext.core.contract.audit import AuditCheckQuery, AuditEntry, AuditQuery
from promptcard_ext.core.errors import Denied, PromptCardError, SetupError
from server_ext.auth.actor import Actor
from server_ext.db.engine import Database
from server_ext.db.tables import audit_log
from server_ext.embedded import Services
from server_ext.jobs.head_keeper import HEADS_FILE, HeadKeeper
from server_ext.observe import request
from server_ext.services import audit, audit_heads, audit_verify
from server_ext.services.scope import Scope, open_scope
from tests.conftest import NewActor
from tests.support import Tenant, wait_for


@pytest.fixture
def asked() -> Iterator[None]:
    """A request that is being answered."""
    before = request.current()
    request.begin("req-1", "192.0.2.7")
    yield
    request._current.set(before)


def write(tenant: Tenant, *actions: str, **detail: object) -> None:
    for action in actions:
        with tenant.scope() as scope:
            audit.record(scope, action, "thing", "one", **detail)


def entries(tenant: Tenant, **wanted: object) -> list[AuditEntry]:
    with tenant.scope() as scope:
        return audit.list_entries(scope, AuditQuery(**wanted)).items  # type: ignore[arg-type]


def test_an_entry_says_who_did_what_how_and_from_where(tenant: Tenant, asked: None) -> None:
    write(tenant, "thing.made", size=3)
    entry = entries(tenant)[0]
    assert (entry.action, entry.object_type, entry.object_id, entry.detail) == (
        "thing.made",
        "thing",
        "one",
        {"size": 3},
    )
    assert (entry.actor, entry.actor_kind, entry.actor_role, entry.via) == (
        tenant.actor.user_id,
        "human",
        "owner",
        "local",
    )
    assert (entry.address, entry.request_id, entry.sealed) == ("192.0.2.7", "req-1", True)


def test_what_an_operator_does_is_no_users_doing(tenant: Tenant) -> None:
    actor = Actor(tenant.actor.user_id, "root", via="operator")
    with open_scope(tenant.database, actor, str(tenant.id)) as scope:
        audit.record(scope, "thing.made", "thing", 1)
    entry = entries(tenant)[0]
    assert (entry.actor, entry.via) == (None, "operator")


def test_entries_are_listed_latest_first_in_pages_that_do_not_overlap(tenant: Tenant) -> None:
    write(tenant, *(f"thing.{n}" for n in range(5)))
    seen: list[int] = []
    cursor = None
    with tenant.scope() as scope:
        while True:
            page = audit.list_entries(scope, AuditQuery(limit=2, cursor=cursor))
            seen += [entry.seq for entry in page.items]
            if (cursor := page.next) is None:
                break
    assert seen == list(range(seen[0], 0, -1))
    assert len(seen) >= 6  # and one for the workspace


def test_entries_are_found_by_what_they_say(tenant: Tenant) -> None:
    write(tenant, "thing.made", "thing.broken")
    (made,) = entries(tenant, action="thing.made")
    (broken,) = entries(tenant, action="thing.broken")
    assert [entry.seq for entry in entries(tenant, object_type="thing", object_id="one")] == [broken.seq, made.seq]
    assert entries(tenant, object_id="two") == []
    assert entries(tenant, actor=tenant.id) == []
    assert len(entries(tenant, actor=tenant.actor.user_id)) == broken.seq
    assert [entry.action for entry in entries(tenant, since=broken.at)] == ["thing.broken"]
    assert "thing.broken" not in [entry.action for entry in entries(tenant, until=broken.at)]
    assert entries(tenant, since=broken.at + timedelta(days=1)) == []


def test_members_do_not_read_the_trail(tenant: Tenant, new_actor: NewActor) -> None:
    member = new_actor(tenant, "member")
    with open_scope(tenant.database, member, str(tenant.id)) as scope:
        for read in (
            lambda scope: audit.list_entries(scope, AuditQuery()),
            audit.head,
            audit_verify.verify_all,
            lambda scope: audit_verify.verify(scope, AuditCheckQuery()),
        ):
            with pytest.raises(Denied):
                read(scope)


def test_each_sees_their_own_trail_only(tenant: Tenant, stranger: Tenant) -> None:
    write(stranger, "secret.made")
    assert "secret.made" not in [entry.action for entry in entries(tenant)]


def test_a_change_that_is_rolled_back_leaves_no_entry(tenant: Tenant) -> None:
    def fail(scope: Scope) -> None:
        audit.record(scope, "thing.made", "thing", 1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), tenant.scope() as scope:
        fail(scope)
    assert entries(tenant, action="thing.made") == []


@pytest.mark.parametrize(
    "value",
    [
        1e22, 1e16, 1.0, -0.0, 0.1, 1e-7, 1e308, float("inf"), 2**70, True, None, "a\x00b", "\ud800", "ä\ufdd0",
        [1, (2, 3)], {"b": 1, "a": {"x": 1e21}}, "", " ",
    ],
    ids=repr,
)  # fmt: skip
def test_the_seal_fits_whatever_form_the_database_gives_the_detail_back_in(tenant: Tenant, value: object) -> None:
    with tenant.scope() as scope:
        audit.record(scope, "thing.made", "thing", 1, value=value)
        assert audit_verify.verify_all(scope).problem is None


def test_a_refusal_is_noted_in_a_transaction_of_its_own(tenant: Tenant, new_actor: NewActor) -> None:
    viewer = new_actor(tenant, "viewer")
    with tenant.scope() as scope:  # one that will not be committed
        audit.record_denied(tenant.database, viewer, tenant.id, "viewer", "prompt:delete", "/cards/greet")
        scope.connection.rollback()
    (entry,) = entries(tenant, action="access.denied")
    assert (entry.actor, entry.actor_role, entry.object_id) == (viewer.user_id, "viewer", "prompt:delete")
    assert entry.detail == {"path": "/cards/greet"}


def test_a_refusal_that_cannot_be_noted_stays_a_refusal(
    tenant: Tenant, services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    with Database(services.database_url, pool_size=1) as keyless:
        audit.record_denied(keyless, tenant.actor, tenant.id, "viewer", "prompt:delete", "/cards/greet")
    assert "prompt:delete" in caplog.text


def test_writers_at_the_same_time_make_one_sealed_chain(tenant: Tenant) -> None:
    def many(worker: int) -> None:
        for n in range(10):
            write(tenant, f"worker.{worker}.{n}")

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(many, range(6)))
    with tenant.scope() as scope:
        found = audit_verify.verify_all(scope)
    assert (found.problem, found.unsealed_to) == (None, 0)
    assert found.checked >= 61


def test_without_keys_nothing_is_written(tenant: Tenant, services: Services) -> None:
    with (
        Database(services.database_url, pool_size=1) as keyless,
        open_scope(keyless, tenant.actor, str(tenant.id)) as scope,
        pytest.raises(SetupError),
    ):
        audit.record(scope, "thing.made", "thing", 1)


def test_entries_from_before_seals_are_counted_and_covered_by_the_first_seal(tenant: Tenant) -> None:
    with tenant.scope() as scope:
        unsealed = sa.insert(audit_log).values(workspace_id=tenant.id, actor_kind="system", action="old.entry")
        found = audit_verify.verify_all(scope)
        assert (found.unsealed_to, found.problem) == (0, None)
        scope.connection.execute(unsealed)
        problem = audit_verify.verify_all(scope).problem
        assert problem is not None
        assert problem.kind == "unsealed"  # after a sealed one: nobody but a forger writes such
        scope.connection.rollback()


def test_a_long_trail_is_checked_part_by_part(tenant: Tenant) -> None:
    write(tenant, *(f"thing.{n}" for n in range(6)))
    parts = []
    after, complete = 0, False
    with tenant.scope() as scope:
        while not complete:
            found = audit_verify.verify(scope, AuditCheckQuery(after=after, limit=3))
            assert found.problem is None
            parts.append(found.checked)
            after, complete = found.checked_to, found.complete
        gone = audit_verify.verify(scope, AuditCheckQuery(after=99)).problem
    assert parts[:-1] == [3] * (len(parts) - 1)
    assert sum(parts) == after >= 7
    assert gone is not None
    assert gone.kind == "cut"


def test_copied_heads_are_appended_only_when_a_trail_went_on(tenant: Tenant, stranger: Tenant, tmp_path: Path) -> None:
    path = tmp_path / "heads.jsonl"
    first = audit_heads.heads(tenant.database)
    assert audit_heads.append(path, first) == len(first) >= 2
    assert audit_heads.append(path, audit_heads.heads(tenant.database)) == 0
    write(tenant, "thing.made")
    assert audit_heads.append(path, audit_heads.heads(tenant.database)) == 1
    kept = list(audit_heads.read(path, tenant.id))
    assert [head.seq - kept[0].seq for head in kept] == [0, 1]
    with tenant.scope() as scope:
        assert audit.head(scope) == kept[-1]
        found = audit_verify.verify_all(scope, audit_heads.read(path))
    assert (found.heads, found.problem) == (2, None)
    assert path.stat().st_mode & 0o077 == 0


def test_a_file_that_holds_no_heads_is_refused_by_name_and_line(tmp_path: Path) -> None:
    path = tmp_path / "heads.jsonl"
    for content, said in ((None, "cannot be read"), ("{}\n", "line 1"), ("not json\n", "line 1")):
        if content is not None:
            path.write_text(content)
        with pytest.raises(PromptCardError, match=said) as caught:
            list(audit_heads.read(path))
        assert caught.value.code == "audit_heads_invalid"


def test_a_trail_that_is_shorter_than_its_copy_is_reported(
    tenant: Tenant, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "heads.jsonl"
    before = [head for head in audit_heads.heads(tenant.database) if head.workspace == tenant.id]
    write(tenant, "thing.made")
    audit_heads.append(path, audit_heads.heads(tenant.database))
    assert audit_heads.append(path, before) == 0
    assert str(tenant.id) in caplog.text


def test_a_server_copies_heads_at_once_and_then_every_while(tenant: Tenant, tmp_path: Path) -> None:
    path = tmp_path / "new" / HEADS_FILE
    keeper = HeadKeeper(tenant.database, path, every_s=0.05)
    keeper.start()
    try:
        before = wait_for(lambda: path.exists() and list(audit_heads.read(path, tenant.id)))
        write(tenant, "thing.made")
        wait_for(lambda: len(list(audit_heads.read(path, tenant.id))) > len(before))
    finally:
        keeper.close()
