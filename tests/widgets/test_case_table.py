import gc
import json
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import pytest

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.card import Card, Variable
from promptcard_ext.core.case import Case
from promptcard_ext.core.errors import CardError, FileError, Unavailable
from promptcard_ext.kernel.run import run
from promptcard_ext.widgets.base import Throttle
from promptcard_ext.widgets.case_judging import LocalAnswers
from promptcard_ext.widgets.case_requests import MAX_WINDOW
from promptcard_ext.widgets.case_store import Changes, Saved
from promptcard_ext.widgets.case_table import CaseTable, edit_cases
from tests.support import wait_for
from tests.widgets.fakes import FakeComm, Hands

HOSTILE = "<img src=x onerror=alert(1)>\x00\x1b[31m\ud800‮"
GREET = Card("greet", "Hello {{ who }} {{ n }}", variables=(Variable("who"), Variable("n", "integer", default=1)))
ADA = Case({"who": "Ada"}, (Assertion("contains", "Ada"),), name="ada")
GRACE = Case({"who": "Grace", "n": 2}, name="grace")


class FakeStore:
    """A server that takes everything, or is away."""

    def __init__(self) -> None:
        self.saved: list[Changes] = []
        self.away = False
        self.go = threading.Event()
        self.go.set()

    def save(self, changes: Changes, saved: Saved, progress: Callable[[int], None]) -> None:
        assert self.go.wait(20)
        if self.away:
            raise Unavailable("The server is away.")
        self.saved.append(changes)
        saved.stored = {row.key: (row.draft, row.draft.case()) for row, _ in changes.rows}
        saved.removed = list(changes.removed)
        progress(len(saved.stored))


class Ends:
    """A table, and the two ends of its comms that the browser has."""

    def __init__(self, table: CaseTable, comms: list[FakeComm]) -> None:
        found = {one.comm_id: one for one in comms}
        self.table, self.stream, self.channel = table, found[table.model_id], found[table.channel]

    def ask(self, kind: str, **more: Any) -> dict[str, Any]:
        answer, body = self.channel.ask(kind, **more)
        return {**answer, "body": body}

    def later(self, kind: str, **more: Any) -> dict[str, Any]:
        """Ask for what is answered from another thread."""
        before = len(self.channel.sent)
        self.channel.receive({"kind": kind, "rid": "later", **more})
        wait_for(lambda: len(self.channel.sent) > before)
        content: dict[str, Any] = self.channel.sent[-1]["content"]
        assert (content["kind"], content["rid"]) == (kind, "later")
        return content

    def rows(self) -> list[list[Any]]:
        found: list[list[Any]] = self.ask("rows", **{"from": 0, "to": 100})["body"]
        return found

    def selection(self, first: int, last: int) -> dict[str, Any]:
        return {"rows": [[first, last]], "edition": self.ask("ready")["state"]["edition"]}


@pytest.fixture
def open_table(comms: list[FakeComm], hands: Hands) -> Iterator[Callable[..., Ends]]:
    made: list[CaseTable] = []

    def make(*cases: Case, card: Card = GREET, **more: Any) -> Ends:
        throttle = lambda action: Throttle(action, later=hands.later, clock=hands.clock)  # noqa: E731
        made.append(CaseTable(card, cases, throttle=throttle, **more))
        return Ends(made[-1], comms)

    yield make
    for table in made:
        table.close()


Open = Callable[..., Ends]


def test_rows_are_asked_for_and_never_part_of_the_state(open_table: Open, hands: Hands) -> None:
    ends = open_table(*(Case({"who": f"a secret {n}"}) for n in range(3000)))
    ends.table.undo()
    hands.advance(1)
    assert "secret" not in json.dumps([ends.stream.opened_with["state"], *ends.stream.states])
    asked = ends.ask("rows", **{"from": 2900, "to": 9999})
    assert len(asked["body"]) == 100
    assert asked["body"][0][1] == 2901
    assert len(ends.ask("rows", **{"from": 0, "to": 3000})["body"]) == MAX_WINDOW


