"""What the header and the verdict say."""

from decimal import Decimal

from msgspec.structs import replace

from promptcard_ext import report
from promptcard_ext.core.results import Call, Generation, Outcome
from promptcard_ext.stats.summary import summarise
from tests.report.conftest import RUN_ID, Page, item, run_info, versions


def of(results, **changed) -> report.ReportRun:
    return report.ReportRun(run_info(results, **changed), results)


def said(piece: report.Piece) -> str:
    return Page(piece._repr_html_().partition("</style>")[2]).text


def test_the_header_says_what_when_and_how_long() -> None:
    text = said(report.header(of(versions("pf", "pp"), engine_version="0.9.1")))
    for part in (
        "Nightly", RUN_ID, "3 November 2026, 06:00 UTC", "1 min 32 s", "greet@1, greet@2", "ollama:tiny", "4 items",
        "3 passed", "1 failed", "not priced (0 of 4)", "Prompt Cards 0.9.1",
    ):  # fmt: skip
        assert part in text
    assert "Simulated" not in text


def test_simulated_models_are_called_so() -> None:
    text = said(report.header(of(versions("p", "p", model="simulated:steady"))))
    assert "Simulated: not from a model." in text
    assert "simulated:steady" in text


def test_versions_whose_intervals_overlap_are_not_separated() -> None:
    text = said(report.verdict(of(versions("ppf", "ppp"))))
    assert "greet@2 passes most often: 100% [44–100] of 3." in text
    assert "greet@1 (67% [21–94] of 3) is behind" in text
    assert "not separated by this many cases" in text


def test_versions_whose_intervals_lie_apart_are_said_to() -> None:
    text = said(report.verdict(of(versions("f" * 20, "p" * 20))))
    assert "lies below, and the 95 % intervals do not overlap" in text
    assert "not separated" not in text


def test_versions_that_pass_equally_often_have_no_best_one() -> None:
    text = said(report.verdict(of(versions("pf", "fp"))))
    assert "greet@1 and greet@2 pass equally often: 50% [9–91] of 2." in text
    assert "most often" not in text


def test_a_single_version_is_not_compared() -> None:
    text = said(report.verdict(of([item(0), item(1, "fail")])))
    assert "greet@1 passes 50% [9–91] of 2." in text


def test_a_version_without_any_verdict_is_named() -> None:
    text = said(report.verdict(of(versions("ee", "pp"))))
    assert "greet@2 passes 100% [34–100] of 2. greet@1 has no verdict at all." in text


def test_the_best_version_on_every_model_is_said_first() -> None:
    results = versions("f" * 20, "p" * 20) + versions("ppf", "ppp", model="openai:other")
    results = [replace(result, ordinal=i) for i, result in enumerate(results)]
    text = said(report.verdict(of(results)))
    assert text.startswith("greet@2 passes most often on both models; the 95 % intervals lie apart on one of them.")
    swapped = [replace(r, label={"greet@1": "greet@2", "greet@2": "greet@1"}[r.label]) for r in results[40:]]
    assert "No version passes most often on all 2 models." in said(report.verdict(of(results[:40] + swapped)))


def test_what_has_no_verdict_is_counted_with_its_reasons() -> None:
    results = [
        item(0),
        item(1, "error", reason="provider_429"),
        item(2, "error", reason="provider_429"),
        item(3, "error", reason="never_heard_of"),
        item(4, "unscored", reason="no_text"),
    ]
    text = said(report.verdict(of(results)))
    assert "4 of 5 items have no verdict, and are in no pass rate" in text
    assert "2 errors: the provider asked to slow down provider_429" in text
    assert "1 error: never_heard_of" in text
    assert "1 unscored: the answer had no text no_text" in text
    assert "100% [21–100] of 1, 4 without verdict" in text


def test_a_run_that_was_stopped_says_how_far_it_came() -> None:
    text = said(report.verdict(of([item(0)], total=10, status="cancelled")))
    assert "The run was cancelled: 1 of 10 items have a result." in text


def test_a_failed_run_says_why() -> None:
    broken = of([item(0)], status="failed", error={"code": "x", "message": "The key <b> is gone.", "hint": ""})
    assert "The run failed. The key <b> is gone." in said(report.verdict(broken))


def test_with_repeats_intervals_rest_on_the_cases_and_that_is_said() -> None:
    results = [
        item(3 * case + repeat, "pass" if case else "fail", case_uid=f"c{case}", case=f"c{case}", repeat=repeat)
        for case in range(4)
        for repeat in range(3)
    ]
    text = said(report.verdict(of(results)))
    assert "passes 75% [30–95] of 12" in text
    assert "Each case was asked 3 times." in text
    assert "they rest on 4 cases" in text
    table = said(report.summary(of(results)))
    assert "75% [30–95] of 12 4 cases" in table
    assert "manners 75% [30–95] of 12" in said(report.by_metric(of(results)))


def test_the_header_tells_what_the_store_gave_what_was_spent_and_what_judges_cost() -> None:
    paid = Generation("p", "m", "h", "{}", 1.0, cost_usd=Decimal("0.25"))
    asked = item(0, generation=paid, cached=True, calls=(Call("judge", paid), Call("judge", paid, cached=True)))
    run = of([asked, item(1, generation=paid)])
    text = said(report.header(run))
    assert "Cost $1.0000" in text
    assert "Spent this time $0.5000" in text
    assert "From the store 1 of 2 answers" in text
    assert "Further calls 2 judge calls, 1 from the store, $0.5000" in text
    calls = "greet@1 ollama:tiny $1.0000 $0.5000 1 of 2 2 judge calls, 1 from the store, $0.5000"
    assert calls in said(report.costs(run))
    plain = said(report.header(of([item(0)])))
    assert "store" not in plain
    assert "Spent" not in plain


def test_what_is_undecided_is_told_with_what_it_may_make_of_the_rate() -> None:
    text = said(report.summary(of([item(0), item(1), item(2, "fail"), item(3, "error")])))
    assert "67% [21–94] of 3, 1 without verdict 50–75% once all are judged" in text


def test_cards_are_compared_among_their_own_versions() -> None:
    other = [
        replace(r, card="bye", label=r.label.replace("greet", "bye"), ordinal=r.ordinal + 100)
        for r in versions("p", "f")
    ]
    text = said(report.verdict(of(versions("f", "p") + other)))
    assert "greet on ollama:tiny" in text
    assert "bye on ollama:tiny" in text
    assert "bye@1 passes most often" in text
    assert "greet@2 passes most often" in text


def test_the_numbers_are_those_of_the_summary(simulated) -> None:
    run = of(simulated)
    text = said(report.summary(run)) + said(report.verdict(run))
    rows = summarise(simulated)
    assert len(rows) == 4
    for row in rows:
        assert f"{row.label} {row.model} {row.rate_text}" in text
        assert row.cost_text in text
    assert run.counts.passed == sum(result.outcome is Outcome.PASS for result in simulated)


def test_plain_text_says_the_same(simulated) -> None:
    run = of(simulated)
    for make in (
        report.header, report.verdict, report.summary, report.by_metric, report.changes, report.reasons,
        report.failures, report.passes, report.costs,
    ):  # fmt: skip
        text = repr(make(run))
        assert "<" not in text
        assert len(text) > 20
    for row in summarise(simulated):
        assert row.rate_text in repr(report.summary(run))
        assert row.rate_text in repr(report.pass_rate_chart(run))


def test_a_case_that_two_cards_are_asked_is_one_case() -> None:
    first = item(0)
    run = of([first, replace(first, ordinal=1, card="other", label="other@1")])
    assert run.cases == 1
