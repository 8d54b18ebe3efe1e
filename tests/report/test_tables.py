"""The tables and figures."""

import base64
import sys
import xml.etree.ElementTree as ET

import pytest
from msgspec.structs import replace

import promptcard_ext as pc
from promptcard_ext import report
from promptcard_ext.core.results import Outcome, Verdict
from promptcard_ext.kernel.run import run as run_cards
from promptcard_ext.report.page import page
from promptcard_ext.stats.derived import DerivedMetric
from tests.report.conftest import Page, item, run_info, versions
from tests.report.test_words import of, said


def image(piece: report.Piece) -> str:
    (source,) = Page(piece._repr_html_().partition("</style>")[2]).attributes("src")
    return base64.b64decode(source.removeprefix("data:image/svg+xml;base64,")).decode()


def test_only_cases_on_which_versions_differ_are_listed_the_worse_first() -> None:
    text = said(report.changes(of(versions("ppffe", "pffpp"))))
    assert "From the first to the last version: 1 worse, 1 better, 1 otherwise different." in text
    assert text.index("worse case 1") < text.index("better case 3") < text.index("different case 4")
    assert "case 0" not in text
    assert "case 2" not in text


def test_a_case_that_one_version_never_ran_is_no_difference() -> None:
    results = [r for r in versions("pp", "fp") if (r.label, r.case) != ("greet@2", "case 0")]
    assert "the same outcome on every case" in said(report.changes(of(results)))


def test_models_are_kept_apart() -> None:
    results = versions("p", "p") + [replace(r, ordinal=r.ordinal + 10) for r in versions("p", "f", model="openai:x")]
    text = said(report.changes(of(results)))
    assert "openai:x" in text
    assert "ollama:tiny" not in text


def test_repeats_of_a_case_are_counted() -> None:
    outcomes = {"greet@1": "ppf", "greet@2": "fff"}
    results = [
        item(10 * v + i, {"p": "pass", "f": "fail"}[x], label=label, case="c", case_uid="c", repeat=i)
        for v, (label, letters) in enumerate(outcomes.items())
        for i, x in enumerate(letters)
    ]
    text = said(report.changes(of(results)))
    assert "pass ×2 fail ×1" in text.replace("fail fail", "fail") or "pass ×2 fail" in text
    assert "fail ×3" in text


def test_changes_of_one_version_say_that_there_is_nothing_to_compare() -> None:
    assert "one card version" in said(report.changes(of([item(0)])))


@pytest.mark.parametrize("many", [100, 101, 130])
def test_long_tables_end_after_a_hundred_rows_and_say_so(many: int) -> None:
    piece = report.changes(of(versions("p" * many, "f" * many)))
    left = many - 100
    assert piece._repr_html_().count("<tr>") == 1 + min(many, 100)
    assert (f"{left} more case{'' if left == 1 else 's'} differ" in said(piece)) == (left > 0)
    assert ("more" in said(piece)) == (left > 0)


def test_scores_comparisons_and_changed_prompts_have_tables_where_there_are_any() -> None:
    changed = (
        Verdict("t", "metamorphic:typo", Outcome.PASS),
        Verdict("t", "metamorphic:case", Outcome.UNSCORED, "no_text"),
    )
    results = [
        item(
            i,
            verdicts=(
                Verdict("r", "llm-rubric", Outcome.PASS, None, "", score, "tone"),
                Verdict("b", "select-best", Outcome.PASS),
                Verdict("m", "metamorphic", Outcome.PASS, parts=changed),
            ),
        )
        for i, score in enumerate((0.75, 0.25))
    ]
    run = report.ReportRun(run_info(results), results, [DerivedMetric("twice", "2 * tone / __count")])
    text = said(report.measures(run))
    assert "tone 0.50 [" in text
    assert "twice 1 over 2 items" in text
    assert "select-best 100% [34–100] of 2" in text
    assert "typo 100% [34–100] of 2" in text
    assert "case no verdict (0 of 2)" in text
    assert "Scores and comparisons" in page(run)
    nothing = of([item(0), item(1, "fail")])
    assert "There are no scores" in said(report.measures(nothing))
    assert "Scores and comparisons" not in page(nothing)


def test_metrics_are_counted_in_checks_the_weakest_first() -> None:
    def checks(*found: tuple[str, str | None, str]) -> tuple[Verdict, ...]:
        return tuple(Verdict("u", kind, Outcome(outcome), metric=metric) for kind, metric, outcome in found)

    results = [
        item(0, verdicts=checks(("regex", "good", "pass"), ("contains", None, "fail"), ("cost", "price", "unscored"))),
        item(1, verdicts=checks(("regex", "good", "pass"), ("regex", "good", "fail"), ("contains", None, "fail"))),
    ]
    text = said(report.by_metric(of(results)))
    assert "contains 0% [0–66] of 2" in text
    assert "good 67% [21–94] of 3" in text
    assert "price no verdict (0 of 1)" in text
    assert text.index("contains") < text.index("good") < text.index("price")


def test_many_models_do_not_make_an_endless_table() -> None:
    results = [item(i, model=f"ollama:m{i}", case="c", case_uid="c") for i in range(30)]
    run = of(results)
    assert "18 more combinations of version and model" in said(report.by_metric(run))
    assert "The first 10 of 30 are drawn" in said(report.latency_chart(run))
    assert "The first 24 of 30 are drawn" in said(report.pass_rate_chart(run))


@pytest.mark.parametrize("make", [report.pass_rate_chart, report.outcome_chart, report.latency_chart])
def test_figures_are_images_with_their_numbers_in_words(simulated, make) -> None:
    run = of(simulated)
    piece = make(run)
    svg = image(piece)
    ET.fromstring(svg)
    assert "prefers-color-scheme:dark" in svg
    assert "<script" not in svg
    (alt,) = Page(piece._repr_html_()).attributes("alt")
    for row in run.rows:
        assert row.label in alt
        assert row.model in alt


def test_figures_of_hostile_names_are_well_formed() -> None:
    results = [
        replace(r, label=f'</svg><script>{r.label}"\x00\x1b\ufffe&', model="m:\ud800<!--") for r in versions("p", "f")
    ]
    run = report.ReportRun({**run_info(versions("p", "f")), "plan": {}}, results)
    for make in (report.pass_rate_chart, report.outcome_chart, report.latency_chart):
        tree = ET.fromstring(image(make(run)))
        assert not [e for e in tree.iter() if e.tag.endswith("script")]


def test_without_the_drawing_package_the_numbers_stand_in_words(simulated, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    text = said(report.pass_rate_chart(of(simulated)))
    assert "of 28" in text
    assert "vl-convert-python" in text


def test_a_run_of_this_process_can_be_reported_on() -> None:
    handle = run_cards(pc.Card("say", "{{ x }}"), [{"x": "1"}, {"x": "2"}], "simulated:echo", name="here").wait(30)
    run = report.of(handle)
    assert run.models == ["simulated:echo"]
    assert "here" in said(report.header(run))
    assert "no_assertions" in said(report.verdict(run))
    assert "No answer was checked" in said(report.by_metric(run))
