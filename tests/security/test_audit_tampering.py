"""Whoever owns the database, switches everything off and computes every hash anew is found out all the same.

`PROMPTCARDS_AUDIT_MUTATIONS` tries more changes than usual, `PROMPTCARDS_AUDIT_SEED` others.
"""

from __future__ import annotations

import os
import random
import uuid
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa

from promptcard_ext.core.contract.audit import AuditCheck, AuditHead
from server_ext.auth.actor import Actor
from server_ext.db.engine import Database, make_engine
from server_ext.db.tables import audit_log
from server_ext.embedded import Services
from server_ext.keys import KeyRing, new_key, new_ring
from server_ext.services import audit, audit_verify
from server_ext.services.audit_seal import seal
from server_ext.services.scope import Scope
from tests.support import Tenant, new_tenant

MUTATIONS = int(os.environ.get("PROMPTCARDS_AUDIT_MUTATIONS", "1000"))
SEED = int(os.environ.get("PROMPTCARDS_AUDIT_SEED", "4"))
ENTRIES = 12

_OWNER_LETS_GO = """
    alter table audit_log no force row level security;
    alter table audit_log disable trigger user;
    create function pc.rechain(workspace uuid) returns void language plpgsql as $$
    declare
        entry public.audit_log;
        before bytea := '';
        number bigint := 0;
    begin
        for entry in select * from public.audit_log where workspace_id = workspace order by seq loop
            number := number + 1;
            entry.prev_hash := before;
            before := pc.audit_hash(entry);
            update public.audit_log set prev_hash = entry.prev_hash, hash = before
                where workspace_id = workspace and seq = entry.seq;
        end loop;
    end $$;
"""


class Forger:
    """The owner of the database, with every guard off, at the trail of one workspace."""

    def __init__(self, connection: sa.Connection, workspace: uuid.UUID, other: uuid.UUID, dice: random.Random) -> None:
        self.connection, self.workspace, self.other, self.dice = connection, workspace, other, dice

    def run(self, statement: str, **values: object) -> None:
        self.connection.execute(sa.text(statement), {"w": self.workspace, **values})

    @property
    def last(self) -> int:
        found = self.connection.scalar(
            sa.text("select max(seq) from audit_log where workspace_id = :w"), {"w": self.workspace}
        )
        return int(found)

    def any(self, most: int | None = None) -> int:
        return self.dice.randint(1, most or self.last)

    def maybe_rechain(self) -> None:
        if self.dice.random() < 0.7:
            self.run("select pc.rechain(:w)")

    def shift(self, start: int, by: int) -> None:
        # Two steps: a primary key does not wait for the end of a statement.
        self.run("update audit_log set seq = -seq where workspace_id = :w and seq >= :s", s=start)
        self.run("update audit_log set seq = -seq + :by where workspace_id = :w and seq < 0", by=by)


def edit(forger: Forger) -> None:
    change = forger.dice.choice(
        [
            "action = action || 'x'", "actor_id = gen_random_uuid()", "actor_kind = 'job'", "actor_role = 'viewer'",
            "via = 'hub'", "via = null", "address = '203.0.113.9'", "request_id = 'other'", "object_type = 'else'",
            "object_id = object_id || '0'", "detail = detail || '{\"n\": -1}'", "detail = '[]'",
            "at = at + interval '1 microsecond'", "at = at - interval '1 year'", "key_id = 'other'",
            "mac = sha256(mac)", "hash = sha256(hash)", "prev_hash = sha256(prev_hash)",
        ]
    )  # fmt: skip
    forger.run(f"update audit_log set {change} where workspace_id = :w and seq = :s", s=forger.any())
    if "hash = " not in change:
        forger.maybe_rechain()


def delete(forger: Forger) -> None:
    seq = forger.any(forger.last - 1)
    forger.run("delete from audit_log where workspace_id = :w and seq = :s", s=seq)
    if forger.dice.random() < 0.7:
        forger.shift(seq + 1, -1)
    forger.maybe_rechain()


def reorder(forger: Forger) -> None:
    one, other = sorted(forger.dice.sample(range(1, forger.last + 1), 2))
    forger.run(
        "update audit_log set seq = case seq when :a then -:b else -:a end where workspace_id = :w and seq in (:a, :b)",
        a=one, b=other,
    )  # fmt: skip
    forger.run("update audit_log set seq = -seq where workspace_id = :w and seq < 0")
    forger.maybe_rechain()


