"""Runs next to each other, as a notebook has them."""

import re
from decimal import Decimal
from pathlib import Path

import pytest
from msgspec.structs import replace

import promptcard_ext as pc
from promptcard_ext.core.errors import CardError, NotFound, RunError
from promptcard_ext.core.results import Generation, ItemResult
from promptcard_ext.kernel import comparison as comparison_module
from promptcard_ext.kernel import display
from promptcard_ext.kernel.comparison_frame import DTYPES
from promptcard_ext.kernel.comparison_html import comparison_html
from promptcard_ext.kernel.handle import RunHandle
from promptcard_ext.local.run_folder import RunFolder
from tests.kernel.conftest import Notebook
from tests.kernel.page import HOSTILE, Page, assert_nothing_is_obeyed
from tests.widgets.fakes import handle, result

CASES = [pc.Case({"who": name}, [pc.Assertion("contains", "Hello")], name=name) for name in ("Ada", "Bo", "Cy")]


def run_of(template: str, cases: list[pc.Case] = CASES, **more: object) -> RunHandle:
    return pc.run(pc.Card("greet", template), cases, "simulated:echo", **more).wait()  # type: ignore[arg-type]


def fed(results: list[ItemResult], name: str = "run", *, finished: bool = True) -> RunHandle:
    run = handle(len(results), name=name)
    run.feed(results, status="completed" if finished else "running")
    return run


def repeated(answers: str, name: str) -> RunHandle:
    return fed(
        [result(i, output=answer, repeat=i, case="case 0", case_uid="u0") for i, answer in enumerate(answers)], name
    )


def test_two_versions_of_a_card_are_compared_case_by_case() -> None:
    compared = pc.compare(run_of("Hello {{ who }}"), run_of("Bye {{ who }}"))
    assert compared.text.startswith("3 of 3 pairs flipped: 3 pass → fail. Pass rate: ")
    assert [axis.name for axis in compared.axes] == ["card"]
    assert set(compared.cases.common.values()) == {"Ada", "Bo", "Cy"}
    assert compared.flips().text == "3 of 3 items flipped: 3 pass → fail"
    assert "3 pass → fail" in repr(compared)


def test_a_new_case_in_front_makes_no_difference_anywhere() -> None:
    more = [pc.Case({"who": "New"}, [pc.Assertion("contains", "nothing like it")]), *CASES]
    compared = pc.compare(run_of("Hello {{ who }}"), run_of("Hello {{ who }}", more))
    assert compared.compared.flipped == 0
    assert [len(one) for one in (compared.cases.common, compared.cases.only_a, compared.cases.only_b)] == [3, 0, 1]
    (group,) = compared.groups
    rate = group.metric("pass_rate")
    assert rate is not None
    assert rate.difference is not None
    assert rate.difference.mean == 0


def test_versions_and_models_of_one_run_are_compared_with_each_other() -> None:
    cards = [pc.Card("greet", "Hello {{ who }}", version=1), pc.Card("greet", "Bye {{ who }}", version=2)]
    echo, steady = models = ["simulated:echo", "simulated:steady?latency_ms=1"]
    run = pc.run(cards, CASES, models).wait()
    versions = pc.compare(run.of(version=1), run.of(version=2))
    assert [(group.label_a, group.label_b) for group in versions.groups] == [("greet@1", "greet@2")] * 2
    of_models = pc.compare(run.of(label="greet@1", model=echo), run.of(version=1, model=steady))
    assert [(group.model_a, group.model_b) for group in of_models.groups] == [(echo, steady)]
    assert of_models.a.facts.name == f"{run.name} · greet@1 · {echo}"


def test_a_run_that_is_kept_is_compared_by_its_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTCARDS_HOME", str(tmp_path))
    kept = run_of("Hello {{ who }}", keep=True, name="kept")
    assert kept.kept_as is not None
    by_id = pc.compare(kept.kept_as, run_of("Bye {{ who }}"))
    assert by_id.compared.flipped == 3
    with RunFolder.open(kept.kept_as, write=False) as folder:
        assert pc.compare(folder, folder).compared.flipped == 0


def test_what_is_no_run_or_has_no_results_is_refused() -> None:
    run = run_of("Hello {{ who }}")
    with pytest.raises(NotFound):
        pc.compare("20200101-000000-nothing-0000", run)
    with pytest.raises(CardError, match="is not a run") as wrong:
        pc.compare(run, 7)  # type: ignore[arg-type]
    assert wrong.value.code == "not_a_run"
    with pytest.raises(RunError) as nothing:
        pc.compare(run, run.of(version=7))
    assert nothing.value.code == "nothing_to_compare"


def test_other_assertions_are_named_and_nothing_is_concluded() -> None:
    stricter = [replace(case, assertions=(pc.Assertion("contains", "Bye"),)) for case in CASES]
    compared = pc.compare(run_of("Hello {{ who }}"), run_of("Hello {{ who }}", stricter))
    assert "Pass rates are not compared: the assertions of 3 of 3 common cases changed." in compared.text
    assert "withheld" in Page(comparison_html(compared)).text


