"""Select-best: both orders, panels, missing answers, knockouts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.assertions.base import Contender
from promptcard_ext.core.card import Message
from promptcard_ext.core.errors import CardError
from promptcard_ext.core.results import Outcome
from tests.core.judges.script import Asked, Bench, an_answer, contest, outage, saying

PASS, FAIL, ERROR, UNSCORED = Outcome.PASS, Outcome.FAIL, Outcome.ERROR, Outcome.UNSCORED
BEST = Assertion("select-best", "Choose the longer one.")


def contenders(*texts: str | None) -> list[Contender]:
    return [
        Contender(None if text == "-" else an_answer(text), (), f"fake:m{place}", "card@1")
        for place, text in enumerate(texts)
    ]


def longer(asked: Asked) -> Any:
    first, second = len(asked.material("A")), len(asked.material("B"))
    return {"reason": "Counted.", "best": "tie" if first == second else "A" if first > second else "B"}


def outcomes(verdicts: list[Any]) -> list[tuple[Outcome, str | None]]:
    return [(one.outcome, one.reason) for one in verdicts]


WON, LOST, TIED = (PASS, None), (FAIL, "not_best"), (UNSCORED, "contest_tied")


def test_the_better_of_two_wins_in_both_orders() -> None:
    bench = Bench(longer)
    found = contest(BEST, contenders("short", "much longer"), bench)
    assert outcomes(found) == [LOST, WON]
    assert [one.score for one in found] == [0.0, 1.0]
    assert [(asked.material("A"), asked.material("B")) for asked in bench.asked] == [
        ("short", "much longer"),
        ("much longer", "short"),
    ]
    assert found[0].message == "Of 2 answers, fake:m1 with card@1 is better."
    assert bench.asked[0].material("criteria") == "Choose the longer one."
    assert bench.asked[0].material("query") == "What is the capital of France?"


@pytest.mark.parametrize("always", ["A", "B", "tie"])
@pytest.mark.parametrize("kind", ["select-best", "not-select-best"])
def test_a_preference_for_a_place_is_a_tie(always: str, kind: str) -> None:
    bench = Bench(saying({"reason": "", "best": always}))
    found = contest(Assertion(kind, "The better one."), contenders("x", "y", "z"), bench)
    assert outcomes(found) == [TIED] * 3
    assert [one.score for one in found] == [None] * 3


def test_the_negation_is_that_another_one_is_better() -> None:
    found = contest(Assertion("not-select-best", "Longer."), contenders("short", "much longer"), Bench(longer))
    assert outcomes(found) == [(PASS, None), (FAIL, "select-best_held")]


def test_equal_answers_tie_without_a_call() -> None:
    bench = Bench(longer)
    assert outcomes(contest(BEST, contenders("same", "same"), bench)) == [TIED, TIED]
    assert bench.asked == []


def test_several_are_compared_each_with_each() -> None:
    bench = Bench(longer)
    found = contest(BEST, contenders("a", "ccc", "bb"), bench)
    assert outcomes(found) == [LOST, WON, LOST]
    assert [one.score for one in found] == [0.0, 1.0, 0.5]
    assert len(bench.asked) == 6


@pytest.mark.parametrize(
    ("method", "size", "calls"), [(None, 5, 20), (None, 6, 10), ("knockout", 4, 6), ("pairs", 6, 30)]
)
def test_many_are_compared_in_a_knockout(method: str | None, size: int, calls: int) -> None:
    bench = Bench(longer)
    options = {} if method is None else {"method": method}
    found = contest(
        Assertion("select-best", "Longer.", options=options), contenders(*("x" * n for n in range(1, size + 1))), bench
    )
    assert outcomes(found) == [LOST] * (size - 1) + [WON]
    assert len(bench.asked) == calls


def test_who_has_no_answer_or_no_text_does_not_compete() -> None:
    found = contest(BEST, contenders("short", "-", None, "much longer"), Bench(longer))
    assert outcomes(found) == [LOST, (UNSCORED, "no_answer"), (UNSCORED, "no_text"), WON]


@pytest.mark.parametrize("texts", [("x",), ("x", "-"), ("-", "-"), ("x", None)])
def test_one_answer_alone_is_not_the_best(texts: tuple[str | None, ...]) -> None:
    bench = Bench(longer)
    found = contest(BEST, contenders(*texts), bench)
    for text, one in zip(texts, found, strict=True):
        reason = {"-": "no_answer", None: "no_text"}.get(text, "nothing_to_compare")
        assert (one.outcome, one.reason) == (UNSCORED, reason)
    assert bench.asked == []


def test_without_a_judge_nobody_wins() -> None:
    found = contest(BEST, contenders("x", "yy", "-"), Bench(longer, judges=()))
    assert outcomes(found) == [(UNSCORED, "no_judge"), (UNSCORED, "no_judge"), (UNSCORED, "no_answer")]


@pytest.mark.parametrize(
    ("said", "outcome", "reason"),
    [
        (outage(), ERROR, "provider_5xx_exhausted"),
        (outage("budget_exhausted"), UNSCORED, "budget_exhausted"),
        ("A is better.", UNSCORED, "judge_parse_error"),
        ({"reason": "", "best": "C"}, UNSCORED, "judge_parse_error"),
        ("", UNSCORED, "judge_no_text"),
    ],
)
@pytest.mark.parametrize("kind", ["select-best", "not-select-best"])
def test_a_judge_that_breaks_makes_neither_winner_nor_loser(
    said: Any, outcome: Outcome, reason: str, kind: str
) -> None:
    found = contest(Assertion(kind, "Longer."), contenders("a", "bb", "ccc"), Bench(saying(said)))
    assert outcomes(found) == [(outcome, reason)] * 3


def test_half_of_a_comparison_is_none() -> None:
    def say(asked: Asked) -> Any:
        return longer(asked) if asked.material("A") == "a" else outage("timeout")

    assert outcomes(contest(BEST, contenders("a", "bb"), Bench(say))) == [(ERROR, "timeout")] * 2


def test_a_broken_comparison_below_the_top_leaves_the_winner() -> None:
    def say(asked: Asked) -> Any:
        return longer(asked) if "ccc" in (asked.material("A"), asked.material("B")) else outage()

    assert outcomes(contest(BEST, contenders("a", "bb", "ccc"), Bench(say))) == [LOST, LOST, WON]


def judges(*behave: Callable[[Asked], Any], **more: Any) -> list[Any]:
    names = tuple(f"j{place}:m" for place in range(len(behave)))
    bench = Bench(lambda asked: behave[names.index(asked.model)](asked), names)
    return outcomes(contest(Assertion("select-best", "Longer.", **more), contenders("a", "bb"), bench))


def test_a_panel_decides_each_comparison() -> None:
    first, broken = saying({"reason": "", "best": "A"}), saying(outage())
    unanimous = {"options": {"vote": "all"}}
    undecided = [(UNSCORED, "panel_undecided")] * 2
    assert judges(longer, longer, first) == [LOST, WON]
    assert judges(longer, longer, broken) == [LOST, WON]
    assert judges(longer, first) == [TIED, TIED]
    assert judges(longer, first, broken) == undecided
    assert judges(first, first, broken) == [TIED, TIED]
    assert judges(longer, longer, **unanimous) == [LOST, WON]
    assert judges(longer, first, **unanimous) == [TIED, TIED]
    assert judges(longer, broken, **unanimous) == undecided
    assert judges(broken, broken) == [(ERROR, "provider_5xx_exhausted")] * 2


def test_a_transform_is_what_is_compared() -> None:
    chosen = Assertion("select-best", "Longer.", transform="{{ json.text }}")
    bench = Bench(longer)
    found = contest(chosen, contenders('{"text": "a"}', '{"text": "bb"}', "no json"), bench)
    assert outcomes(found) == [LOST, WON, (UNSCORED, "transform_failed")]
    assert bench.asked[0].material("A") == "a"


def test_prompts_that_differ_are_not_shown() -> None:
    bench = Bench(longer)
    entries = [
        Contender(an_answer("a", Message("user", "One way.")), (), "m", "card@1"),
        Contender(an_answer("bb", Message("user", "Another way.")), (), "m", "card@2"),
    ]
    assert outcomes(contest(BEST, entries, bench)) == [LOST, WON]
    assert "way." not in bench.asked[0].text


def test_a_prompt_of_the_users_has_both_answers() -> None:
    bench = Bench(lambda asked: {"best": "A" if asked.text.index("bb") < asked.text.index("\na\n") else "B"})
    own = Assertion("select-best", "Longer.", rubric_prompt="{{ criteria }}\n{{ A }}\n{{ B }}")
    assert outcomes(contest(own, contenders("a", "bb"), bench)) == [LOST, WON]


@pytest.mark.parametrize(
    "more",
    [
        {"value": None},
        {"options": {"vote": "mean"}},
        {"options": {"method": "league"}},
        {"options": {"method": ["pairs"]}},
        {"rubric_prompt": "{{ outputs }}"},
    ],
)
def test_what_does_not_fit_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(CardError) as error:
        Assertion("select-best", **({"value": "Longer."} | more))
    assert error.value.code == "assertion_invalid"


@given(st.lists(st.sampled_from(["A", "B", "tie", "", "down"]), min_size=30, max_size=30), st.integers(2, 7))
def test_whatever_judges_say_one_wins_over_all_others_or_nobody_does(script: list[str], size: int) -> None:
    left = list(script)

    def say(asked: Asked) -> Any:
        said = left.pop() if left else "tie"
        return outage() if said == "down" else {"reason": "", "best": said} if said else said

    found = outcomes(contest(BEST, contenders(*map(str, range(size))), Bench(say)))
    assert found.count(WON) <= 1
    assert (WON in found) == (found.count(LOST) == size - 1)
