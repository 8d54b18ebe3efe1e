import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from promptcard_ext.core.results import ItemResult
from promptcard_ext.kernel.comparison import Comparison, compare
from promptcard_ext.widgets import CompareView
from promptcard_ext.widgets.base import static_file
from promptcard_ext.widgets.compare_state import MAX_DIFF_CHARS, MAX_LINES
from promptcard_ext.widgets.compare_view import MAX_WINDOW
from tests.widgets.fakes import FakeComm, handle, result

HERE = Path(__file__).parent
HOSTILE = "<img src=x onerror=alert(1)>\x00\x1b[31m\ud800‮"
Opened = tuple[CompareView, FakeComm, FakeComm]


def compared(a: list[ItemResult], b: list[ItemResult]) -> Comparison:
    runs = []
    for name, results in (("first", a), ("second", b)):
        run = handle(len(results), name=name)
        run.feed(results, status="completed")
        runs.append(run)
    return compare(*runs)


def some() -> Comparison:
    """Four pairs (pass → fail, fail → pass, pass → error, pass with another answer), one in A and two in B only."""
    a = [result(0), result(1, "fail"), result(2), result(3), result(4)]
    b = [result(0, "fail"), result(1), result(2, "error", None), result(3, output="oh yes"), result(8), result(9)]
    return compared(a, b)


@pytest.fixture
def view_of(comms: list[FakeComm]) -> Callable[[Comparison], Opened]:
    def make(comparison: Comparison) -> Opened:
        view = CompareView(comparison)
        found = {one.comm_id: one for one in comms}
        return view, found[view.model_id], found[view.channel]

    return make


Views = Callable[[Comparison], Opened]


def rows(channel: FakeComm, chosen: str, text: str = "", first: int = 0, last: int = 100) -> list[list[object]]:
    _, found = channel.ask("rows", **{"from": first, "to": last, "filter": chosen, "text": text})
    assert isinstance(found, list)
    return found


def test_the_summary_has_everything_but_the_rows(view_of: Views) -> None:
    _, stream, _ = view_of(some())
    state = stream.opened_with["state"]
    assert (state["a"], state["b"], state["pairs"]) == ("first", "second", 4)
    assert (state["to_fail"], state["to_pass"], state["other"]) == (1, 1, 1)
    assert state["filters"] == {
        "flips": 3, "to_fail": 1, "to_pass": 1, "other": 1, "answers": 2, "assertions": 0, "only_a": 1, "only_b": 2,
        "all": 7,
    }  # fmt: skip
    assert "oh yes" not in json.dumps(state)
    assert [line["metric"] for line in state["lines"]] == ["pass rate", "latency"]
    assert state["lines"][0]["left_out"] == 1


@pytest.mark.parametrize(
    ("chosen", "cases"),
    [
        ("flips", ["case 0", "case 1", "case 2"]), ("to_fail", ["case 0"]), ("other", ["case 2"]),
        ("only_a", ["case 4"]), ("only_b", ["case 8", "case 9"]), ("assertions", []), ("nonsense", []),
    ],
)  # fmt: skip
def test_rows_are_filtered(view_of: Views, chosen: str, cases: list[str]) -> None:
    _, _, channel = view_of(some())
    assert [row[3] for row in rows(channel, chosen)] == cases


def test_a_row_has_both_sides(view_of: Views) -> None:
    _, _, channel = view_of(some())
    assert rows(channel, "all")[0] == [
        0, "pass", "fail", "case 0", 0, "card v1", "simulated:a", "yes", "yes", 10.0, 10.0, False,
    ]  # fmt: skip
    assert rows(channel, "only_a")[0][1:3] == ["pass", None]


def test_text_is_looked_for_in_names_and_reasons_in_any_case(view_of: Views) -> None:
    _, _, channel = view_of(some())
    assert [row[3] for row in rows(channel, "all", "CASE 1")] == ["case 1"]
    assert [row[3] for row in rows(channel, "all", "missing")] == ["case 0", "case 1", "case 2"]
    answer, _ = channel.ask("rows", **{"from": 0, "to": 9, "filter": "all", "text": "nowhere"})
    assert answer["total"] == 0
    assert len(rows(channel, "all", " ")) == 7


@pytest.mark.parametrize("wrong", [{}, {"from": "0", "to": 5, "text": ""}, {"from": 0, "to": 5, "text": None}])
def test_a_window_that_makes_no_sense_is_empty(view_of: Views, wrong: dict[str, object]) -> None:
    _, _, channel = view_of(some())
    _, found = channel.ask("rows", filter="all", **wrong)
    assert found == []