def test_cells_are_edited_and_python_sees_it(open_table: Open) -> None:
    ends = open_table(ADA, GRACE)
    key = ends.rows()[0][0]
    answer = ends.ask("edit", cells=[[key, "variables.n", "7"], [key, "tags", "new"]])
    assert answer["state"]["changed"] == 1
    assert ends.table.cases[0].variables == {"who": "Ada", "n": 7}
    assert ends.table.cases[0].metadata == {"tags": ["new"]}
    assert repr(ends.table) == "<CaseTable 'greet': 2 cases, 1 changed>"


def test_a_cell_that_does_not_fit_is_marked_and_keeps_the_case_from_python(open_table: Open) -> None:
    ends = open_table(ADA)
    ends.ask("edit", cells=[[ends.rows()[0][0], "variables.n", "many"]])
    (row,) = ends.rows()
    assert row[3][2] == "many"
    assert row[4] == {"2": "'many' is no integer."}
    with pytest.raises(CardError, match="'ada'"):
        _ = ends.table.cases


def test_edits_are_told_to_other_views_at_most_five_times_a_second(open_table: Open, hands: Hands) -> None:
    ends = open_table(ADA)
    key = ends.rows()[0][0]
    for number in range(100):
        ends.ask("edit", cells=[[key, "name", f"n{number}"]])
        hands.advance(0.01)
    hands.advance(1)
    assert len(ends.stream.states) <= 7
    assert ends.stream.states[-1]["state"]["revision"] == 100


def test_many_rows_are_tagged_at_once_and_taken_back_at_once(open_table: Open) -> None:
    ends = open_table(ADA, GRACE)
    ends.ask("mark", add="old, quarantined", **ends.selection(0, 2))
    ends.ask("mark", remove="old", **ends.selection(1, 2))
    ends.ask("mark", priority="high", **ends.selection(0, 1))
    assert [case.metadata["tags"] for case in ends.table.cases] == [["old", "quarantined"], ["quarantined"]]
    assert [case.priority for case in ends.table.cases] == ["high", "medium"]
    for _ in range(3):
        ends.ask("undo")
    assert ends.table.cases == [ADA, GRACE]


def test_rows_are_added_copied_and_deleted(open_table: Open) -> None:
    ends = open_table(ADA, GRACE)
    assert ends.ask("duplicate", **ends.selection(0, 1))["place"] == 2
    assert "same variables" in ends.rows()[2][7]
    assert ends.ask("add")["place"] == 3
    ends.ask("delete", **ends.selection(1, 4))
    assert ends.table.cases == [ADA]
    ends.ask("undo")
    assert len(ends.rows()) == 4


def test_places_that_mean_other_rows_by_now_are_refused(open_table: Open) -> None:
    ends = open_table(ADA, GRACE)
    selected = ends.selection(0, 1)
    ends.table.add([{"who": "Alan"}])
    assert "meanwhile" in ends.ask("delete", **selected)["refused"]
    assert len(ends.table.cases) == 3


def test_a_paste_is_shown_before_it_is_done(open_table: Open) -> None:
    ends = open_table(ADA)
    edition = ends.ask("ready")["state"]["edition"]
    planned = ends.ask("plan", place=[0, 1, 0, 1], text='Alan\t5\nGrace\tx\n"two\nlines"\t6', edition=edition)
    assert planned["paste"] | {"changes": [], "problems": []} == {
        "rows": 1, "added": 2, "changed": 5, "misfits": 1, "header": False, "changes": [], "problems": [],
    }  # fmt: skip
    assert planned["paste"]["problems"] == [[2, "n", "x", "'x' is no integer."]]
    assert ends.table.cases == [ADA]
    ends.ask("paste", token=planned["token"], fit=True)
    assert [case.variables for case in ends.table.cases] == [
        {"who": "Alan", "n": 5}, {"who": "Grace"}, {"who": "two\nlines", "n": 6},
    ]  # fmt: skip
    assert "meanwhile" in ends.ask("paste", token=planned["token"], fit=True)["refused"], "not twice"


def test_a_paste_that_was_planned_for_other_rows_is_not_done(open_table: Open) -> None:
    ends = open_table(ADA)
    edition = ends.ask("ready")["state"]["edition"]
    planned = ends.ask("plan", place=[0, 1, 0, 1], text="Alan", edition=edition)
    ends.ask("edit", cells=[[ends.rows()[0][0], "variables.who", "Ada Lovelace"]])
    assert "meanwhile" in ends.ask("paste", token=planned["token"], fit=True)["refused"]
    assert ends.table.cases[0].variables == {"who": "Ada Lovelace"}


