import gc
import json
import threading
import tracemalloc
import weakref
from collections.abc import Callable
from decimal import Decimal

import pytest

from promptcard_ext.core.errors import RunError
from promptcard_ext.core.results import Call, Generation, Outcome, Verdict
from promptcard_ext.kernel import display
from promptcard_ext.kernel.handle import RunHandle
from promptcard_ext.local.results_log import ResultsLog
from promptcard_ext.widgets import RunView
from promptcard_ext.widgets.item_state import MAX_ITEM_CHARS
from promptcard_ext.widgets.run_view import MAX_GROUPS, MAX_WINDOW
from tests.widgets.fakes import FakeComm, Hands, handle, result

HOSTILE = "<img src=x onerror=alert(1)>\x00\x1b[31m\ud800‮"
Views = Callable[[RunHandle], tuple[RunView, FakeComm, FakeComm]]


def test_a_new_view_shows_what_is_there_already(view_of: Views) -> None:
    run = handle(total=3)
    run.feed([result(0), result(1, "fail")], status="running")
    _, stream, _ = view_of(run)
    state = stream.opened_with["state"]
    assert (state["status"], state["done"], state["total"], state["pass"], state["fail"]) == ("running", 2, 3, 1, 1)
    assert state["rate"] == "50% [9–91] of 2"
    assert state["cost"] == "not priced (0 of 2)"
    assert not state["frozen"]


def test_rows_are_never_part_of_the_state(view_of: Views, hands: Hands) -> None:
    run = handle(total=5000)
    _, stream, _ = view_of(run)
    run.feed((result(i, output="a secret answer") for i in range(5000)), status="running")
    hands.advance(1)
    assert "secret" not in json.dumps([stream.opened_with["state"], *stream.states])
    assert len(json.dumps(stream.states[-1])) < 2000


def test_however_fast_results_arrive_there_are_five_ticks_a_second_and_the_last_one_has_them_all(
    view_of: Views, hands: Hands
) -> None:
    run = handle(total=1000)
    _, stream, _ = view_of(run)
    for i in range(1000):
        run.feed([result(i)], status="running")
        hands.advance(0.001)
    run.feed(status="completed")
    hands.advance(1)
    assert 5 <= len(stream.states) <= 7
    last = stream.states[-1]["state"]
    assert (last["done"], last["status"], last["frozen"]) == (1000, "completed", True)
    revisions = [state["state"]["revision"] for state in stream.states]
    assert revisions == list(range(1, len(revisions) + 1))


def test_every_tick_is_complete_so_a_lost_one_leaves_nothing_behind(view_of: Views, hands: Hands) -> None:
    run = handle(total=3)
    _, stream, _ = view_of(run)
    run.feed([result(0, cost="0.5")], status="running")
    hands.advance(1)
    run.feed([result(1)])
    hands.advance(1)
    assert stream.states[0]["state"].keys() == stream.states[1]["state"].keys()
    assert stream.states[1]["state"]["cost"] == "$0.5000 (1 of 2 priced)"


def test_ready_and_resync_are_answered_with_everything_as_of_now(view_of: Views) -> None:
    run = handle(total=3)
    _, _, channel = view_of(run)
    run.feed([result(0)], status="running")
    for kind in ("ready", "resync"):
        answer, _ = channel.ask(kind)
        assert answer["kind"] == "snapshot"
        assert (answer["state"]["done"], answer["state"]["status"]) == (1, "running")


def test_a_window_of_rows_comes_in_order_of_arrival_in_one_binary_buffer(view_of: Views) -> None:
    run = handle(total=10)
    _, stream, channel = view_of(run)
    run.feed(result(i) for i in (7, 3, 5, 1))
    channel.ask("ready")
    answer, rows = channel.ask("rows", **{"from": 1, "to": 3})
    assert (answer["from"], answer["to"], answer["outcome"]) == (1, 3, "")
    assert [row[0] for row in rows] == [3, 5]
    assert rows[0] == [3, "pass", "case 3", 0, "card v1", "simulated:a", "yes", 10.0, ""]
    assert stream.sent == []