def insert(forger: Forger) -> None:
    """Put an entry in: a copy of another, one of another workspace, or one without a seal; anywhere, also in front."""
    place = forger.dice.choice([0, forger.any(), forger.last + 1])
    if place and place <= forger.last:
        forger.shift(place, 1)
    source = forger.dice.choice([forger.workspace, forger.other])
    sealed = forger.dice.random() < 0.7
    columns = "at, actor_id, actor_kind, action, object_type, object_id, detail, prev_hash, hash"
    if sealed:
        columns += ", actor_role, via, address, request_id, key_id, mac"
    forger.run(
        f"insert into audit_log (workspace_id, seq, {columns}) select :w, :s, {columns} from audit_log "
        "where workspace_id = :source order by random() limit 1",
        s=place, source=source,
    )  # fmt: skip
    forger.maybe_rechain()


def cut(forger: Forger) -> None:
    forger.run("delete from audit_log where workspace_id = :w and seq > :s", s=forger.any() - 1)


def strip(forger: Forger) -> None:
    """Take seals off, as though they were from before there were any: all, or those up to some entry."""
    forger.run(
        "update audit_log set mac = null, key_id = null, actor_role = null, via = null, address = null, "
        "request_id = null where workspace_id = :w and seq <= :s",
        s=forger.dice.choice([forger.any(), forger.last]),
    )
    forger.run("select pc.rechain(:w)")


def rewrite(forger: Forger) -> None:
    """Write the whole trail anew with a key of one's own, under the name of the true one or another."""
    key = new_key()
    rows = forger.connection.execute(
        sa.select(audit_log).where(audit_log.c.workspace_id == forger.workspace).order_by(audit_log.c.seq)
    ).mappings()
    prev_hash = prev_mac = b""
    keep_name = forger.dice.random() < 0.5
    for row in rows.all():
        entry = {**row, "action": "nothing.happened", "key_id": row["key_id"] if keep_name else key.id}
        prev_mac = seal(key, entry, prev_hash, prev_mac)
        forger.run(
            "update audit_log set action = :a, key_id = :k, mac = :m, prev_hash = :p "
            "where workspace_id = :w and seq = :s",
            a=entry["action"], k=entry["key_id"], m=prev_mac, p=prev_hash, s=row["seq"],
        )  # fmt: skip
        forger.run(
            "update audit_log set hash = pc.audit_hash(audit_log) where workspace_id = :w and seq = :s", s=row["seq"]
        )
        prev_hash = forger.connection.scalar(
            sa.text("select hash from audit_log where workspace_id = :w and seq = :s"),
            {"w": forger.workspace, "s": row["seq"]},
        )


WAYS: dict[Callable[[Forger], None], int] = {edit: 8, delete: 4, reorder: 4, insert: 4, cut: 2, strip: 2, rewrite: 1}


@pytest.fixture
def owner(services: Services) -> Iterator[sa.Connection]:
    """The database's owner, with the guards off; nothing of what it does stays."""
    engine = make_engine(services.owner_database_url or "")
    with engine.connect() as connection, connection.begin() as transaction:
        for statement in filter(str.strip, _split(_OWNER_LETS_GO)):
            connection.exec_driver_sql(statement)
        yield connection
        transaction.rollback()
    engine.dispose()


def _split(script: str) -> list[str]:
    head, _, rest = script.partition("create function")
    return [*head.split(";"), f"create function{rest}"]


@pytest.fixture
def tenant(database: Database, me: Actor) -> Tenant:
    """A workspace with a trail; committed before the owner locks the table."""
    tenant = new_tenant(database, me)
    write(tenant, ENTRIES)
    return tenant


@pytest.fixture
def other(database: Database, me: Actor) -> Tenant:
    """Another one."""
    tenant = new_tenant(database, me)
    write(tenant, 3)
    return tenant


def write(tenant: Tenant, count: int) -> None:
    for n in range(count):
        with tenant.scope() as scope:
            audit.record(scope, f"thing.{n % 3}", "thing", n, n=n)


