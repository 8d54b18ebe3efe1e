"""Tens of thousands of requests from members of three workspaces: none of them sees anything of another's.

Seen with both walls, with each alone, and with none, where the same requests must find leaks: else they could not.

On demand, ten times as many::

    PROMPTCARDS_ISOLATION_REQUESTS=200000 .venv/bin/python -m pytest tests/security/test_isolation_machine.py -s
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.security.isolation.canaries import logged
from tests.security.isolation.machine import Findings, Machine
from tests.security.isolation.requests import IN_WORKSPACES
from tests.security.isolation.site import BOTH, Site, filled_site
from tests.security.serving import serving
from tests.security.walls import remove_policies, without_comparisons

COUNT = int(os.environ.get("PROMPTCARDS_ISOLATION_REQUESTS") or 20_000)
ALONE = max(1_500, COUNT * 15 // 100)
CONTROL = 600
SEED = int(os.environ.get("PROMPTCARDS_ISOLATION_SEED") or 20261128)
# Ends what one has, needs what the machine keeps away from, or calls a provider.
SELDOM = {
    "update_workspace", "transfer_workspace", "leave_workspace", "revoke_token", "test_credential", "test_webhook",
    "retry_errors", "requeue_items", "restore_card", "resume_run", "update_member", "remove_member", "regrade_run",
    "update_price_override", "withdraw_price_override",
}  # fmt: skip
USUAL = frozenset(one.id for one in IN_WORKSPACES) - SELDOM

pytestmark = pytest.mark.timeout(3600 if COUNT > 20_000 else 300)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Three workspaces with both walls of PostgreSQL and application."""
    with filled_site() as site:
        yield site


@pytest.fixture(scope="module")
def unguarded() -> Iterator[Site]:
    """Three workspaces whose policies of row-level security let everything pass."""
    with filled_site() as site:
        assert remove_policies(site.owner_database_url) > 20
        yield site


def search(site: Site, count: int, *walls: str) -> tuple[Findings, str]:
    """Send requests to a server without the named walls of the application; return what was found, and its log."""
    # A token that is for one of its user's workspaces is kept out of the others by the application only.
    with serving(site.settings.home, *walls) as server:
        machine = Machine(
            site, server, SEED, lambda person: "admission" not in walls or not (person.pinned and person.email == BOTH)
        )
        try:
            found = machine.run(count, USUAL if not walls and count >= 20_000 else frozenset())
        finally:
            print(f"\n{walls or 'both walls'}: {machine.findings.summary}")
    return found, server.said


def assert_apart(found: Findings, count: int) -> None:
    assert found.sent >= count
    assert found.leaks == [], "\n".join(found.leaks[:5])
    assert found.told_apart == [], "\n".join(found.told_apart[:5])
    assert found.compared > count / 10
    assert found.frames > 10_000


def test_nobody_sees_anything_of_another_workspace(site: Site) -> None:
    found, log = search(site, COUNT)
    assert_apart(found, COUNT)
    assert found.broken == [], "\n".join(found.broken[:5])
    assert logged(log) == []
    # It would prove little if hardly anything was answered.
    assert sum(count for status, count in found.statuses.items() if status < 300) > COUNT / 10
    if COUNT >= 20_000:
        assert {one for one in USUAL if not found.succeeded[one]} == set()


@pytest.mark.parametrize("wall", ["admission", "predicates"])
def test_postgresql_keeps_workspaces_apart_without_the_checks_of_the_application(site: Site, wall: str) -> None:
    found, log = search(site, ALONE, wall)
    assert_apart(found, ALONE)
    assert logged(log) == []


def test_the_application_keeps_workspaces_apart_without_row_level_security(unguarded: Site) -> None:
    found, log = search(unguarded, ALONE)
    assert_apart(found, ALONE)
    assert found.broken == [], "\n".join(found.broken[:5])
    assert logged(log) == []


@pytest.mark.parametrize("wall", ["admission", "predicates"])
def test_without_both_walls_there_are_leaks_and_they_are_seen(unguarded: Site, wall: str) -> None:
    found, _ = search(unguarded, CONTROL, wall)
    assert len(found.leaks) > 10


def test_comparisons_of_workspaces_are_taken_out_of_statements() -> None:
    taken = without_comparisons(
        "SELECT runs.id FROM runs JOIN cards ON cards.workspace_id = runs.workspace_id "
        "WHERE runs.workspace_id = %(workspace_id_1)s::UUID AND runs.id = %(id_1)s::UUID"
    )
    assert taken == (
        "SELECT runs.id FROM runs JOIN cards ON cards.workspace_id = runs.workspace_id "
        "WHERE true AND runs.id = %(id_1)s::UUID"
    )