def test_rows_are_filtered_by_outcome(view_of: Views) -> None:
    run = handle(total=10)
    run.feed(result(i, "fail" if i % 3 == 0 else "pass") for i in range(10))
    _, _, channel = view_of(run)
    _, rows = channel.ask("rows", **{"from": 1, "to": 99, "outcome": "fail"})
    assert [row[0] for row in rows] == [3, 6, 9]
    _, rows = channel.ask("rows", **{"from": 0, "to": 99, "outcome": "error"})
    assert rows == []


@pytest.mark.parametrize(
    "wrong",
    [{}, {"from": "0", "to": 5}, {"from": 0, "to": None}, {"from": 0, "to": 5, "outcome": "<b>"}],
)
def test_a_window_that_makes_no_sense_is_empty(view_of: Views, wrong: dict[str, object]) -> None:
    run = handle()
    run.feed([result(0)])
    _, _, channel = view_of(run)
    _, rows = channel.ask("rows", **wrong)
    assert rows == []


@pytest.mark.parametrize(
    ("first", "last", "count"), [(-50, 2, 2), (0, 10**9, MAX_WINDOW), (900, 5, 0), (990, 2000, 10)]
)
def test_windows_are_bounded(view_of: Views, first: int, last: int, count: int) -> None:
    run = handle(total=1000)
    run.feed(result(i) for i in range(1000))
    _, _, channel = view_of(run)
    _, rows = channel.ask("rows", **{"from": first, "to": last})
    assert len(rows) == count


@pytest.mark.parametrize("message", [None, 7, [], {}, {"kind": "delete"}, {"kind": ["rows"]}])
def test_other_messages_are_not_answered(view_of: Views, message: object) -> None:
    _, stream, channel = view_of(handle())
    channel.receive(message)
    assert channel.sent == stream.sent == []


def test_stop_cancels_the_run_through_the_channel(view_of: Views) -> None:
    stopped: list[bool] = []
    run = handle(cancel=lambda: stopped.append(True))
    run.feed(status="running")
    _, _, channel = view_of(run)
    channel.ask("cancel")
    assert stopped == [True]
    assert run.status == "cancelling"


def test_one_item_comes_whole(view_of: Views) -> None:
    run = handle()
    run.feed([result(4, "fail", "long " * 1000, message="No.", cost="0.00001230")])
    _, _, channel = view_of(run)
    _, item = channel.ask("item", ordinal=4)
    assert item["output"] == "long " * 1000
    assert item["verdicts"] == [
        {"depth": 0, "outcome": "fail", "name": "contains", "facts": [], "message": "No.", "reason": "missing"}
    ]
    assert (item["cost_usd"], item["tokens_input"], item["cut"]) == ("$0.0000123", 3, 0)
    assert channel.ask("item", ordinal=5)[1] is None
    assert channel.ask("item", ordinal="4")[1] is None


def test_an_item_that_broke_has_no_answer(view_of: Views) -> None:
    run = handle()
    run.feed([result(0, "error", None, message="It did not answer.")])
    _, _, channel = view_of(run)
    _, item = channel.ask("item", ordinal=0)
    assert (item["output"], item["message"], item["verdicts"]) == (None, "It did not answer.", [])
    _, rows = channel.ask("rows", **{"from": 0, "to": 1})
    assert rows[0][6:] == ["", None, "It did not answer."]


def test_hostile_text_arrives_as_text(view_of: Views, hands: Hands) -> None:
    run = handle(name=HOSTILE)
    run.feed(
        [result(0, "fail", HOSTILE, message=HOSTILE, case=HOSTILE, label=HOSTILE, model=HOSTILE)], status="running"
    )
    _, stream, channel = view_of(run)
    seen = "<img src=x onerror=alert(1)>␀␛[31m?�"
    _, rows = channel.ask("rows", **{"from": 0, "to": 1})
    assert rows[0][6] == seen
    _, item = channel.ask("item", ordinal=0)
    assert item["output"] == item["verdicts"][0]["message"] == seen
    hands.advance(1)
    json.dumps(stream.states, ensure_ascii=False).encode()
    assert stream.states[-1]["state"]["name"] == seen