def look(connection: sa.Connection, tenant: Tenant, heads: list[AuditHead]) -> AuditCheck:
    return audit_verify.verify_all(Scope(connection, tenant.id, tenant.actor, "owner", tenant.database), heads)


def test_every_change_by_the_databases_owner_is_found(other: Tenant, tenant: Tenant, owner: sa.Connection) -> None:
    dice = random.Random(SEED)
    with owner.begin_nested():
        last = owner.execute(
            sa.select(audit_log).where(audit_log.c.workspace_id == tenant.id).order_by(audit_log.c.seq.desc()).limit(1)
        ).one()
        heads = [audit.head_of(last)]
    assert look(owner, tenant, heads).problem is None
    tried: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    for number in range(MUTATIONS):
        (way,) = dice.choices(list(WAYS), list(WAYS.values()))
        savepoint = owner.begin_nested()
        way(Forger(owner, tenant.id, other.id, dice))
        found = look(owner, tenant, heads)
        savepoint.rollback()
        assert found.problem is not None, f"change {number} ({way.__name__}, seed {SEED}) was not found"
        tried[way.__name__] += 1
        kinds[found.problem.kind] += 1
    assert look(owner, tenant, heads).problem is None
    assert look(owner, other, []).problem is None
    print(f"{MUTATIONS} changes, all found: {dict(tried)}; as {dict(kinds)}")
    assert set(tried) == {way.__name__ for way in WAYS}


def test_without_a_copied_head_only_the_end_can_go_unseen(other: Tenant, tenant: Tenant, owner: sa.Connection) -> None:
    owner.execute(sa.text("delete from audit_log where workspace_id = :w and seq > 5"), {"w": tenant.id})
    found = look(owner, tenant, [])
    assert (found.problem, found.checked_to, found.heads) == (None, 5, 0)


def test_what_was_written_before_seals_is_covered_by_the_first_seal(
    database: Database, me: Actor, services: Services
) -> None:
    tenant = new_tenant(database, me)
    old = sa.text(
        "update audit_log set mac = null, key_id = null, actor_role = null, via = null, address = null, "
        "request_id = null where workspace_id = :w"
    )
    engine = make_engine(services.owner_database_url or "")
    with engine.connect() as connection, connection.begin() as transaction:
        for statement in filter(str.strip, _split(_OWNER_LETS_GO)):
            connection.exec_driver_sql(statement)
        connection.execute(old, {"w": tenant.id})
        connection.execute(sa.text("select pc.rechain(:w)"), {"w": tenant.id})
        connection.exec_driver_sql("alter table audit_log enable trigger user")
        scope = Scope(connection, tenant.id, me, "owner", database)
        before = audit_verify.verify_all(scope)
        assert (before.unsealed_to, before.problem) == (before.checked_to, None)
        audit.record(scope, "thing.made", "thing", 1)
        after = audit_verify.verify_all(scope)
        assert (after.unsealed_to, after.problem) == (before.checked_to, None)
        connection.exec_driver_sql("alter table audit_log disable trigger user")
        connection.execute(
            sa.text("update audit_log set action = 'x' where workspace_id = :w and seq = 1"), {"w": tenant.id}
        )
        connection.execute(sa.text("select pc.rechain(:w)"), {"w": tenant.id})
        problem = audit_verify.verify_all(scope).problem
        assert problem is not None
        assert (problem.seq, problem.kind) == (after.checked_to, "seal")
        transaction.rollback()
    engine.dispose()


def test_a_replaced_key_still_verifies_and_a_dropped_one_is_named(tenant: Tenant, services: Services) -> None:
    ring = tenant.database.keys.rotated("audit")

    def checked(keys: KeyRing, write_one: bool = False) -> AuditCheck:
        with (
            Database(services.database_url, pool_size=1, keys=keys) as database,
            database.transaction(tenant.id) as connection,
        ):
            scope = Scope(connection, tenant.id, tenant.actor, "owner", database)
            if write_one:
                audit.record(scope, "thing.made", "thing", 1)
            return audit_verify.verify_all(scope)

    assert checked(ring, write_one=True).problem is None
    for keys, kind in ((tenant.database.keys, "key_unknown"), (new_ring(), "key_unknown")):
        problem = checked(keys).problem
        assert problem is not None
        assert problem.kind == kind