def test_what_is_copied_can_be_pasted_into_another_table(open_table: Open) -> None:
    one, other = open_table(ADA, GRACE), open_table()
    text = one.ask("copy", columns=[0, 7], **one.selection(0, 2))["text"]
    planned = other.ask("plan", place=[0, 0, 0, 0], text=text, edition=other.ask("ready")["state"]["edition"])
    other.ask("paste", token=planned["token"], fit=True)
    assert other.table.cases == [ADA, GRACE]


def test_a_data_frame_is_added_in_one_step(open_table: Open) -> None:
    ends = open_table(ADA)
    frame = pd.DataFrame({"who": ["Ada", "Alan"], "n": [None, 4], "__expected": ["contains: Ada", None]})
    assert ends.table.add_frame(frame) == 1
    assert [case.variables for case in ends.table.cases] == [{"who": "Ada"}, {"who": "Alan", "n": 4}]
    ends.table.undo()
    assert ends.table.cases == [ADA]
    with pytest.raises(FileError, match="row 1: column 'n'"):
        ends.table.add_frame(pd.DataFrame({"who": ["x"], "n": ["many"]}))


def test_assertions_are_checked_while_they_are_typed(open_table: Open) -> None:
    ends = open_table(ADA)
    key = ends.rows()[0][0]
    forms = ends.ask("forms", key=key)["forms"]
    assert forms == [{"type": "contains", "value": "Ada", "json": False, "arguments": {}}]
    kinds = {entry["kind"]: entry for entry in ends.ask("kinds")["body"]}
    assert kinds["contains"]["about"] == "The answer contains value; case matters."
    assert "options.n" in dict(kinds["rouge-n"]["arguments"])
    wrong = {"type": "contians", "value": "x", "json": False, "arguments": {}}
    slow = {"type": "latency", "value": "", "json": False, "arguments": {"threshold": "soon"}}
    problems = ends.ask("check", forms=[*forms, wrong, slow])["problems"]
    assert problems[0] == ""
    assert "Did you mean 'contains'?" in problems[1]
    assert "'threshold' is no number" in problems[2]
    assert "contians" in ends.ask("assert", key=key, forms=[wrong])["refused"]
    ends.ask("assert", key=key, forms=[{**slow, "arguments": {"threshold": "500"}}])
    assert ends.table.cases[0].assertions == (Assertion("latency", threshold=500),)


def test_assertions_are_tried_on_the_answers_of_a_finished_run(open_table: Open) -> None:
    done = run(GREET, [ADA, GRACE], "simulated:echo").wait()
    ends = open_table(ADA, GRACE, answers=LocalAnswers(done))
    key = ends.rows()[0][0]
    forms = [{"type": "contains", "value": "nobody", "json": False, "arguments": {}}]
    judged = ends.later("judge", key=key, forms=forms)["judged"]
    assert judged["text"] == "1 of 1 stored answer flips: 1 pass → fail"
    assert judged["moves"] == [["pass", "fail", 1]]
    (answer,) = judged["latest"]
    assert (answer["outcome"], answer["output"]) == ("fail", "Hello Ada 1")
    assert answer["verdicts"][0][1] == "fail"
    assert done.counts.passed == 1, "the run stays as it was"

    assert ends.later("review")["judged"]["answers"] == 0
    ends.ask("assert", key=key, forms=forms)
    assert ends.later("review")["judged"]["moves"] == [["pass", "fail", 1]]


def test_a_save_sends_what_was_changed_and_says_so(open_table: Open) -> None:
    store = FakeStore()
    ends = open_table(ADA, GRACE, store=store)
    key = ends.rows()[0][0]
    ends.ask("edit", cells=[[key, "name", "first"]])
    ends.ask("delete", **ends.selection(1, 2))
    ends.ask("add")
    state = ends.later("save")["state"]
    assert state["said"] == "1 saved, 1 deleted. 1 not saved: they are not finished."
    assert (state["added"], state["changed"], state["removed"]) == (1, 0, 0)
    (changes,) = store.saved
    assert [row.draft.name for row, _ in changes.rows] == ["first"]
    for _ in range(2):
        ends.ask("undo")
    assert [row[2] for row in ends.rows()] == ["", "new"], "what was deleted can be brought back after the save"