def test_a_row_is_one_short_line_and_an_endless_answer_is_cut(view_of: Views) -> None:
    run = handle()
    run.feed([result(0, output="one\n\n  two\t" + "x" * 3 * MAX_ITEM_CHARS)])
    _, _, channel = view_of(run)
    _, rows = channel.ask("rows", **{"from": 0, "to": 1})
    assert rows[0][6].startswith("one two xx")
    assert len(rows[0][6]) == 300
    _, item = channel.ask("item", ordinal=0)
    assert len(item["output"]) == MAX_ITEM_CHARS
    assert item["cut"] == 11 + 3 * MAX_ITEM_CHARS


def test_versions_and_models_have_totals_of_their_own_in_the_order_of_the_plan(view_of: Views) -> None:
    run = handle()
    run.feed(
        [
            result(3, "fail", label="card v2", latency_ms=5.0),
            result(0, latency_ms=30.0),
            result(1, label="card v2", latency_ms=7.0),
            result(2, "fail", latency_ms=10.0),
            result(4, latency_ms=11.0),
        ]
    )
    view, _, _ = view_of(run)
    groups = view.state["groups"]
    assert [(g["label"], g["done"], g["pass"], g["p50_ms"]) for g in groups] == [
        ("card v1", 3, 2, 11.0),
        ("card v2", 2, 1, 6.0),
    ]
    assert groups[0]["rate"] == "67% [21–94] of 3"


def test_many_combinations_are_not_all_listed(view_of: Views) -> None:
    run = handle(total=30)
    run.feed(result(i, model=f"simulated:{i}") for i in range(30))
    view, _, _ = view_of(run)
    assert len(view.state["groups"]) == MAX_GROUPS
    assert view.state["more_groups"] == 30 - MAX_GROUPS


def test_a_run_that_failed_says_why(view_of: Views, hands: Hands) -> None:
    run = handle()
    view, _, _ = view_of(run)
    run.feed(status="failed", error=RunError("The lease was lost."))
    hands.advance(1)
    assert "The lease was lost." in view.state["problem"]


def test_displaying_a_run_again_shows_the_same_view(comms: list[FakeComm]) -> None:
    run, other = handle(), handle()
    view = RunView.of(run)
    assert RunView.of(run) is view
    assert RunView.of(other) is not view
    view.close()
    assert RunView.of(run) is not view
    RunView.of(run).close()
    RunView.of(other).close()


def test_importing_the_widgets_makes_runs_show_themselves_live() -> None:
    assert display.live_view == RunView.of


def test_the_last_release_closes_it(view_of: Views) -> None:
    view, stream, channel = view_of(handle())
    view.retain()
    view.retain()
    view.release()
    assert not stream.closed
    view.release()
    assert stream.closed
    assert channel.closed
    assert view.mimebundle() == ({}, {})


def test_closing_releases_everything(view_of: Views, comms: list[FakeComm], hands: Hands) -> None:
    run = handle()
    run.feed([result(0)])
    view, stream, channel = view_of(run)
    gone = weakref.ref(view)
    view.close()
    view.close()
    run.feed([result(1)])
    hands.advance(1)
    assert all(one.closed for one in comms)
    del view, stream, channel
    comms.clear()
    gc.collect()
    assert gone() is None


def test_requests_ticks_and_results_may_come_from_different_threads(view_of: Views) -> None:
    run = handle(total=1500)
    view, _, channel = view_of(run)
    problems: list[BaseException] = []

    def guarded(work: Callable[[], None]) -> threading.Thread:
        def go() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001
                problems.append(error)

        thread = threading.Thread(target=go)
        thread.start()
        return thread

    def feed() -> None:
        for i in range(1500):
            run.feed([result(i, "fail" if i % 2 else "pass")], status="running")

    def ask() -> None:
        while run.counts.done != 1500:
            channel.receive({"kind": "ready", "rid": "1"})
            channel.receive({"kind": "rows", "rid": "2", "from": 0, "to": 500, "outcome": "fail"})

    def tick() -> None:
        while run.counts.done != 1500:
            view._tick()

    for thread in [guarded(feed), guarded(ask), guarded(tick)]:
        thread.join(30)
    assert problems == []
    view._tick()
    assert (view.state["done"], view.state["fail"]) == (1500, 750)
    _, rows = channel.ask("rows", **{"from": 650, "to": 850, "outcome": "fail"})
    assert len(rows) == 100
    assert len({row[0] for row in rows}) == 100


