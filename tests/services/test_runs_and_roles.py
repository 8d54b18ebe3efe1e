"""Cancelling, and who may do what."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from promptcard_ext.core.card import Card
from promptcard_ext.core.contract.runs import RunQuery, RunSpec
from promptcard_ext.core.errors import Denied, NotFound
from server_ext.auth import permissions
from server_ext.db.engine import Database
from server_ext.db.tables import tasks
from server_ext.services import card_versions, cards, cases, drafts, items, reports, run_control, runs
from server_ext.services import tasks as task_service
from server_ext.services.scope import Scope, open_scope
from tests.conftest import NewActor
from tests.services.test_leases import claim, task_of
from tests.support import ECHO, GREET, Tenant, greetings

USE_CASES: dict[str, tuple[str, Callable[[Scope, str], Any]]] = {
    "list cards": ("viewer", lambda scope, run: cards.list_cards(scope)),
    "read versions": ("viewer", lambda scope, run: card_versions.list_versions(scope, "greet")),
    "list cases": ("viewer", lambda scope, run: cases.list_cases(scope, "greet")),
    "read a run": ("viewer", lambda scope, run: runs.get(scope, run)),
    "list runs": ("viewer", lambda scope, run: runs.list_runs(scope, RunQuery())),
    "read items": ("viewer", lambda scope, run: items.list_items(scope, run)),
    "follow a run": ("viewer", lambda scope, run: items.events_after(scope, run, 0)),
    "save a card": ("member", lambda scope, run: cards.save_version(scope, Card("new", "Hi"))),
    "save a draft": ("member", lambda scope, run: drafts.save(scope, "greet", {"template": "Hi"})),
    "add cases": ("member", lambda scope, run: cases.replace_all(scope, "greet", greetings(4))),
    "remove cases": ("admin", lambda scope, run: cases.replace_all(scope, "greet", greetings(1))),
    "start a run": ("member", lambda scope, run: runs.create(scope, RunSpec(card="greet", models=[ECHO]))),
    "pause a run": ("member", lambda scope, run: run_control.pause(scope, run)),
    "resume a run": ("member", lambda scope, run: run_control.resume(scope, run)),
    "cancel a run": ("member", lambda scope, run: run_control.cancel(scope, run)),
    "ask for a report": ("member", lambda scope, run: reports.create(scope, run)),
}


@pytest.mark.parametrize("role", permissions.ROLES)
def test_a_role_may_do_what_is_its_own_and_no_more(
    database: Database, tenant: Tenant, new_actor: NewActor, role: str
) -> None:
    run_id = tenant.start()
    actor = new_actor(tenant, role)
    for what, (lowest, use_case) in USE_CASES.items():
        may = permissions.ROLES.index(role) <= permissions.ROLES.index(lowest)
        try:
            with open_scope(database, actor, str(tenant.id)) as scope:
                use_case(scope, run_id)
                allowed = True
                raise _Undo
        except Denied:
            allowed = False
        except _Undo:
            pass
        assert allowed == may, f"{role}: {what}"


class _Undo(Exception):
    pass


def test_what_is_not_listed_is_denied_to_all() -> None:
    assert not any(permissions.allows(role, "workspace:burn") for role in permissions.ROLES)
    assert not any(permissions.allows("superuser", action) for action in permissions.ACTIONS)
    with pytest.raises(Denied):
        permissions.require("owner", "workspace:burn")


def test_somebody_who_does_not_belong_finds_nothing(database: Database, tenant: Tenant, new_actor: NewActor) -> None:
    for reference in (str(tenant.id), tenant.slug):
        with pytest.raises(NotFound), open_scope(database, new_actor(), reference):
            pass


def test_a_waiting_run_is_cancelled_at_once(tenant: Tenant) -> None:
    run_id = tenant.start()
    with tenant.scope() as scope:
        assert run_control.cancel(scope, run_id).status == "cancelled"
    assert claim(tenant, task_of(tenant, run_id)) is None
    with tenant.scope() as scope:
        events, _ = items.events_after(scope, run_id, 0)
    assert [event.kind for event in events] == ["queued", "cancelling", "finished"]


def test_a_run_that_ended_stays_as_it_is(tenant: Tenant) -> None:
    run_id = tenant.start()
    with tenant.scope() as scope:
        first = run_control.cancel(scope, run_id)
        assert run_control.cancel(scope, run_id) == first


@pytest.mark.parametrize("turn", range(6))
def test_cancelling_while_workers_come_and_go_ends_the_run(tenant: Tenant, turn: int) -> None:
    run_id = tenant.start(count=4, repeats=200)  # 800 items: four tasks
    with tenant.scope() as scope:
        task_ids = (
            scope.connection.execute(sa.select(tasks.c.id).where(tasks.c.workspace_id == tenant.id)).scalars().all()
        )
    assert len(task_ids) == 4
    gate = threading.Barrier(9)

    def work(number: int) -> None:
        gate.wait()
        lease = claim(tenant, task_ids[number % 4], f"w{number}")
        if lease is not None:
            ordinals = list(range(lease.first_ordinal or 0, (lease.first_ordinal or 0) + 5))
            task_service.open_attempts(tenant.database, lease, ordinals)
            if task_service.renew(tenant.database, lease, 60) == "cancelling":
                task_service.finish(tenant.database, lease, "cancelled")
            elif number % 2:
                task_service.release(tenant.database, lease)
            else:
                task_service.finish(tenant.database, lease, "done")

    def cancel() -> None:
        gate.wait()
        with tenant.scope() as scope:
            run_control.cancel(scope, run_id)

    with ThreadPoolExecutor(9) as pool:
        futures = [pool.submit(work, number) for number in range(8)] + [pool.submit(cancel)]
        for future in futures:
            future.result(timeout=30)
    for task_id in task_ids:  # what was handed back just before is ended by whoever looks at it
        assert claim(tenant, task_id) is None
    assert tenant.status(run_id) == "cancelled"


def test_saving_at_once_makes_each_version_once(tenant: Tenant) -> None:
    def save(number: int) -> bool:
        with tenant.scope() as scope:
            return cards.save_version(scope, Card("greet", f"Hi {{{{ who }}}} {number % 3}")).created

    with ThreadPoolExecutor(8) as pool:
        created = sum(pool.map(save, range(24)))
    with tenant.scope() as scope:
        numbers = [version.card.version for version in card_versions.load(scope, "greet")]
    assert numbers == list(range(1, created + 1))


def test_replacing_cases_at_once_leaves_those_of_one(tenant: Tenant) -> None:
    with tenant.scope() as scope:
        cards.save_version(scope, GREET)
    sets = [greetings(20), greetings(40)[20:][::-1], greetings(30)[10:]]

    def put(number: int) -> None:
        with tenant.scope() as scope:
            cases.replace_all(scope, "greet", sets[number % 3])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(24)))
    with tenant.scope() as scope:
        left = [case.name for case in cases.list_cases(scope, "greet").items]
    assert left in [[case.name for case in one] for one in sets]
