from uuid import UUID

import pytest

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.card import Card, Variable
from promptcard_ext.core.case import Case
from promptcard_ext.core.contract.cases import SavedCase
from promptcard_ext.core.errors import CardError
from promptcard_ext.widgets.case_columns import Column, columns_of, summary
from promptcard_ext.widgets.case_draft import Draft
from promptcard_ext.widgets.case_paste import Change, Misfit, Place, planned
from promptcard_ext.widgets.case_sheet import Base, Row, Sheet
from promptcard_ext.widgets.clipboard import parse

TYPED = Card(
    "typed",
    "{{ who }} {{ n }} {{ x }} {{ ok }} {{ mood }} {{ many }} {{ any }} {{ on }}",
    variables=(
        Variable("who"), Variable("n", "integer", minimum=1), Variable("x", "number", default=0.5),
        Variable("ok", "boolean", default=True), Variable("mood", "enum", values=("glad", "sad"), default="glad"),
        Variable("many", "list", default=[]), Variable("any", "json", default=None),
        Variable("on", "datetime", default="2025-01-31"),
    ),
)  # fmt: skip
GREET = Card("greet", "Hello {{ who }}")
ADA = Case({"who": "Ada"}, (Assertion("contains", "Ada"),), name="ada")
GRACE = Case({"who": "Grace"}, name="grace", metadata={"tags": ["old"], "topic": "ships"})


def sheet_of(*cases: Case | SavedCase, card: Card = GREET) -> Sheet:
    return Sheet(columns_of(card), cases)


def column(sheet: Sheet, title: str) -> Column:
    return next(one for one in sheet.columns if one.title == title)


def put(sheet: Sheet, place: int, title: str, text: str) -> Row:
    row = sheet.rows[place]
    sheet.change({row.key: column(sheet, title).put(row.draft, text)})
    return sheet.rows[place]


def saved(case: Case, position: int = 0, **more: object) -> SavedCase:
    fields = {
        "name": case.name, "variables": case.variables, "expected_output": None, "assertions": [],
        "priority": case.priority, "threshold": case.threshold, "metadata": case.metadata,
    }  # fmt: skip
    return SavedCase(id=UUID(int=position), position=position, case_uid=case.uid, **{**fields, **more})  # type: ignore[arg-type]


# -- cells -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("title", "text", "value"),
    [
        ("who", "Ada\nLovelace", "Ada\nLovelace"),
        ("n", "3", 3),
        ("x", "2.5", 2.5),
        ("ok", "no", False),
        ("mood", "sad", "sad"),
        ("many", '["a", 1]', ["a", 1]),
        ("any", '{"a": [1]}', {"a": [1]}),
        ("any", "just text", "just text"),
        ("on", "2025-02-01T10:00:00Z", "2025-02-01T10:00:00Z"),
    ],
)
def test_a_cell_becomes_a_value_of_its_type(title: str, text: str, value: object) -> None:
    draft = column(sheet_of(card=TYPED), title).put(Draft(), text)
    assert draft.variables == {title: value}
    assert draft.wrong == {}
    assert type(draft.variables[title]) is type(value)


@pytest.mark.parametrize(
    ("title", "text", "problem"),
    [
        ("n", "three", "'three' is no integer"),
        ("n", "0", "less than 1"),
        ("x", "1,5", "no number"),
        ("ok", "maybe", "neither true nor false"),
        ("mood", "angry", "not one of glad, sad"),
        ("many", "a, b", "is no JSON"),
        ("on", "tomorrow", "not a date"),
        ("threshold", "2", "not between 0 and 1"),
        ("threshold", "high", "no number"),
        ("tags", "x" * 51, "at most 50"),
        ("name", "x" * 256, "at most 255"),
        ("assertions", "contians: x\nlatency", "needs a 'threshold'"),
        ("assertions", "[1]", "no list of assertions"),
        ("assertions", '[{"type": "contians"}]', "There is no assertion 'contians'"),
    ],
)
def test_a_cell_that_does_not_fit_is_kept_and_says_why(title: str, text: str, problem: str) -> None:
    at = column(sheet_of(card=TYPED), title)
    draft = at.put(Draft(), text)
    assert draft.wrong[at.id].text == text
    assert problem in draft.wrong[at.id].problem
    assert at.text(draft) == text
    assert at.put(draft, "").wrong == {}


def test_what_may_be_a_secret_is_not_kept() -> None:
    card = Card("call", "{{ who }}", variables=(Variable("who"), Variable("key", "secret", default="env:KEY")))
    draft = column(sheet_of(card=card), "key").put(Draft(), "sk-very-secret")
    assert "sk-very-secret" not in repr(draft)
    assert draft.wrong


