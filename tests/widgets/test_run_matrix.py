"""The matrix of a run view, what is marked in it, and views that are behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from promptcard_ext.core.errors import RunError
from promptcard_ext.kernel.handle import RunHandle
from promptcard_ext.kernel.run_shape import RunShape
from promptcard_ext.widgets import RunView, run_view
from promptcard_ext.widgets.run_view import AT_ONCE, Selection
from tests.support import wait_for
from tests.widgets.fakes import FakeComm, Hands, handle, result

Views = Callable[[RunHandle], tuple[RunView, FakeComm, FakeComm]]
# Ordinals of case 1: 8 … 15; its first column 8 and 12, its last one 11 and 15.
SHAPE = RunShape(("c@1", "c@2"), ("p:a", "p:b"), 2, 3)
EVERYTHING = {"from": 0, "to": 100, "left": 0, "right": 100}


@pytest.fixture
def run() -> RunHandle:
    run = handle(total=24)
    run.shape = SHAPE
    run.feed([result(8), result(12, "fail"), result(11, "error", case="one"), result(0, "unscored")], status="running")
    return run


def test_cells_have_a_letter_for_each_repeat_and_rows_a_name_once_it_is_known(view_of: Views, run: RunHandle) -> None:
    view, _, channel = view_of(run)
    answer, rows = channel.ask("cells", **EVERYTHING)
    assert answer["cases"] == 3
    assert rows == [
        [0, "case 0", "u.", "..", "..", ".."],
        [1, "case 8", "pf", "..", "..", "e."],
        [2, "", "..", "..", "..", ".."],
    ]
    assert view.state["grid"] == [4, 2]
    assert channel.ask("ready")[0]["plan"] == {"labels": ["c@1", "c@2"], "models": ["p:a", "p:b"], "repeats": 2}


def test_windows_of_the_matrix_are_cut_in_both_directions(view_of: Views, run: RunHandle) -> None:
    _, _, channel = view_of(run)
    _, rows = channel.ask("cells", **{"from": 1, "to": 2, "left": 3, "right": 9})
    assert rows == [[1, "case 8", "e."]]
    assert channel.ask("cells", **{"from": 7, "to": 9, "left": 0, "right": 4})[1] == []
    assert channel.ask("cells", **{"from": 0, "to": 9, "left": "0", "right": 4})[1] == []
    wide = handle(total=100_000)
    wide.shape = RunShape(tuple(f"c@{n}" for n in range(50)), tuple(f"p:{n}" for n in range(50)), 1, 40)
    _, _, channel = view_of(wide)
    _, rows = channel.ask("cells", **{"from": 0, "to": 40, "left": 0, "right": 2500})
    assert (len(rows), len(rows[0])) == (4, 502)


def test_a_filter_leaves_the_cases_that_have_such_an_item(view_of: Views, run: RunHandle) -> None:
    view, _, channel = view_of(run)
    asked = {**EVERYTHING, "question": ["error", "", "", "", False], "key": "k"}

    def cases() -> list[int]:
        answer, rows = channel.ask("cells", **asked)
        return [row[0] for row in rows] if answer["cases"] else []

    assert wait_for(cases) == [1]
    run.feed([result(20, "error")])
    view._tick()
    wait_for(lambda: cases() == [1, 2])


def test_where_nobody_knows_the_plan_there_is_no_matrix(view_of: Views) -> None:
    plain = handle()
    plain.feed([result(0)])
    view, _, channel = view_of(plain)
    assert view.state["grid"] is None
    assert channel.ask("cells", **EVERYTHING)[1] == []
    assert channel.ask("ready")[0]["plan"] is None


def test_of_a_run_of_some_cells_the_cases_are_counted_as_they_come(view_of: Views) -> None:
    some = handle(total=2)
    some.shape = SHAPE._replace(cases=None)
    some.feed([result(9)])
    _, _, channel = view_of(some)
    answer, rows = channel.ask("cells", **EVERYTHING)
    assert answer["cases"] == 2
    assert rows[1] == [1, "case 9", "..", "p.", "..", ".."]


def test_what_is_marked_is_known_in_python_and_a_comparison_is_passed_on(view_of: Views, run: RunHandle) -> None:
    view, _, channel = view_of(run)
    assert view.selection == Selection([], [])
    channel.ask("select", columns=[0, 3, 99, "x"], ordinals=[8, 11, -1, None])
    assert view.selection == Selection([("c@1", "p:a"), ("c@2", "p:b")], [8, 11])
    told: list[Selection] = []
    view.on_compare(told.append)
    view._tick()
    assert view.state["compares"]
    channel.ask("compare", columns=[1, 2], ordinals=[])
    assert told == [Selection([("c@2", "p:a"), ("c@1", "p:b")], [])]
    assert channel.ask("compare", columns=None, ordinals=[])[0]["problem"]


def test_whatever_shows_comparisons_is_told_by_every_view(
    view_of: Views, run: RunHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[RunView, Selection]] = []
    monkeypatch.setattr(run_view, "compare", lambda view, selection: told.append((view, selection)) or "")
    view, _, channel = view_of(run)
    assert view.state["compares"]
    channel.ask("select", columns=[0], ordinals=[])
    assert told == []
    channel.ask("compare", columns=[0], ordinals=[])
    assert told == [(view, Selection([("c@1", "p:a")], []))]


def test_two_marked_columns_are_compared_below_until_nothing_is_marked(view_of: Views, run: RunHandle) -> None:
    view, _, channel = view_of(run)
    assert "two columns" in channel.ask("compare", columns=[0], ordinals=[])[0]["said"]
    run.feed([result(16, label="c@1", model="p:a"), result(17, "fail", label="c@2", model="p:a")])
    assert channel.ask("compare", columns=[0, 1], ordinals=[])[0]["said"] == "Comparing …"
    wait_for(lambda: view._below is not None or view._below_text)
    assert view._below_text == ""
    shown = view._below
    view._tick()
    assert view.state["below"] == shown.model_id
    channel.ask("compare", columns=[], ordinals=[])
    view._tick()
    assert (view.state["below"], shown.comm) == ("", None)


def test_a_comparison_without_results_says_so(view_of: Views, run: RunHandle) -> None:
    view, _, channel = view_of(run)
    channel.ask("compare", columns=[2, 3], ordinals=[])
    wait_for(lambda: view._below_text)
    assert view._below is None
    assert "no result" in view._below_text


def test_what_goes_wrong_in_a_comparison_is_told_to_whoever_asked(view_of: Views, run: RunHandle) -> None:
    view, _, channel = view_of(run)

    def broken(_: Any) -> None:
        raise ValueError("not these two\x1b")

    view.on_compare(broken)
    assert channel.ask("compare", columns=[0], ordinals=[])[0]["problem"] == "ValueError: not these two␛"


def test_a_view_of_very_many_results_opens_at_once_and_counts_them_meanwhile(comms: list[FakeComm]) -> None:
    run = handle(total=5 * AT_ONCE)
    run.feed((result(i) for i in range(5 * AT_ONCE)), status="completed")
    view = RunView(run)
    assert view.state["done"] < 5 * AT_ONCE
    assert not view.state["frozen"]
    wait_for(lambda: view.state["done"] == 5 * AT_ONCE and view.state["frozen"])
    view.close()


def test_another_run_is_shown_in_the_same_place_and_the_first_one_again(view_of: Views, hands: Hands) -> None:
    first, second = handle(name="first"), handle(name="second")
    first.feed([result(0)], status="completed")
    view, stream, channel = view_of(first)
    epoch = view.state["epoch"]
    view.show(second)
    second.feed([result(0, "fail"), result(1, "fail")], status="running")
    hands.advance(1)
    state = stream.states[-1]["state"]
    assert (state["name"], state["back"], state["done"], state["fail"]) == ("second", "first", 2, 2)
    assert state["epoch"] > epoch
    back, _ = channel.ask("show")
    assert (back["state"]["name"], back["state"]["back"], back["state"]["done"]) == ("first", "", 1)
    assert channel.ask("show")[0]["state"]["name"] == "first"


def test_ticks_make_room_for_answers_so_that_both_together_are_five_a_second(view_of: Views, hands: Hands) -> None:
    run = handle(total=2000)
    _, stream, channel = view_of(run)
    hands.advance(1)
    before = len(stream.sent) + len(channel.sent)
    for ordinal in range(1000):
        ticks = len(stream.sent)
        run.feed([result(ordinal)], status="running")
        hands.advance(0.01)
        # As the browser does: after a tick it asks for the rows that it shows.
        if len(stream.sent) > ticks:
            channel.ask("rows", **{"from": max(0, ordinal - 10), "to": ordinal + 1})
    assert len(stream.sent) + len(channel.sent) - before <= 52


def test_the_speed_is_that_of_the_last_seconds(view_of: Views) -> None:
    run = handle(total=100)
    view, _, _ = view_of(run)
    run.feed((result(i) for i in range(10)), status="running")
    view._index.absorb(100)
    index = view._index
    index._done_at.clear()
    assert index.speed(0.0) is None
    run.feed(result(i) for i in range(10, 30))
    index.absorb(100)
    assert index.speed(4.0) == 5.0
    index.speed(12.0)
    assert index.speed(30.0) is None


def test_an_action_that_is_not_possible_says_why(view_of: Views, run: RunHandle) -> None:
    view, _, channel = view_of(run)
    assert view.state["cannot"]["pause"] == "Nothing is known of its plan."
    with pytest.raises(RunError):
        run.begin_again(None, [])  # type: ignore[arg-type]
    answer, _ = channel.ask("do", action="pause")
    assert "cannot be" in answer["problem"] or "server" in answer["problem"]
    assert channel.ask("do", action="explode")[0]["problem"].startswith("Nobody knows how to explode")
    assert channel.ask("story", ordinal=23)[0]["problem"].startswith("This item has no result")
