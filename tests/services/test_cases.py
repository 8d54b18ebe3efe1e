"""Cases one by one, in bulk, from files and into files."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import openpyxl
import pytest
import sqlalchemy as sa

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.card import Card, Variable
from promptcard_ext.core.case import Case
from promptcard_ext.core.contract.cases import BulkCases, CasePatch, CaseQuery, ExportQuery, ImportQuery, SavedCase
from promptcard_ext.core.errors import CardError, Conflict, Denied, FileError, NotFound, PromptCardError
from server_ext.db.tables import audit_log
from server_ext.services import cards, case_transfer, cases
from server_ext.services.precondition import etag_of, if_match
from server_ext.services.scope import Scope, open_scope
from tests.conftest import NewActor
from tests.support import GREET, Tenant, greetings

ADA, GRACE, EDSGER = (Case({"who": who}, name=who.lower()) for who in ("Ada", "Grace", "Edsger"))


@pytest.fixture
def greet(tenant: Tenant) -> Tenant:
    """A workspace with a card and three cases."""
    with tenant.scope() as scope:
        cards.save_version(scope, GREET)
        cases.replace_all(scope, "greet", [ADA, GRACE, EDSGER])
    return tenant


def names(scope: Scope, **query: Any) -> list[str]:
    return [case.name for case in cases.list_cases(scope, "greet", CaseQuery(**query)).items]


def stored(scope: Scope, card: str = "greet") -> list[SavedCase]:
    return cases.list_cases(scope, card, CaseQuery(limit=1000)).items


def test_cases_are_listed_in_order_page_by_page(greet: Tenant) -> None:
    with greet.scope() as scope:
        first = cases.list_cases(scope, "greet", CaseQuery(limit=2))
        rest = cases.list_cases(scope, "greet", CaseQuery(limit=2, cursor=first.next))
    assert [case.name for case in (*first.items, *rest.items)] == ["ada", "grace", "edsger"]
    assert rest.next is None


def test_cases_are_filtered_by_priority_and_text(tenant: Tenant) -> None:
    with tenant.scope() as scope:
        cards.save_version(scope, GREET)
        some = [
            Case({"who": 'A "quoted" \\ person\n'}, name="first", priority="high"),
            Case({"who": "50 % of them_all"}, name="Second"),
            Case({"who": "a\x00b"}, name="third", priority="low"),
        ]
        cases.replace_all(scope, "greet", some)
        assert names(scope, priority=["high", "low"]) == ["first", "third"]
        assert names(scope, text="SECOND") == ["Second"]
        assert names(scope, text='"quoted" \\ p') == ["first"]
        assert names(scope, text="person\n") == ["first"]
        assert names(scope, text="%") == names(scope, text="m_a") == ["Second"]
        assert names(scope, text="A\x00B") == ["third"]
        assert names(scope, text="_") == ["Second"]


def test_a_case_is_added_changed_and_deleted(greet: Tenant) -> None:
    with greet.scope() as scope:
        added = cases.add(scope, "greet", Case({"who": "Barbara"}, priority="high"))
        assert names(scope)[-1] == added.name == added.case_uid[:8]
        patch = CasePatch(name="barbara", assertions=(Assertion("contains", "Barbara"),), threshold=0.5)
        changed = cases.update(scope, "greet", added.case_uid, patch, if_match(etag_of(added)))
        assert (changed.id, changed.priority, changed.threshold) == (added.id, "high", 0.5)
        assert cases.get(scope, "greet", str(added.id)) == changed
        assert cases.update(scope, "greet", str(added.id), CasePatch()) == changed
        cases.delete(scope, "greet", str(added.id), if_match(etag_of(changed)))
        with pytest.raises(NotFound):
            cases.get(scope, "greet", str(added.id))
        assert names(scope) == ["ada", "grace", "edsger"]


def test_a_case_with_other_variables_is_another_one(greet: Tenant) -> None:
    with greet.scope() as scope:
        changed = cases.update(scope, "greet", ADA.uid, CasePatch(variables={"who": "Lovelace"}))
        assert changed.case_uid == Case({"who": "Lovelace"}).uid
        for clash in (
            lambda: cases.update(scope, "greet", changed.case_uid, CasePatch(variables={"who": "Grace"})),
            lambda: cases.add(scope, "greet", GRACE),
        ):
            with pytest.raises(CardError) as caught:
                clash()
            assert caught.value.code == "case_twice"


def test_a_change_of_a_case_that_came_late_is_refused(greet: Tenant) -> None:
    with greet.scope() as scope:
        seen = if_match(etag_of(cases.get(scope, "greet", ADA.uid)), CasePatch(name="mine"))
        cases.update(scope, "greet", ADA.uid, CasePatch(name="theirs"), seen)
        with pytest.raises(Conflict) as caught:
            cases.update(scope, "greet", ADA.uid, CasePatch(name="mine"), seen)
        with pytest.raises(Conflict):
            cases.delete(scope, "greet", ADA.uid, seen)
    assert caught.value.current.name == "theirs"
    assert caught.value.diff == {"name": {"current": "theirs", "wanted": "mine"}}


def test_a_case_of_another_card_is_not_found(greet: Tenant) -> None:
    with greet.scope() as scope:
        cards.save_version(scope, Card("other", "Hi"))
        for reference in (ADA.uid, str(cases.get(scope, "greet", ADA.uid).id), str(uuid4()), "x", "\x00"):
            with pytest.raises(NotFound):
                cases.get(scope, "other", reference)


def test_bulk_changes_say_what_they_did(greet: Tenant) -> None:
    with greet.scope() as scope:
        ids = {case.name: case.id for case in stored(scope)}
        bulk = BulkCases(
            [Case({"who": "Barbara"}, name="barbara"), Case({"who": "Grace"}, name="hopper"), ADA],
            [EDSGER.uid, "0" * 64],
        )
        done = cases.merge(scope, "greet", bulk)
        assert (done.added, done.changed, done.removed, done.unchanged) == (1, 1, 1, 1)
        assert [(one.change, one.name) for one in done.examples] == [
            ("added", "barbara"), ("changed", "hopper"), ("removed", "edsger"),
        ]  # fmt: skip
        assert names(scope) == ["ada", "hopper", "barbara"]
        assert stored(scope)[1].id == ids["grace"]
        with pytest.raises(CardError) as caught:
            cases.merge(scope, "greet", BulkCases([ADA], [ADA.uid]))
        assert caught.value.code == "case_twice"


def test_a_bulk_change_that_is_based_on_something_else_changes_nothing(greet: Tenant) -> None:
    with greet.scope() as scope:
        state = {case.name: case.state for case in stored(scope)}
        barbara = Case({"who": "Barbara"}, name="barbara")
        cases.merge(scope, "greet", BulkCases([barbara], based_on={barbara.uid: "", ADA.uid: state["ada"]}))
        wrong = {ADA.uid: state["ada"], barbara.uid: "", EDSGER.uid: "0" * 64, "0" * 64: state["ada"]}
        with pytest.raises(Conflict) as caught:
            cases.merge(scope, "greet", BulkCases([barbara], [EDSGER.uid], wrong))
        assert caught.value.code == "etag_mismatch"
        now = {one.case_uid: one.case and one.case.name for one in caught.value.current}
        assert now == {barbara.uid: "barbara", EDSGER.uid: "edsger", "0" * 64: None}
        assert names(scope) == ["ada", "grace", "edsger", "barbara"]


def test_the_state_of_a_case_is_that_of_its_content_and_not_of_its_place(greet: Tenant) -> None:
    with greet.scope() as scope:
        before = {case.name: case.state for case in stored(scope)}
        cases.replace_all(scope, "greet", [EDSGER, ADA])
        assert {case.name: case.state for case in stored(scope)} == {n: before[n] for n in ("edsger", "ada")}
        cases.update(scope, "greet", ADA.uid, CasePatch(threshold=0.5))
        assert {case.name: case.state for case in stored(scope)}["ada"] != before["ada"]


def test_members_add_cases_and_admins_change_and_delete_them(greet: Tenant, new_actor: NewActor) -> None:
    member = new_actor(greet, "member")
    more: list[Callable[[Scope], object]] = [
        lambda scope: cases.add(scope, "greet", Case({"who": "x"})),
        lambda scope: cases.merge(scope, "greet", BulkCases([ADA, Case({"who": "y"})])),
        lambda scope: cases.replace_all(scope, "greet", [ADA, GRACE, EDSGER, Case({"who": "z"})]),
    ]
    changing: list[Callable[[Scope], object]] = [
        lambda scope: cases.update(scope, "greet", ADA.uid, CasePatch(name="x")),
        lambda scope: cases.delete(scope, "greet", ADA.uid),
        lambda scope: cases.merge(scope, "greet", BulkCases([Case({"who": "Ada"}, name="x")])),
        lambda scope: cases.merge(scope, "greet", BulkCases(delete=[ADA.uid])),
        lambda scope: cases.replace_all(scope, "greet", [Case({"who": "Ada"}, name="x"), GRACE, EDSGER]),
        lambda scope: cases.replace_all(scope, "greet", [GRACE, EDSGER]),
    ]
    for use in changing:
        with open_scope(greet.database, member, str(greet.id)) as scope, pytest.raises(Denied):
            use(scope)
        with greet.scope() as scope:
            assert names(scope) == ["ada", "grace", "edsger"]
    for use in more:
        with greet.scope() as scope:
            cases.replace_all(scope, "greet", [ADA, GRACE, EDSGER])
        with open_scope(greet.database, member, str(greet.id)) as scope:
            use(scope)
            assert len(names(scope)) == 4


def test_a_secret_itself_is_taken_by_no_way_in(tenant: Tenant) -> None:
    leaking = Case({"who": "Ada", "token": "sk-very-secret"})
    ways: list[Callable[[Scope], object]] = [
        lambda scope: cases.add(scope, "deploy", leaking),
        lambda scope: cases.merge(scope, "deploy", BulkCases([leaking])),
        lambda scope: cases.update(scope, "deploy", Case({"who": "Eve"}).uid, CasePatch(variables=leaking.variables)),
        lambda scope: case_transfer.import_cases(
            scope, "deploy", b'{"who": "Ada", "token": "sk-very-secret"}', ImportQuery("jsonl")
        ),
    ]
    with tenant.scope() as scope:
        cards.save_version(
            scope, Card("deploy", "Hi {{ who }}", variables=(Variable("who"), Variable("token", "secret")))
        )
        cases.add(scope, "deploy", Case({"who": "Eve"}))
        for way in ways:
            with pytest.raises(PromptCardError) as caught:
                way(scope)
            assert "sk-very-secret" not in str(caught.value.to_dict())
        assert len(stored(scope, "deploy")) == 1


def workbook(*rows: tuple[object, ...]) -> bytes:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


FILES = {
    "csv": b"who,__description\nAda,ada\nBarbara,barbara\nGrace,hopper\n",
    "jsonl": b'{"variables":{"who":"Ada"},"name":"ada"}\n{"who":"Barbara","__description":"barbara"}\n'
    b'{"variables":{"who":"Grace"},"name":"hopper"}\n',
    "yaml": b"cases:\n  - {name: ada, variables: {who: Ada}}\n  - {name: barbara, variables: {who: Barbara}}\n"
    b"  - {name: hopper, variables: {who: Grace}}\n",
    "xlsx": workbook(("who", "__description"), ("Ada", "ada"), ("Barbara", "barbara"), ("Grace", "hopper")),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_is_previewed_and_imported(greet: Tenant, kind: Any) -> None:
    with greet.scope() as scope:
        preview = case_transfer.import_cases(scope, "greet", FILES[kind], ImportQuery(kind, dry_run=True))
        assert names(scope) == ["ada", "grace", "edsger"]
        done = case_transfer.import_cases(scope, "greet", FILES[kind], ImportQuery(kind))
        assert names(scope) == ["ada", "barbara", "hopper"]
        again = case_transfer.import_cases(scope, "greet", FILES[kind], ImportQuery(kind))
    assert (preview.dry_run, done.dry_run) == (True, False)
    for told in (preview, done):
        assert (told.added, told.changed, told.removed, told.unchanged) == (1, 1, 1, 1)
        assert {(one.change, one.name) for one in told.examples} == {
            ("added", "barbara"), ("changed", "hopper"), ("removed", "edsger"),
        }  # fmt: skip
    assert (again.added, again.changed, again.removed, again.unchanged) == (0, 0, 0, 3)


def test_a_merged_file_leaves_the_other_cases(greet: Tenant) -> None:
    with greet.scope() as scope:
        done = case_transfer.import_cases(scope, "greet", FILES["csv"], ImportQuery("csv", "merge"))
        assert names(scope) == ["ada", "hopper", "edsger", "barbara"]
    assert done.removed == 0


def test_assertions_of_a_card_file_hold_for_all_its_cases(greet: Tenant) -> None:
    text = b"assertions: [{type: contains, value: hi}]\ncases: [{variables: {who: Ada}}, {variables: {who: Bo}}]"
    with greet.scope() as scope:
        case_transfer.import_cases(scope, "greet", text, ImportQuery("yaml"))
        assert [case.assertions[0]["value"] for case in stored(scope)] == ["hi", "hi"]


@pytest.mark.parametrize(
    ("kind", "data", "code"),
    [
        ("csv", b"", "file_empty"),
        ("csv", b"who\n\xff\xfe\n", "file_not_utf8"),
        ("csv", b"who\nAda,more\n", "table_invalid"),
        ("csv", b"who\nAda\nAda\n", "case_twice"),
        ("csv", b"who,__threshold\nAda,2\n", "field_invalid"),
        ("jsonl", b"{", "table_invalid"),
        ("jsonl", b'{"who": NaN}', "table_invalid"),
        ("jsonl", b"[" * 100_000, "table_invalid"),
        ("yaml", b"a: [", "yaml_syntax"),
        ("yaml", b"just text", "case_file_invalid"),
        ("yaml", b"assertions: 3\ncases: [{who: a}]", "case_file_invalid"),
        ("yaml", b"x" * 2_000_001, "file_too_large"),
        ("yaml", b"\xff", "file_not_utf8"),
        ("xlsx", b"PK\x03\x04 no spreadsheet", "table_invalid"),
        ("xlsx", b"", "table_invalid"),
    ],
)
def test_a_file_that_is_none_is_refused_and_changes_nothing(greet: Tenant, kind: Any, data: bytes, code: str) -> None:
    with greet.scope() as scope:
        with pytest.raises(FileError) as caught:
            case_transfer.import_cases(scope, "greet", data, ImportQuery(kind))
        assert names(scope) == ["ada", "grace", "edsger"]
    assert caught.value.code == code
    assert "/" not in caught.value.message.replace("0/", "")


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_what_is_exported_is_imported_again_as_it_was(tenant: Tenant, kind: Any) -> None:
    card = Card(
        "ask",
        "{{ text }} {{ n }} {{ l }}",
        variables=(Variable("text"), Variable("n", "integer"), Variable("l", "list")),
    )
    some = [
        Case({"text": "=1+1", "n": 1, "l": ["a"]}, (Assertion("contains", "x"),), name="@formula", threshold=0.5),
        Case({"text": 'a "b", c\n\td', "n": -2, "l": []}, expected_output="+out", priority="high"),
        Case({"text": "'=quoted", "n": 10**20, "l": ["ü😀"]}, metadata={"topic": "x"}),
    ]
    with tenant.scope() as scope:
        cards.save_version(scope, card)
        cases.replace_all(scope, "ask", some)
        before = stored(scope, "ask")
        name, chunks = case_transfer.export_cases(scope, "ask", ExportQuery(kind))
        data = b"".join(chunks)
        cases.replace_all(scope, "ask", [])
        case_transfer.import_cases(scope, "ask", data, ImportQuery(kind))
        after = stored(scope, "ask")
    assert name == "ask"
    assert [content(one) for one in after] == [content(one) for one in before]
    if kind == "csv":
        assert all(lead not in data for lead in (b"\n=", b",=", b",@", b",+"))


def content(case: SavedCase) -> tuple[object, ...]:
    return (
        case.name,
        case.variables,
        case.expected_output,
        case.assertions,
        case.priority,
        case.threshold,
        case.metadata,
    )


def test_an_export_has_the_cases_of_the_moment_it_began(greet: Tenant) -> None:
    with greet.scope() as scope:
        cases.replace_all(scope, "greet", greetings(1200))
    with greet.scope() as scope:
        _, chunks = case_transfer.export_cases(scope, "greet", ExportQuery("csv"))
        head = next(chunks)
        with greet.scope() as other:
            cases.replace_all(other, "greet", [Case({"who": "x"}, metadata={"new": "column"})])
        rest = list(chunks)
    assert head.startswith(b"who,")
    assert sum(chunk.count(b"\n") for chunk in rest) == 1200
    assert len(rest) == 3


def test_a_card_without_cases_is_exported_as_nothing(tenant: Tenant) -> None:
    with tenant.scope() as scope:
        cards.save_version(scope, GREET)
        assert b"".join(case_transfer.export_cases(scope, "greet", ExportQuery("jsonl"))[1]) == b""


def test_a_card_has_no_more_cases_than_it_may(greet: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server_ext.services.case_rows.MAX_CASES", 4)
    with greet.scope() as scope:
        cases.add(scope, "greet", Case({"who": "x"}))
        for use in (
            lambda: cases.add(scope, "greet", Case({"who": "y"})),
            lambda: cases.merge(scope, "greet", BulkCases([Case({"who": "y"})])),
            lambda: cases.replace_all(scope, "greet", greetings(5)),
        ):
            with pytest.raises(CardError) as caught:
                use()
            assert caught.value.code == "too_many_cases"
        cases.merge(scope, "greet", BulkCases([Case({"who": "y"})], [ADA.uid]))


def test_every_change_of_cases_is_in_the_audit_trail(greet: Tenant) -> None:
    with greet.scope() as scope:
        cases.add(scope, "greet", Case({"who": "x"}))
        cases.update(scope, "greet", ADA.uid, CasePatch(name="x"))
        cases.delete(scope, "greet", ADA.uid)
        cases.merge(scope, "greet", BulkCases([ADA]))
        case_transfer.import_cases(scope, "greet", FILES["csv"], ImportQuery("csv", dry_run=True))
        case_transfer.import_cases(scope, "greet", json.dumps({"who": "z"}).encode(), ImportQuery("jsonl"))
        actions = scope.connection.scalars(sa.select(audit_log.c.action).order_by(audit_log.c.seq)).all()
    assert list(actions[-6:]) == [
        "cases.replaced", "case.created", "case.updated", "case.deleted", "cases.changed", "cases.imported",
    ]  # fmt: skip