def test_repeats_scores_the_store_and_judges_are_told_beside_the_rate(view_of: Views) -> None:
    paid = Generation("p", "judge", "h", "{}", 1.0, cost_usd=Decimal("0.25"))
    run = handle(total=12)
    run.feed(
        result(3 * i + k, "pass" if i else "fail", case_uid=f"u{i}", repeat=k, cost="0.5", score=0.75 if i else 0.25,
               cached=k > 0, calls=(Call("judge", paid),))
        for i in range(4) for k in range(3)
    )  # fmt: skip
    view, _, _ = view_of(run)
    for state in (view.state, view.state["groups"][0]):
        assert state["rate"] == "75% [30–95] of 12"
        assert state["score"].startswith("0.62 [")
        assert state["notes"][0] == "4 cases"
        assert "8 of 12 answers from the store" in state["notes"]
        assert "12 judge calls, $3.0000" in state["notes"]


def test_an_item_shows_the_parts_of_sets_calls_and_a_reply_that_could_not_be_read(view_of: Views) -> None:
    parts = (Verdict("a", "regex", Outcome.FAIL, "no_match", "No digits.", weight=2.0),)
    whole = Verdict("s", "assert-set", Outcome.FAIL, "no_match", "No digits.", 0.25, parts=parts)
    call = [{"type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}]
    run = handle()
    run.feed([
        result(0, "fail", verdicts=(whole,), generation=Generation("p", "m", "h", None, 1.0, tool_calls=call)),
        result(1, "error", generation=Generation("p", "m", "h", None, 0.0, raw="<html>502")),
    ])  # fmt: skip
    _, _, channel = view_of(run)
    _, item = channel.ask("item", ordinal=0)
    assert [(each["depth"], each["name"], each["facts"], each["message"]) for each in item["verdicts"]] == [
        (0, "assert-set", ["score 0.25"], ""),
        (1, "regex", ["weight 2"], "No digits."),
    ]
    assert item["tool_calls"] == ['→ add({"a": 1})']
    assert channel.ask("item", ordinal=1)[1]["raw"] == "<html>502"
    _, rows = channel.ask("rows", **{"from": 0, "to": 2})
    assert [row[6] for row in rows] == ['→ add({"a": 1})', "<html>502"]


def test_results_stay_on_disk_however_many_are_watched(view_of: Views, hands: Hands) -> None:
    run = handle(total=5000)
    _, stream, channel = view_of(run)
    tracemalloc.start()
    try:
        for first in range(0, 5000, 50):
            fed = range(first, first + 50)
            run.feed((result(i, "fail", f"{i} {'long ' * 200}", case_uid=f"u{i % 10}") for i in fed), status="running")
            hands.advance(1)
            stream.sent.clear()
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The answers alone are five megabytes.
    assert grown < 500_000
    for outcome in ("", "fail"):
        _, rows = channel.ask("rows", **{"from": 4990, "to": 5000, "outcome": outcome})
        assert [row[0] for row in rows] == list(range(4990, 5000))


def test_an_error_that_is_tried_again_is_counted_and_listed_by_its_new_outcome(view_of: Views, hands: Hands) -> None:
    log = ResultsLog()
    log.append([result(0, "error"), result(1), result(2, "error")])
    run = RunHandle("resumed", 4, lambda: None, log=log)
    run.expect_again([0, 2])
    view, _, channel = view_of(run)
    assert (view.state["done"], view.state["error"], view.state["pass"]) == (1, 0, 1)
    run.feed([result(2), result(3, "fail"), result(0)], status="running")
    hands.advance(1)
    assert (view.state["done"], view.state["error"], view.state["pass"]) == (4, 0, 3)
    _, rows = channel.ask("rows", **{"from": 0, "to": 9})
    assert [row[:2] for row in rows] == [[1, "pass"], [2, "pass"], [3, "fail"], [0, "pass"]]
    assert channel.ask("rows", **{"from": 0, "to": 9, "outcome": "error"})[1] == []
