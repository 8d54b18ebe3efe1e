"""The charts of a run."""

from typing import Any

import pytest

from promptcard_ext.core.results import ItemResult
from promptcard_ext.kernel.handle import RunHandle
from promptcard_ext.kernel.heatmap_chart import MAX_LINES, HeatCounts
from tests.kernel.page import HOSTILE
from tests.widgets.fakes import handle, result

VEGALITE = "application/vnd.vegalite.v5+json"
NAMES = ["pass_rates", "latencies", "frontier", "heatmap"]


def fed(results: list[ItemResult], name: str = "night run") -> RunHandle:
    run = handle(len(results), name=name)
    run.feed(results, status="completed")
    return run


def some(labels: int = 3, models: int = 3, each: int = 10) -> RunHandle:
    cells = [(f"card v{v}", f"simulated:{m}") for v in range(labels) for m in range(models)]
    return fed(
        [
            result(i, "fail" if i % (2 + i % 3) == 0 else "pass", label=label, model=model, cost=f"0.00{1 + i % 7}")
            for i, (label, model) in enumerate(cells * each)
        ]
    )


def chart_of(run: RunHandle, name: str, **more: Any) -> Any:
    return getattr(run.chart, name)(**more)


def rows_in(spec: dict[str, Any]) -> int:
    return sum(len(values) for values in spec["datasets"].values())


@pytest.mark.parametrize("name", NAMES)
def test_each_has_a_title_and_says_in_words_what_it_shows(name: str) -> None:
    bundle = chart_of(some(), name)._repr_mimebundle_()
    spec = bundle[VEGALITE]
    title = spec["title"] if isinstance(spec["title"], str) else spec["title"]["text"]
    assert title.startswith("night run: ")
    assert spec["description"].startswith(title)
    assert bundle["text/plain"] == spec["description"]
    assert "card v0" in spec["description"] or "Pareto" in spec["description"]


@pytest.mark.parametrize("name", NAMES)
def test_each_is_drawn_also_when_there_is_nothing_to_draw(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("vl_convert")
    monkeypatch.setenv("PROMPTCARDS_RENDER", "static")
    for results in ([], [result(0, "error", None)]):
        assert chart_of(fed(results), name)._repr_mimebundle_()["image/svg+xml"].startswith("<svg")


@pytest.mark.parametrize("name", NAMES)
def test_in_a_report_each_is_an_image_without_scripts_that_can_be_read_aloud(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("vl_convert")
    monkeypatch.setenv("PROMPTCARDS_RENDER", "static")
    image = chart_of(some(), name)._repr_mimebundle_()["image/svg+xml"]
    assert "<script" not in image
    assert 'role="img" aria-label="night run: ' in image
    assert "http://" not in image.replace("http://www.w3.org/", "")


@pytest.mark.parametrize(("name", "more"), [*((name, {}) for name in NAMES), ("heatmap", {"by": "case"})])
def test_however_large_the_run_few_rows_are_drawn(name: str, more: dict[str, str]) -> None:
    run = some(labels=40, models=40, each=2)
    assert rows_in(chart_of(run, name, **more).to_dict()) < 5_000


@pytest.mark.parametrize("name", NAMES)
def test_names_cannot_do_anything(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("vl_convert")
    monkeypatch.setenv("PROMPTCARDS_RENDER", "static")
    run = fed([result(0, label=HOSTILE, model=HOSTILE, case=HOSTILE, cost="1")], HOSTILE)
    image = chart_of(run, name)._repr_mimebundle_()["image/svg+xml"]
    assert not any(char in image for char in "\x00\x1b\u202e\ud800")
    assert "<script" not in image


def test_what_has_no_price_is_left_out_of_the_frontier_and_said() -> None:
    run = fed([result(0, cost="0.1"), result(1, "fail", model="simulated:free")])
    spec = run.chart.frontier().to_dict()
    assert (
        spec["title"]["subtitle"]
        == "filled: on the Pareto front, as observed; 1 without a price or a verdict are left out"
    )
    assert rows_in(spec) == 1


def test_the_pareto_front_is_marked() -> None:
    results = []
    for place, (model, passed, cost) in enumerate([("a", 5, "1"), ("b", 9, "2"), ("c", 8, "3")]):
        results += [
            result(10 * place + i, "pass" if i < passed else "fail", model=f"simulated:{model}", cost=cost)
            for i in range(10)
        ]
    (values,) = fed(results).chart.frontier().to_dict()["datasets"].values()
    assert {row["model"][-1]: row["front"] for row in values} == {"a": True, "b": True, "c": False}


def test_of_many_cases_those_that_passed_least_are_shown() -> None:
    counts = HeatCounts("case")
    for i in range(3 * MAX_LINES):
        counts.add(result(i, "pass" if i % 2 else "fail"))
    cells, number = counts.cells()
    assert number == 3 * MAX_LINES
    assert len(cells) == MAX_LINES
    assert {cell.rate for cell in cells} == {0.0}


def test_cases_of_one_name_are_told_apart() -> None:
    counts = HeatCounts("case")
    counts.add(result(0, case="same"))
    counts.add(result(1, case="same"))
    cells, _ = counts.cells()
    assert len({cell.line for cell in cells}) == 2


def test_cells_without_a_verdict_are_no_zeros() -> None:
    spec = fed([result(0, "unscored")]).chart.heatmap().to_dict()
    ((row,),) = spec["datasets"].values()
    assert (row["rate"], row["text"]) == (None, "–")


def test_another_kind_of_line_is_refused() -> None:
    with pytest.raises(ValueError, match="neither 'card' nor 'case'"):
        chart_of(some(), "heatmap", by="model")


@pytest.mark.parametrize("name", ["latencies", "frontier"])
def test_without_any_value_there_are_no_axes_for_jupyterlab_to_get_lost_in(name: str) -> None:
    spec = chart_of(fed([result(0, "error", None)]), name).to_dict()
    (layer,) = spec.get("layer", [spec])
    assert set(layer["encoding"]) == {"text"}
    assert spec["title"].startswith("night run: ")