def test_nothing_is_lost_when_the_server_is_away(open_table: Open) -> None:
    store = FakeStore()
    store.away = True
    ends = open_table(ADA, store=store)
    ends.ask("edit", cells=[[ends.rows()[0][0], "name", "first"]])
    state = ends.later("save")["state"]
    assert (state["problem"], state["changed"], state["saving"]) == ("The server is away.", 1, False)
    with pytest.raises(Unavailable):
        ends.table.save()
    store.away = False
    assert ends.table.save() == "1 saved."


def test_the_table_is_edited_while_it_is_saved(open_table: Open) -> None:
    store = FakeStore()
    store.go.clear()
    ends = open_table(ADA, store=store)
    key = ends.rows()[0][0]
    ends.ask("edit", cells=[[key, "name", "one"]])
    ends.channel.receive({"kind": "save", "rid": "s"})
    wait_for(lambda: ends.ask("ready")["state"]["saving"])
    ends.ask("edit", cells=[[key, "name", "two"]])
    store.go.set()
    wait_for(lambda: not ends.ask("ready")["state"]["saving"])
    assert ends.ask("ready")["state"]["changed"] == 1
    assert ends.table.cases[0].name == "two"


def test_texts_that_nobody_trusts_are_shown_and_not_obeyed(open_table: Open) -> None:
    card = Card("greet", "Hello {{ who }}")
    ends = open_table(Case({"who": HOSTILE}, name="x", metadata={"tags": [HOSTILE]}), card=card)
    (row,) = ends.rows()
    assert "\x1b" not in json.dumps(row[3], ensure_ascii=False)
    assert 1 in row[6], "the browser asks for the text before it is edited"
    data, _ = ends.table._repr_mimebundle_()
    assert "<img" not in data["text/html"]


def test_the_static_form_is_a_bounded_table_without_script(open_table: Open) -> None:
    ends = open_table(*(Case({"who": "x" * 300 + str(n)}) for n in range(5000)))
    data, _ = ends.table._repr_mimebundle_()
    assert len(data["text/html"].encode()) <= 150_000
    assert "<script" not in data["text/html"]
    assert "more are not listed" in data["text/html"]
    assert data["text/plain"] == "<CaseTable 'greet': 5,000 cases>"


def test_requests_that_make_no_sense_are_refused(open_table: Open) -> None:
    ends = open_table(ADA)
    for kind, more in (
        ("rows", {}), ("rows", {"from": "x", "to": 1}), ("cell", {"key": 99}), ("cell", {"key": 1, "column": "no"}),
        ("edit", {"cells": [[1]]}), ("edit", {"cells": 7}), ("plan", {"place": "x", "edition": 1}),
        ("copy", {"rows": 1, "columns": 1, "edition": 1}), ("forms", {}), ("check", {"forms": [1]}),
        ("assert", {"key": 1, "forms": {}}), ("judge", {"key": 1, "forms": "x"}),
    ):  # fmt: skip
        assert ends.ask(kind, **more).get("refused"), (kind, more)
    before = len(ends.channel.sent)
    ends.channel.receive({"kind": "no such", "rid": "x"})
    ends.channel.receive("text")
    assert len(ends.channel.sent) == before
    assert ends.table.cases == [ADA]


def test_after_closing_nothing_is_sent_any_more(open_table: Open, hands: Hands) -> None:
    ends = open_table(ADA)
    ends.table.close()
    ends.table.add([GRACE])
    hands.advance(1)
    assert ends.stream.closed
    assert ends.channel.closed
    assert ends.table.cases == [ADA, GRACE]


def test_a_closed_table_is_let_go_of(comms: list[FakeComm]) -> None:
    table = CaseTable(GREET, [ADA])
    comms[0].receive({"kind": "ready", "rid": "x"})
    table.close()
    gone = weakref.ref(table)
    del table
    comms.clear()
    gc.collect()
    assert gone() is None


def test_without_a_server_there_is_nothing_to_save_to() -> None:
    table = edit_cases(GREET, [ADA])
    with pytest.raises(CardError) as refused:
        table.save()
    assert refused.value.code == "table_local"
    with pytest.raises(CardError, match="same variables"):
        edit_cases(GREET, [ADA, Case({"who": "Ada"}, name="again")])
    table.close()
