"""Filters and orders of a run view, asked as the browser asks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from promptcard_ext.core.errors import NotFound
from promptcard_ext.kernel.handle import RunHandle
from promptcard_ext.kernel.run_shape import RunShape
from promptcard_ext.widgets import RunView
from promptcard_ext.widgets.item_columns import ItemColumns
from promptcard_ext.widgets.questions import Found, Question, Questions
from tests.support import wait_for
from tests.widgets.fakes import FakeComm, Hands, handle, result

Views = Callable[[RunHandle], tuple[RunView, FakeComm, FakeComm]]
TWO = RunShape(("card v1", "card v2"), ("simulated:a",), 1, 50)


def question(
    outcome: str = "", changed: str = "", text: str = "", sort: str = "", descending: bool = False
) -> list[Any]:
    return [outcome, changed, text, sort, descending]


def found(view: RunView, channel: FakeComm, asked: list[Any], last: int = 100) -> list[int]:
    """Return the ordinals of what is found when all results have been looked at."""
    request = {"from": 0, "to": last, "question": asked, "key": "k"}

    def whole() -> bool:
        channel.ask("rows", **request)
        looked: int = view._questions.state()["k"][1]
        return looked == view.state["done"] and not view._questions._found["k"].busy

    wait_for(whole)
    return [row[0] for row in channel.ask("rows", **request)[1]]


@pytest.fixture
def mixed() -> RunHandle:
    run = handle(total=6)
    run.feed(
        [
            result(4, "fail", "A refund, please", latency_ms=30.0, cost="0.3", score=0.2),
            result(1, output="No REFUND", latency_ms=10.0, cost="0.1", score=0.9),
            result(0, "error", None, message="refund service is away"),
            result(5, output="Straße", latency_ms=20.0, score=0.5, case="the refund case"),
            result(3, "unscored", "else", latency_ms=5.0, cost="0.2"),
        ],
        status="running",
    )
    return run


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (question(text="refund"), [4, 1, 0, 5]),
        (question(text="STRASSE"), [5]),
        (question("pass", text="refund"), [1, 5]),
        (question(sort="case"), [0, 1, 3, 4, 5]),
        (question(sort="case", descending=True), [5, 4, 3, 1, 0]),
        (question(sort="outcome"), [0, 4, 3, 1, 5]),
        (question(sort="latency"), [3, 1, 5, 4, 0]),
        (question(sort="latency", descending=True), [4, 5, 1, 3, 0]),
        (question(sort="cost", descending=True), [4, 3, 1, 0, 5]),
        (question(sort="score"), [4, 5, 1, 0, 3]),
        (question("pass", sort="score", descending=True), [1, 5]),
    ],
)
def test_results_are_found_and_sorted(view_of: Views, mixed: RunHandle, asked: list[Any], expected: list[int]) -> None:
    view, _, channel = view_of(mixed)
    mixed.feed(status="completed")
    assert found(view, channel, asked) == expected


def test_what_comes_later_is_found_too_and_the_state_counts_it(view_of: Views, mixed: RunHandle, hands: Hands) -> None:
    view, stream, channel = view_of(mixed)
    assert found(view, channel, question(text="refund", sort="latency")) == [1, 5, 4, 0]
    mixed.feed([result(2, "fail", "refund?", latency_ms=1.0)], status="completed")
    hands.advance(1)
    assert found(view, channel, question(text="refund", sort="latency")) == [2, 1, 5, 4, 0]
    hands.advance(1)
    assert stream.states[-1]["state"]["found"]["k"][:2] == [5, 6]


@pytest.mark.parametrize(
    "wrong",
    [None, "x", [], ["", "", "", ""], ["maybe", "", "", "", False], ["", "", "x" * 501, "", False],
     ["", "", "", "size", False], ["", "", "", "", 1], [None, "", "", "", False]],
)  # fmt: skip
def test_a_question_that_makes_no_sense_finds_nothing(view_of: Views, mixed: RunHandle, wrong: Any) -> None:
    view, _, channel = view_of(mixed)
    assert channel.ask("rows", **{"from": 0, "to": 9, "question": wrong, "key": "k"})[1] == []
    assert view._questions.state() == {}


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4, 5), (5, 4, 3, 2, 1, 0), (1, 0, 3, 2, 4, 5)])
def test_what_changed_against_another_version_is_found_in_whatever_order_results_come(
    view_of: Views, hands: Hands, order: tuple[int, ...]
) -> None:
    run = handle(total=6)
    run.shape = TWO
    outcomes = ["pass", "fail", "pass", "pass", "error", "pass"]
    view, _, channel = view_of(run)
    for ordinal in order:
        run.feed([result(ordinal, outcomes[ordinal], label=TWO.labels[ordinal % 2])], status="running")
        hands.advance(1)
        found(view, channel, question(changed="version:card v1"))
    assert sorted(found(view, channel, question(changed="version:card v1"))) == [1, 5]
    assert found(view, channel, question(changed="version:no such")) == []


def test_what_changed_against_another_run_is_joined_by_case_model_and_repeat(view_of: Views) -> None:
    before, run = handle(total=4), handle(total=4)
    before.feed([result(i, "pass", label="card v1") for i in range(3)], status="completed")
    before.shape = run.shape = RunShape(("card v2",), ("simulated:a",), 1, 4)
    run.feed([result(0, "fail", label="card v2"), result(1, label="card v2"), result(3, "fail")], status="completed")
    view = RunView(run, baselines=[before])
    assert view._keeper.others() == [("0", before.name)]
    assert view._keeper.changed_since("0") == {0}
    with pytest.raises(NotFound):
        view._keeper.changed_since("9")
    view.close()


def test_another_run_that_is_gone_is_told_in_the_state() -> None:
    columns = ItemColumns()
    columns.add(result(0))

    def gone(_: str) -> set[int]:
        raise NotFound("The other run is gone.")

    questions = Questions(
        columns, None, result=lambda _: None, changed_since=gone, told=lambda: None, finished=lambda: True,
        start=lambda work: work(),
    )  # fmt: skip
    questions.ask("k", Question(changed="run:x"))
    assert questions.state()["k"] == [0, 1, 0, "The other run is gone."]


def test_only_the_questions_asked_last_are_remembered(view_of: Views, mixed: RunHandle) -> None:
    view, _, channel = view_of(mixed)
    for number in range(20):
        channel.ask("rows", **{"from": 0, "to": 1, "question": question(text=str(number)), "key": str(number)})
    assert list(view._questions.state()) == ["14", "15", "16", "17", "18", "19"]


def test_an_order_is_not_made_anew_all_the_time() -> None:
    columns, many = ItemColumns(), 20_000
    for ordinal in range(many):
        columns.add(result(ordinal, latency_ms=float(ordinal % 97)))
    sought = Found(Question(sort="latency"))
    sought.take(list(range(many - 1)))
    sought.settle(columns, at_once=True)
    sought.take([many - 1])
    sought.settle(columns, at_once=False)
    assert (len(sought.ordinals), sought.revision, sought.settled) == (many - 1, 1, False)
    sought.settle(columns, at_once=True)
    assert (len(sought.ordinals), sought.revision, sought.settled) == (many, 2, True)


def test_closing_ends_a_search(view_of: Views, mixed: RunHandle) -> None:
    view, _, channel = view_of(mixed)
    found(view, channel, question(text="refund"))
    view.close()
    assert view._questions.state() == {}