def test_parameters_and_runs_that_go_on_are_told() -> None:
    one, other = run_of("Hello {{ who }}"), run_of("Hello {{ who }}", repeats=2)
    told = Page(comparison_html(pc.compare(one, other))).text
    assert "parameters: repeats: 1 → 2" in told
    assert "3 items are only on one side." in told
    unfinished = fed([result(0)], "slow", finished=False)
    assert pc.compare(unfinished, fed([result(0)])).notes == ["'slow' goes on: 1 of 1 items"]


def test_a_frame_has_a_row_for_each_item_of_either_side() -> None:
    compared = pc.compare(fed([result(0), result(1)]), fed([result(1, "fail"), result(2)]))
    frame = compared.to_frame()
    assert list(frame.columns) == list(DTYPES)
    assert list(frame["side"]) == ["both", "b", "a"]
    assert list(frame["flipped"]) == [True, False, False]
    assert frame["outcome_a"].tolist()[0] == "pass"
    assert frame["outcome_b"].isna().tolist() == [False, False, True]
    assert frame["cost_usd_a"].isna().all()
    plain = {name: dtype for name, dtype in DTYPES.items() if dtype != "category"}
    assert {name: str(frame[name].dtype) for name in plain} == plain
    assert compared.to_frame().dtypes.equals(pc.compare(fed([result(0)]), fed([result(0)])).to_frame().dtypes)


def test_answers_that_appeared_and_vanished_are_shown() -> None:
    compared = pc.compare(repeated("yyyn", "a"), repeated("yyzz", "b"))
    modes = {mode.text: mode.change for mode in compared.modes(compared.entries[0])}
    assert modes == {"y": "less often", "n": "vanished", "z": "appeared"}
    text = Page(comparison_html(compared)).text
    assert "Answers of 1 repeated questions came in other shares" in text
    assert "n 1 (25%) 0 (0%) vanished" in text


def test_the_words_that_differ_are_marked() -> None:
    a, b = fed([result(0, output="It is hot today")]), fed([result(0, "fail", "It is cold today")])
    html = comparison_html(pc.compare(a, b))
    assert "It is <del>hot </del><ins>cold </ins>today" in html


def test_nothing_in_a_page_is_obeyed() -> None:
    a = fed([result(0, output=HOSTILE, model=HOSTILE, label=HOSTILE, message=HOSTILE)], HOSTILE)
    b = fed([result(0, "fail", HOSTILE + "!", model=HOSTILE, label=HOSTILE + "2", message=HOSTILE)], HOSTILE)
    compared = pc.compare(a, b)
    assert_nothing_is_obeyed(comparison_html(compared))
    assert not any(char in repr(compared) for char in "\x00\x1b\u202e\ud800")


def test_a_page_stays_small_whatever_the_run() -> None:
    a = fed([result(i, output="<word> " * 500, model=f"simulated:{i % 30}" + "m" * 300) for i in range(900)])
    b = fed([result(i, "fail", "<other> " * 500, model=f"simulated:{i % 30}" + "m" * 300) for i in range(900)])
    assert len(comparison_html(pc.compare(a, b)).encode()) < 150_000


def test_costs_are_told_with_their_sign() -> None:
    def priced(cost: str) -> list[ItemResult]:
        return [result(i, cost=cost) for i in range(5)]

    text = Page(comparison_html(pc.compare(fed(priced("0.002")), fed(priced("0.001"))))).text
    assert "−$0.001000 [−$0.001000, −$0.001000] cheaper" in text


def test_in_a_notebook_without_live_views_browsing_shows_the_page(
    notebook: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert notebook.shown == []
    shown: list[dict[str, object]] = []
    monkeypatch.setattr(display, "show", lambda data, metadata=None: shown.append(data))
    compared = pc.compare(fed([result(0)]), fed([result(0)]))
    monkeypatch.setattr(comparison_module, "live_view", None)
    compared.browse()
    monkeypatch.setattr(comparison_module, "live_view", lambda one: ({"widget": "view"}, {}))
    compared.browse()
    assert [set(data) for data in shown] == [{"text/plain", "text/html"}, {"text/plain", "text/html", "widget"}]


def test_replies_that_nobody_could_read_are_compared_as_they_came() -> None:
    unread = Generation("p", "m", "h", None, 5.0, raw="<html>", cost_usd=Decimal("0.1"))
    a, b = fed([replace(result(0, "error"), generation=unread)]), fed([result(0)])
    (group,) = pc.compare(a, b).groups
    assert group.other_flips == 1
    latency = group.metric("latency_ms")
    assert latency is not None
    assert (latency.difference, latency.left_out) == (None, 1)


def test_the_columns_are_documented_with_their_types() -> None:
    page = (Path(__file__).parents[2] / "docs" / "users" / "comparing.md").read_text("utf-8")
    assert re.findall(r"^\| `(\w+)` \| `(\w+)` \|", page, re.MULTILINE) == list(DTYPES.items())