def test_assertions_are_read_from_short_forms_and_from_json() -> None:
    at = column(sheet_of(), "assertions")
    short = at.put(Draft(), "contains: Ada\nlatency(500)")
    assert short.assertions == (Assertion("contains", "Ada"), Assertion("latency", threshold=500))
    long = at.put(Draft(), '[{"type": "contains", "value": "Ada", "weight": 2}]')
    assert long.assertions == (Assertion("contains", "Ada", weight=2),)
    for draft in (short, long):
        assert at.put(Draft(), at.text(draft)).assertions == draft.assertions
    assert summary(long.assertions[0]) == "contains: Ada ×2"


def test_an_undeclared_variable_that_is_no_text_stays_none() -> None:
    sheet = sheet_of(Case({"who": [1, 2]}))
    assert put(sheet, 0, "who", "[1, 2, 3]").draft.variables == {"who": [1, 2, 3]}


def test_variables_that_the_card_does_not_have_are_seen_and_can_be_emptied() -> None:
    old = Case({"who": "Ada", "tone": "dry"})
    sheet = Sheet(columns_of(GREET, [old]), [old])
    assert [one.title for one in sheet.columns][:3] == ["name", "who", "tone"]
    assert put(sheet, 0, "tone", "").draft.variables == {"who": "Ada"}
    assert sheet.blocked(sheet.rows[0]) == ""


def test_tags_are_metadata_and_the_rest_of_it_is_kept() -> None:
    sheet = sheet_of(GRACE)
    assert column(sheet, "tags").text(sheet.rows[0].draft) == "old"
    put(sheet, 0, "tags", "new, quarantined")
    assert sheet.cases()[0].metadata == {"topic": "ships", "tags": ["new", "quarantined"]}
    assert sheet.counts().quarantined == 1


# -- steps -------------------------------------------------------------------------------------------------------------


def test_every_step_can_be_taken_back_and_again() -> None:
    sheet = sheet_of(ADA, GRACE)
    put(sheet, 0, "who", "Alan")
    sheet.remove([sheet.rows[1].key])
    sheet.change({}, [Draft({"who": "new"})])
    states = [[row.draft.variables["who"] for row in sheet.rows]]
    for _ in range(3):
        sheet.undo()
        states.append([row.draft.variables["who"] for row in sheet.rows])
    assert states == [["Alan", "new"], ["Alan"], ["Alan", "Grace"], ["Ada", "Grace"]]
    assert not sheet.can_undo
    for _ in range(3):
        sheet.redo()
    assert [row.draft.variables["who"] for row in sheet.rows] == states[0]
    assert not sheet.can_redo


def test_a_new_step_forgets_what_was_taken_back() -> None:
    sheet = sheet_of(ADA)
    put(sheet, 0, "who", "Alan")
    sheet.undo()
    put(sheet, 0, "who", "Alonzo")
    assert not sheet.can_redo


def test_what_is_as_it_was_is_not_changed() -> None:
    sheet = sheet_of(ADA)
    put(sheet, 0, "who", "Alan")
    assert sheet.counts()[:4] == (1, 0, 1, 0)
    put(sheet, 0, "who", "Ada")
    assert sheet.counts()[:4] == (1, 0, 0, 0)


def test_one_and_one_point_zero_are_two_values() -> None:
    card = Card("n", "{{ n }}", variables=(Variable("n", "number"),))
    sheet = sheet_of(Case({"n": 1}), card=card)
    assert sheet.state(put(sheet, 0, "n", "1.0")) == "changed"


def test_two_rows_with_the_same_variables_cannot_both_be_saved() -> None:
    sheet = sheet_of(ADA, GRACE)
    (copy,) = sheet.duplicate([sheet.rows[0].key])
    row = sheet.row(copy)
    assert row is not None
    assert sheet.blocked(row) == "Row 1 has the same variables."
    assert sheet.blocked(sheet.rows[0]) == ""
    assert list(sheet.unsaved()) == []
    with pytest.raises(CardError, match="Row 3") as refused:
        sheet.cases()
    assert refused.value.code == "case_unfinished"


def test_a_new_row_needs_its_variables_and_an_old_one_may_do_without() -> None:
    sheet = sheet_of(Case({}, name="old"), card=TYPED)
    assert sheet.blocked(put(sheet, 0, "tags", "x")) == ""
    sheet.change({}, [Draft({"who": "Ada"})])
    assert sheet.blocked(sheet.rows[1]) == "There is no value for n."
    assert [one.title for one in sheet.lacks(sheet.rows[0].draft)] == ["who", "n"]


def test_rows_that_are_looked_for_stay_in_sight_while_they_change() -> None:
    sheet = sheet_of(ADA, GRACE)
    sheet.show("", "gra")
    assert [row.draft.name for row in sheet.seen(0, 9)] == ["grace"]
    put(sheet, 1, "who", "Alan")
    put(sheet, 1, "name", "alan")
    assert len(sheet) == 1
    sheet.show("changed")
    assert len(sheet) == 1
    sheet.show("quarantined")
    assert len(sheet) == 0
    sheet.show()
    assert len(sheet) == 2


