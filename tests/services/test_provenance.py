"""What is said of where versions and runs come from, and runs that are taken instead of new ones."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.case import Case
from promptcard_ext.core.contract.provenance import Provenance
from promptcard_ext.core.contract.runs import RunOut, RunQuery, RunSpec
from server_ext.db.tables import card_versions
from server_ext.services import card_versions as versions
from server_ext.services import cards, cases, run_control, runs
from tests.support import ECHO, GREET, Tenant, greetings

SPEC = RunSpec(card="greet", models=[ECHO], reuse=True)
ORIGIN = Provenance(
    notebook="a\u202e\x00\ud800<b>.ipynb", cell_id="8c1d", cell_hash="0" * 64, environment_hash="1" * 64,
    git_commit="2" * 40, git_dirty=True,
)  # fmt: skip


def start(tenant: Tenant, spec: RunSpec = SPEC) -> RunOut:
    with tenant.scope() as scope:
        return runs.create(scope, spec)


# -- provenance ------------------------------------------------------------------------------------------------------


def test_a_version_keeps_where_it_was_made_first(tenant: Tenant) -> None:
    with tenant.scope() as scope:
        cards.save_version(scope, GREET, ORIGIN)
        cards.save_version(scope, GREET, Provenance(notebook="later.ipynb"))
        cards.save_version(scope, replace(GREET, template="Hello {{ who }}."))
        first, second = versions.list_versions(scope, "greet").items
    assert first.provenance == ORIGIN
    assert second.provenance is None


def test_where_a_version_was_made_is_no_part_of_its_content(tenant: Tenant) -> None:
    with tenant.scope() as scope:
        cards.save_version(scope, GREET, ORIGIN)
        content = scope.connection.scalar(sa.select(card_versions.c.content))
        assert set(content) == {"messages", "variables", "settings"}
        assert versions.get(scope, "greet", "1").content_hash == GREET.content_hash


def test_a_run_keeps_where_it_was_started(tenant: Tenant) -> None:
    tenant.fill()
    run = start(tenant, replace(SPEC, provenance=ORIGIN))
    assert run.provenance == ORIGIN
    assert tenant.run(str(run.id)).provenance == ORIGIN
    with tenant.scope() as scope:
        assert [one.provenance for one in runs.list_runs(scope, RunQuery()).items] == [ORIGIN]


# -- runs that are taken instead of new ones -------------------------------------------------------------------------


def test_a_run_that_asks_the_same_is_taken(tenant: Tenant) -> None:
    tenant.fill()
    first = start(tenant)
    assert not first.reused
    again = start(tenant, replace(SPEC, name="other", concurrency=3, timeout_s=5, priority="low", provenance=ORIGIN))
    assert (again.id, again.reused, again.name) == (first.id, True, first.name)
    assert start(tenant, replace(SPEC, reuse=False)).id != first.id


@pytest.mark.parametrize(
    "changed",
    [
        {"models": [ECHO, "simulated:steady"]},
        {"models": ["simulated:steady"]},
        {"repeats": 2},
        {"cases": ["ada-1"]},
        {"judges": ["simulated:judge"]},
        {"embedder": "simulated:embed"},
    ],
    ids=str,
)
def test_another_question_is_another_run(tenant: Tenant, changed: dict[str, object]) -> None:
    tenant.fill()
    first = start(tenant)
    other = start(tenant, replace(SPEC, **changed))
    assert (other.reused, other.id != first.id) == (False, True)
    assert start(tenant, replace(SPEC, **changed)).id == other.id
    assert start(tenant).id == first.id


@pytest.mark.parametrize(
    "changed",
    [
        {"variables": {"who": "Grace"}},
        {"assertions": (Assertion("contains", "Grace"),)},
        {"threshold": 0.5},
        {"name": "other"},
        {"metadata": {"x": 1}},
    ],
    ids=str,
)
def test_another_case_makes_another_run(tenant: Tenant, changed: dict[str, object]) -> None:
    tenant.fill()
    first = start(tenant)
    known = greetings(3)
    with tenant.scope() as scope:
        cases.replace_all(scope, "greet", [replace(known[0], **changed), *known[1:]])
    assert start(tenant).id != first.id
    with tenant.scope() as scope:
        cases.replace_all(scope, "greet", known)
    assert start(tenant).id == first.id


def test_another_version_or_card_makes_another_run(tenant: Tenant) -> None:
    tenant.fill()
    first = start(tenant)
    with tenant.scope() as scope:
        cards.save_version(scope, replace(GREET, template="Hello {{ who }}."))
        cards.save_version(scope, replace(GREET, name="twin"))
        cases.replace_all(scope, "twin", greetings(3))
    assert start(tenant).id != first.id
    assert start(tenant, replace(SPEC, versions=[1])).id == first.id
    assert start(tenant, replace(SPEC, card="twin")).id != first.id


def test_a_run_that_was_cancelled_is_not_taken(tenant: Tenant) -> None:
    tenant.fill()
    first = start(tenant)
    with tenant.scope() as scope:
        run_control.cancel(scope, str(first.id))
    assert start(tenant).id != first.id


def test_a_run_of_another_workspace_is_not_taken(tenant: Tenant, stranger: Tenant) -> None:
    tenant.fill()
    stranger.fill()
    assert start(tenant).id != start(stranger).id


def test_odd_texts_in_cases_are_told_apart(tenant: Tenant) -> None:
    with tenant.scope() as scope:
        cards.save_version(scope, GREET)
    seen = set()
    for text in ("\ud800", "\udc00", "\x00", "?"):
        with tenant.scope() as scope:
            cases.replace_all(scope, "greet", [Case({"who": text}, name="odd")])
        run = start(tenant)
        assert start(tenant).id == run.id
        seen.add(run.id)
    assert len(seen) == 4
