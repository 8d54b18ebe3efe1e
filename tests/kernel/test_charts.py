from typing import Any

import altair as alt
import pytest
from msgspec.structs import replace

from promptcard_ext.core.results import Generation, ItemResult
from promptcard_ext.kernel import charts
from promptcard_ext.stats.summary import summarise
from tests.widgets.fakes import result

VEGALITE = "application/vnd.vegalite.v5+json"


def results() -> list[ItemResult]:
    cells = [(label, model) for label in ("card v1", "card v2") for model in ("simulated:z", "simulated:a")]
    return [
        result(i, ("pass", "fail", "error", "unscored")[i % 4 if i % 3 else 0], label=label, model=model, latency_ms=i)
        for i, (label, model) in enumerate(cells * 25)
    ]


def drawn(results: list[ItemResult]) -> list[Any]:
    rows = summarise(results)
    return [charts.pass_rates(rows), charts.outcomes(rows), charts.latencies(results)]


def test_charts_show_themselves_in_the_form_that_notebooks_draw_without_a_network() -> None:
    for chart in drawn(results()):
        bundle = chart._repr_mimebundle_()
        assert {VEGALITE, "text/plain"} <= set(bundle) <= {VEGALITE, "text/plain", "image/svg+xml"}
        assert bundle[VEGALITE]["$schema"].endswith("v5.json")


def test_charts_are_drawn_also_when_there_is_nothing_to_draw() -> None:
    for chart in drawn([]):
        assert VEGALITE in chart._repr_mimebundle_()


def test_they_are_altair_charts_that_can_be_changed() -> None:
    for chart in drawn(results()):
        assert isinstance(chart, alt.TopLevelMixin)
        changed = chart.properties(title="Mine").configure_axis(labelFontSize=20)
        spec = changed._repr_mimebundle_()[VEGALITE]
        assert spec["title"] == "Mine"
        assert spec["config"]["axis"] == {"labelFontSize": 20}


def test_a_renderer_that_the_user_has_chosen_is_used() -> None:
    chart = drawn(results())[1]
    with alt.renderers.enable("json"):
        assert "application/json" in chart._repr_mimebundle_()[0]
    assert VEGALITE in chart._repr_mimebundle_()


def test_other_charts_of_the_notebook_are_left_alone() -> None:
    drawn(results())
    assert alt.renderers.active == "default"
    assert "text/html" in alt.Chart(alt.Data(values=[{"a": 1}])).mark_point().encode(x="a:Q")._repr_mimebundle_()


def test_static_output_holds_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("vl_convert")
    monkeypatch.setenv("PROMPTCARDS_RENDER", "static")
    for chart in drawn(results()):
        image = chart._repr_mimebundle_()["image/svg+xml"]
        assert image.startswith("<svg")
        assert "<script" not in image


def test_models_and_versions_are_in_the_order_of_the_run() -> None:
    spec = charts.pass_rates(summarise(results())).to_dict()
    assert spec["facet"]["row"]["sort"] == ["simulated:z", "simulated:a"]


def test_ten_thousand_latencies_are_drawn_as_few_points() -> None:
    spec = charts.latencies([result(i, latency_ms=float(i)) for i in range(10_000)]).to_dict()
    assert sum(len(values) for values in spec["datasets"].values()) == 51


def test_replies_that_nobody_could_read_have_no_latency() -> None:
    samples = charts.LatencySamples()
    samples.add(result(0, latency_ms=7.0))
    samples.add(result(1, "error", None))
    unread = Generation("p", "m", "h", None, 0.0, raw="<html>")
    samples.add(replace(result(2, "error"), generation=unread))
    assert {key: list(values) for key, values in samples.by_run.items()} == {("card v1", "simulated:a"): [7.0]}
