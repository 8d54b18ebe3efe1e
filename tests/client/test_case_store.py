"""The case table against a real server: what it saves, and what others save meanwhile."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.card import Card, Variable
from promptcard_ext.core.case import Case
from promptcard_ext.core.contract.cases import BulkCases, CasePatch, SavedCase, as_sent, state_of
from promptcard_ext.core.errors import Conflict
from promptcard_ext.kernel.workspace import Workspace
from promptcard_ext.widgets.case_sheet import Row
from promptcard_ext.widgets.case_table import CaseTable
from tests.conftest import StartWorker
from tests.support import ECHO, GREET, greetings


@pytest.fixture
def table(workspace: Workspace) -> Iterator[CaseTable]:
    """Three cases, being edited."""
    workspace.save(GREET, greetings(3))
    made = workspace.edit_cases("greet")
    assert isinstance(made, CaseTable)
    yield made
    made.close()


def row(table: CaseTable, name: str) -> Row:
    return next(one for one in table._sheet.rows if one.draft.name == name)


def put(table: CaseTable, name: str, column: str, text: str) -> int:
    found = row(table, name)
    at = next(one for one in table._sheet.columns if one.title == column)
    table._sheet.change({found.key: at.put(found.draft, text)})
    return found.key


def stored(workspace: Workspace) -> dict[str, SavedCase]:
    return {case.name: case for case in workspace.api.cases.list("greet")}


def test_everything_is_saved_and_read_as_it_was(workspace: Workspace, table: CaseTable) -> None:
    before = stored(workspace)
    put(table, "ada-0", "tags", "old, quarantined")
    put(table, "ada-0", "threshold", "0.5")
    put(table, "ada-1", "who", "Grace")
    table._sheet.remove([row(table, "ada-2").key])
    table.add([Case({"who": "Alan"}, (Assertion("latency", threshold=500),), name="alan")])
    assert table.save() == "3 saved, 1 deleted."
    now = stored(workspace)
    assert list(now) == ["ada-0", "ada-1", "alan"]
    assert now["ada-0"].metadata == {"tags": ["old", "quarantined"]}
    assert now["ada-1"].variables == {"who": "Grace"}
    assert now["ada-1"].id == before["ada-1"].id, "it keeps its place"
    assert repr(table) == "<CaseTable 'greet': 3 cases>"
    put(table, "alan", "priority", "high")
    assert table.save() == "1 saved.", "what was saved is known as it is stored"


@pytest.mark.parametrize(
    "case",
    [
        Case({"who": 1.0}, threshold=1), Case({"who": ["é", None, {"b": 1, "a": 2.50}]}), Case({"who": "\ud800"}),
        Case({"who": "x"}, (Assertion("latency", threshold=5), Assertion("contains-any", ("a", "b"), weight=2))),
        Case({"who": "\x00"}, name="named", expected_output="", priority="high", metadata={"a": (1, 2)}),
    ],
)  # fmt: skip
def test_the_state_of_a_case_is_known_before_it_is_saved(workspace: Workspace, case: Case) -> None:
    workspace.save(GREET)
    saved = workspace.api.cases.add("greet", case).value
    assert saved.state == state_of(case)
    sent = as_sent(case)
    done = workspace.api.cases.change("greet", BulkCases([sent], based_on={sent.uid: state_of(case)}))
    assert done.unchanged == 1


def test_what_somebody_else_changed_is_not_overwritten_and_all_else_is_saved(
    workspace: Workspace, table: CaseTable
) -> None:
    keys = [put(table, name, "priority", "high") for name in ("ada-0", "ada-1")]
    gone = row(table, "ada-2").key
    table._sheet.remove([gone])
    for name in ("ada-1", "ada-2"):
        theirs = stored(workspace)[name]
        workspace.api.cases.update("greet", theirs.id, CasePatch(expected_output="theirs"), etag="*")
    assert table.save() == "1 saved, 2 changed by somebody else meanwhile."
    assert [case.priority for case in stored(workspace).values()] == ["high", "medium", "medium"]
    assert table._sheet.conflicts.keys() == {keys[1], gone}

    table._sheet.resolve(keys[1], "mine")
    table._sheet.resolve(gone, "theirs")
    assert table.save() == "1 saved."
    now = stored(workspace)
    assert (now["ada-1"].priority, now["ada-1"].expected_output) == ("high", None)
    assert now["ada-2"].expected_output == "theirs"
    assert repr(table) == "<CaseTable 'greet': 3 cases>"


def test_a_new_case_does_not_replace_one_that_was_added_meanwhile(workspace: Workspace, table: CaseTable) -> None:
    table.add([Case({"who": "Grace"}, name="mine"), Case({"who": "Alan"}, name="alan")])
    workspace.api.cases.add("greet", Case({"who": "Grace"}, name="theirs"))
    assert table.save() == "1 saved, 1 changed by somebody else meanwhile."
    assert {"theirs", "alan"} <= stored(workspace).keys()
    table._sheet.resolve(row(table, "mine").key, "mine")
    assert table.save() == "1 saved."
    assert "theirs" not in stored(workspace)


def test_a_case_with_other_variables_is_not_changed_over_somebody_else(workspace: Workspace, table: CaseTable) -> None:
    key = put(table, "ada-0", "who", "Grace")
    workspace.api.cases.update("greet", stored(workspace)["ada-0"].id, CasePatch(name="theirs"), etag="*")
    deleted = put(table, "ada-1", "who", "Alan")
    workspace.api.cases.delete("greet", stored(workspace)["ada-1"].id, etag="*")
    assert table.save() == "0 saved, 2 changed by somebody else meanwhile."
    assert table._sheet.conflicts[deleted] is None
    table._sheet.resolve(key, "mine")
    table._sheet.resolve(deleted, "mine")
    assert table.save() == "2 saved."
    assert {name: case.variables["who"] for name, case in stored(workspace).items()} == {
        "ada-0": "Grace", "ada-2": "Ada 2", "ada-1": "Alan",
    }  # fmt: skip


def test_a_case_that_the_server_refuses_does_not_keep_others_from_being_saved(workspace: Workspace) -> None:
    loose = Card("greet", "Hello {{ who }}", variables=(Variable("who"), Variable("key", default="")))
    workspace.save(loose, greetings(2))
    table = workspace.edit_cases("greet")
    assert isinstance(table, CaseTable)
    # Somebody makes a secret of a variable while the table is open.
    workspace.save(msgspec.structs.replace(loose, variables=(Variable("who"), Variable("key", "secret"))))
    table.add([*greetings(9)[2:], Case({"who": "Bob", "key": "sk-123"}, name="bad")])
    assert table.save() == "7 saved, 1 refused."
    assert len(stored(workspace)) == 9
    (note,) = table._sheet.notes.values()
    assert "reference to a secret" in note
    assert "sk-123" not in note
    table.close()


def test_a_bulk_change_is_refused_as_a_whole_and_says_which_cases_are_others(workspace: Workspace) -> None:
    workspace.save(GREET, greetings(2))
    one, two = greetings(2)
    based_on = {one.uid: "0" * 64, two.uid: state_of(two), "f" * 64: ""}
    bulk = BulkCases([one, Case({"who": "new"})], [two.uid], based_on)
    with pytest.raises(Conflict) as problem:
        workspace.api.cases.change("greet", bulk)
    assert problem.value.code == "etag_mismatch"
    assert [(now["case_uid"], now["case"]["name"]) for now in problem.value.current] == [(one.uid, "ada-0")]
    assert list(stored(workspace)) == ["ada-0", "ada-1"]


def test_edited_assertions_are_judged_on_stored_answers_before_they_are_saved(
    workspace: Workspace, table: CaseTable, start_worker: StartWorker
) -> None:
    start_worker()
    for _ in range(2):
        workspace.run("greet", ECHO).wait(60)
    put(table, "ada-1", "assertions", "contains: nobody")
    case = row(table, "ada-1").draft.case()
    answers = table._requests._answers
    assert answers is not None
    judged = answers.judged([case], latest=True)
    assert (judged.runs, judged.text) == (2, "2 of 2 stored answers flip: 2 pass → fail")
    (latest,) = judged.latest
    assert (latest["before"], latest["outcome"], latest["output"]) == ("pass", "fail", "Say hello to Ada 1.")
    assert answers.judged([Case({"who": "nobody asked this"})]).answers == 0
    assert stored(workspace)["ada-1"].assertions == [{"type": "contains", "value": "Ada 1."}]