def test_windows_are_bounded(view_of: Views) -> None:
    many = [result(i) for i in range(1200)]
    _, _, channel = view_of(compared(many, many))
    assert len(rows(channel, "all", first=-5, last=10**9)) == MAX_WINDOW
    assert [row[0] for row in rows(channel, "all", first=1190, last=1290)] == list(range(1190, 1200))
    assert rows(channel, "all", first=50, last=10) == []


def test_an_item_has_both_answers_word_by_word(view_of: Views) -> None:
    _, _, channel = view_of(some())
    _, item = channel.ask("item", place=3)
    assert item["diff"] == [["b", "oh "], ["both", "yes"]]
    assert item["a"]["verdicts"][0]["outcome"] == "pass"
    assert (item["a"]["output"], item["same"], item["modes"]) == (None, False, [])
    _, alone = channel.ask("item", place=6)
    assert alone["b"] is None


@pytest.mark.parametrize("place", [None, "0", -1, 7, 10**12])
def test_an_item_that_is_not_there_is_null(view_of: Views, place: object) -> None:
    _, _, channel = view_of(some())
    assert channel.ask("item", place=place)[1] is None


def test_with_repeats_an_item_tells_which_answers_came_how_often(view_of: Views) -> None:
    def repeats(answers: str) -> list[ItemResult]:
        return [result(i, output=text, repeat=i, case="c", case_uid="u") for i, text in enumerate(answers)]

    _, _, channel = view_of(compared(repeats("aab"), repeats("acc")))
    _, item = channel.ask("item", place=0)
    assert {mode["text"]: mode["change"] for mode in item["modes"]} == {
        "a": "less often", "b": "vanished", "c": "appeared",
    }  # fmt: skip


def test_endless_answers_are_cut(view_of: Views) -> None:
    long = "x" * (MAX_DIFF_CHARS + 5)
    _, _, channel = view_of(compared([result(0, output=long)], [result(0, output=long + "y")]))
    _, item = channel.ask("item", place=0)
    assert item["cut"] == [len(long), len(long) + 1]
    assert len(json.dumps(item)) < 2 * MAX_DIFF_CHARS


def test_what_anybody_wrote_is_made_harmless(view_of: Views) -> None:
    one = [result(0, output=HOSTILE, label=HOSTILE, model=HOSTILE, case=HOSTILE, message=HOSTILE)]
    other = [result(0, "fail", HOSTILE + "!", label=HOSTILE, model=HOSTILE, case=HOSTILE, message=HOSTILE)]
    _, stream, channel = view_of(compared(one, other))
    told = [stream.opened_with["state"], rows(channel, "all"), channel.ask("item", place=0)[1]]
    text = json.dumps(told, ensure_ascii=False)
    assert "onerror" in text
    assert not any(char in text for char in "\x00\x1b\ud800‮")


def test_of_endlessly_many_models_the_first_are_listed(view_of: Views) -> None:
    many = [result(i, model=f"simulated:{i}") for i in range(500)]
    _, stream, _ = view_of(compared(many, many))
    state = stream.opened_with["state"]
    assert len(state["lines"]) == MAX_LINES
    assert state["more_groups"] == 500 - MAX_LINES // 2
    assert len(json.dumps(state)) < 50_000


def test_a_view_of_a_comparison_is_made_once(comms: list[FakeComm]) -> None:
    comparison = some()
    view = CompareView.of(comparison)
    assert CompareView.of(comparison) is view
    view.close()
    assert CompareView.of(comparison) is not view


def test_closing_lets_go_of_everything(view_of: Views) -> None:
    view, stream, channel = view_of(some())
    view.close()
    assert stream.closed
    assert channel.closed
    assert view._comparison is None
    view.close()


def test_the_functions_of_the_front_end(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node.js is not installed")
    module = tmp_path / "compare_view.mjs"
    module.write_text(CompareView._esm, "utf-8")
    done = subprocess.run(
        [node, "--test", str(HERE / "compare_view.test.mjs")],
        env=os.environ | {"COMPARE_VIEW_MODULE": module.as_uri()},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_front_end_is_small_loads_nothing_and_shows_data_as_text_only() -> None:
    script, style = CompareView._esm, static_file("compare_view.css")
    assert len(script.encode()) <= 40_000
    assert not re.search(r"https?:|\bimport\b\s*[\(\"'{*]|\bfrom \"|@import|url\(", script + style)
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\b|new Function", script
    )


def test_styles_touch_nothing_outside_the_view() -> None:
    style = static_file("compare_view.css")
    selectors = [one for group in re.findall(r"([^{}]+)\{", style) for one in group.split(",") if "@" not in one]
    assert selectors
    assert [one for one in selectors if not one.strip().startswith(".pcc")] == []