# -- what others do ----------------------------------------------------------------------------------------------------


def test_a_conflict_ends_with_mine_or_theirs() -> None:
    for take, expected, state in (("mine", "me", "changed"), ("theirs", "they", "")):
        sheet = sheet_of(saved(ADA))
        key = put(sheet, 0, "name", "me").key
        sheet.has_conflict(key, saved(ADA, name="they"))
        assert list(sheet.unsaved()) == []
        sheet.resolve(key, take)  # type: ignore[arg-type]
        assert (sheet.rows[0].draft.name, sheet.state(sheet.rows[0])) == (expected, state)
        assert sheet.bases[key].state == saved(ADA, name="they").state


def test_a_case_that_somebody_deleted_becomes_new_or_goes() -> None:
    sheet = sheet_of(saved(ADA), saved(GRACE, 1))
    keys = [put(sheet, at, "priority", "low").key for at in (0, 1)]
    for key in keys:
        sheet.has_conflict(key, None)
    sheet.resolve(keys[0], "mine")
    sheet.resolve(keys[1], "theirs")
    assert [sheet.state(row) for row in sheet.rows] == ["new"]
    assert sheet.removed() == {}


def test_a_row_that_was_deleted_here_and_changed_there_comes_back() -> None:
    sheet = sheet_of(saved(ADA))
    key = sheet.rows[0].key
    sheet.remove([key])
    sheet.has_conflict(key, saved(ADA, name="they"))
    assert [row.draft.name for row in sheet.rows] == ["they"]
    sheet.resolve(key, "theirs")
    assert sheet.counts()[:4] == (1, 0, 0, 0)


def test_what_was_changed_during_a_save_stays_changed() -> None:
    sheet = sheet_of(saved(ADA))
    sent = put(sheet, 0, "name", "one")
    put(sheet, 0, "name", "two")
    sheet.were_saved({sent.key: (sent.draft, Base(sent.draft, "state"))})
    assert sheet.state(sheet.rows[0]) == "changed"
    put(sheet, 0, "name", "one")
    assert sheet.state(sheet.rows[0]) == ""


# -- pasting -----------------------------------------------------------------------------------------------------------


def test_a_paste_says_what_changes_and_what_does_not_fit() -> None:
    sheet = sheet_of(Case({"who": "Ada", "n": 1}), card=TYPED)
    at = sheet.columns.index(column(sheet, "who"))
    paste = planned(sheet, parse("Alan\t2\nGrace\tmany\nBob\t4"), Place(0, at, 0, at))
    assert paste.changes[:2] == [Change(1, "who", "Ada", "Alan"), Change(1, "n", "1", "2")]
    assert paste.misfits == [Misfit(2, "n", "many", "'many' is no integer.")]
    assert (len(paste.drafts), len(paste.added)) == (1, 2)
    assert sheet.rows[0].draft.variables == {"who": "Ada", "n": 1}, "nothing is done yet"

    sheet.change(paste.fitting, paste.fitting_added)
    assert [row.draft.variables for row in sheet.rows] == [
        {"who": "Alan", "n": 2},
        {"who": "Grace"},
        {"who": "Bob", "n": 4},
    ]
    sheet.undo()
    sheet.change(paste.drafts, paste.added)
    assert [sorted(row.draft.wrong) for row in sheet.rows] == [[], ["variables.n"], []]


def test_a_first_row_of_names_says_which_columns_are_meant() -> None:
    sheet = sheet_of(card=TYPED)
    paste = planned(sheet, parse("n\twho\ttags\n7\tAda\told"), Place(0, 0, 0, 0))
    assert paste.header
    (draft,) = paste.added
    assert (draft.variables, draft.tags) == ({"n": 7, "who": "Ada"}, ("old",))
    as_cells = planned(sheet, parse("n\twho\ttags\n7\tAda\told"), Place(0, 0, 0, 0), header=False)
    assert len(as_cells.added) == 2


def test_cells_beyond_the_last_column_are_named() -> None:
    sheet = sheet_of(ADA)
    last = len(sheet.columns) - 1
    paste = planned(sheet, [["", "lost"]], Place(0, last, 0, last))
    assert paste.misfits == [Misfit(1, "column 2", "lost", "The table has no such column.")]


def test_one_cell_fills_all_that_are_selected() -> None:
    sheet = sheet_of(ADA, GRACE)
    at = sheet.columns.index(column(sheet, "priority"))
    paste = planned(sheet, [["high"]], Place(0, at, 1, at))
    assert [draft.priority for draft in paste.fitting.values()] == ["high", "high"]
