"""Invariance: the same model is asked changed prompts, and only what it answered counts."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.card import Card, Variable
from promptcard_ext.core.case import Case
from promptcard_ext.core.errors import CardError, ProviderError
from promptcard_ext.core.matrix import Plan
from promptcard_ext.core.ports import Reply, Request
from promptcard_ext.core.results import Outcome
from tests.core.assertions.asker import Asks, answered, graded, text
from tests.core.fakes import Fake, only, run

PASS, FAIL, ERROR, UNSCORED = Outcome.PASS, Outcome.FAIL, Outcome.ERROR, Outcome.UNSCORED
CARD = Card("c", "Is this urgent? {{ text }}")
ANSWER = answered(CARD, {"text": "The server room is on fire, 1,000.5 degrees"}, "yes")
FAILED = ProviderError("down", code="provider_5xx")


def loud(prompt: str) -> Any:
    return "NO" if "FIRE" in prompt else " Yes. "


def test_every_transform_asks_once_and_a_model_that_does_not_care_passes() -> None:
    asks = Asks(lambda _: "Yes!")
    one = graded(Assertion("metamorphic"), ANSWER, asks)
    assert (one.outcome, one.score, one.reason) == (PASS, 1.0, None)
    # There are no options to reorder in this text.
    names = ["metamorphic:typo", "metamorphic:case", "metamorphic:whitespace", "metamorphic:locale"]
    assert [part.type for part in one.parts] == names
    assert len({part.uid for part in one.parts}) == 4
    assert asks.prompts[1] == "Is this urgent? THE SERVER ROOM IS ON FIRE, 1,000.5 DEGREES"
    assert asks.prompts[3] == "Is this urgent? The server room is on fire, 1.000,5 degrees"
    assert len({ANSWER.messages[-1].content, *asks.prompts}) == 5


def test_the_score_is_the_share_that_held_and_decides_by_the_threshold() -> None:
    one = graded(Assertion("metamorphic"), ANSWER, Asks(loud))
    assert (one.outcome, one.score, one.reason) == (FAIL, 0.75, "not_invariant")
    assert one.message == "The answer held for 3 of 4 changed prompts. By case: It became 'NO'."
    assert [part.reason for part in one.parts] == [None, "answer_changed", None, None]
    assert graded(Assertion("metamorphic", threshold=0.75), ANSWER, Asks(loud)).outcome is PASS
    other = graded(Assertion("not-metamorphic"), ANSWER, Asks(loud))
    assert (other.outcome, other.score) == (PASS, 0.25)


def test_the_same_case_is_changed_in_the_same_way_again_and_another_in_another() -> None:
    def prompts(words: str) -> list[str]:
        asks = Asks()
        graded(
            Assertion("metamorphic", {"transforms": ["typo"], "runs": 5}), answered(CARD, {"text": words}, "x"), asks
        )
        return [prompt.removeprefix("Is this urgent? ") for prompt in asks.prompts]

    words = "several interesting questions about something"
    assert prompts(words) == prompts(words)
    assert len(prompts(words)) > 1
    assert {f"{one}!" for one in prompts(words)} != set(prompts(f"{words}!"))


@pytest.mark.parametrize(
    ("failing", "threshold", "outcome", "reason", "score"),
    [
        (1, None, ERROR, "provider_5xx", None),
        (1, 0.75, PASS, None, None),
        (1, 0.8, ERROR, "provider_5xx", None),
        (4, 0.0, ERROR, "provider_5xx", None),
        (4, 0.1, ERROR, "provider_5xx", None),
    ],
)
def test_a_changed_prompt_without_an_answer_is_undecided(
    failing: int, threshold: float | None, outcome: Outcome, reason: str | None, score: float | None
) -> None:
    left = [FAILED] * failing
    for kind in ("metamorphic", "not-metamorphic"):
        queue = list(left)
        one = graded(
            Assertion(kind, threshold=threshold), ANSWER, Asks(lambda _, queue=queue: queue.pop() if queue else "yes")
        )
        assert one.outcome is (outcome if kind == "metamorphic" else outcome.negated())
        if outcome is not PASS:
            assert (one.reason, one.score) == (reason, score)
            assert one.message.endswith("down")
        elif kind == "metamorphic":
            assert one.score == score


def test_one_that_changed_decides_although_another_is_undecided() -> None:
    said: list[Any] = [FAILED, "no", "yes", "yes"]
    one = graded(Assertion("metamorphic"), ANSWER, Asks(lambda _: said.pop(0)))
    assert (one.outcome, one.reason, one.score, one.points) == (FAIL, "not_invariant", None, None)
    assert "2 of 3 changed prompts, 1 undecided" in one.message


SAYS: dict[str, Callable[[], Any]] = {
    "yes": lambda: "yes",
    "no": lambda: "no",
    "nothing": lambda: None,
    "down": lambda: FAILED,
    "broke": lambda: ProviderError("no money", code="budget_exhausted"),
}


@given(st.lists(st.sampled_from(sorted(SAYS)), min_size=4, max_size=4), st.floats(0, 1), st.booleans())
def test_what_nobody_answered_is_never_a_pass_or_a_fail(said: list[str], threshold: float, negated: bool) -> None:
    kind = "not-metamorphic" if negated else "metamorphic"

    def outcome(answers: list[str]) -> Outcome:
        left = list(answers)
        return graded(Assertion(kind, threshold=threshold), ANSWER, Asks(lambda _: SAYS[left.pop(0)]())).outcome

    found = outcome(said)
    if found in (PASS, FAIL):
        # Then it is the same whatever those would have said.
        for guess in ("yes", "no"):
            assert outcome([one if one in ("yes", "no") else guess for one in said]) is found
    else:
        assert set(said) - {"yes", "no"}


def test_an_answer_without_text_leaves_its_prompt_unscored() -> None:
    one = graded(Assertion("metamorphic", ["case"]), ANSWER, Asks(lambda _: None))
    assert (one.outcome, one.reason) == (UNSCORED, "no_text")
    assert one.parts[0].outcome is UNSCORED


@pytest.mark.parametrize("prefix", ["", "not-"])
def test_what_cannot_be_judged_is_unscored(prefix: str) -> None:
    def judged(answer: Any, value: Any = None) -> tuple[Outcome, str | None]:
        asks = Asks()
        one = graded(Assertion(f"{prefix}metamorphic", value), answer, asks)
        assert asks.prompts == []
        return one.outcome, one.reason

    assert judged(answered(CARD, {"text": "words"}, None)) == (UNSCORED, "no_text")
    assert judged(text("yes")) == (UNSCORED, "no_variant")
    assert judged(answered(CARD, {"text": "9"}, "yes"), ["case", "typo"]) == (UNSCORED, "nothing_to_change")
    assert judged(answered(Card("c", "Hi"), {}, "yes")) == (UNSCORED, "nothing_to_change")
    assert judged(ANSWER, {"relation": "equal_json"}) == (UNSCORED, "not_comparable")
    assert judged(ANSWER, {"labels": ["spam"]}) == (UNSCORED, "not_comparable")
    assert judged(ANSWER, {"variables": "nobody"}) == (ERROR, "no_such_variable")


def test_only_the_named_variables_change() -> None:
    card = Card("c", "{{ a }} {{ b }} {% for x in c %}{{ x }},{% endfor %}")
    answer = answered(card, {"a": "one", "b": "two", "c": ["x", "y"]}, "yes")

    def prompts(value: Any) -> list[str]:
        asks = Asks()
        graded(Assertion("metamorphic", value), answer, asks)
        return asks.prompts

    assert prompts({"transforms": ["case"], "variables": ["b"]}) == ["one TWO x,y,"]
    assert prompts({"transforms": ["case"]}) == ["ONE TWO x,y,"]
    assert prompts(["reorder_options"]) == ["one two y,x,"]


def test_a_variable_that_the_card_would_not_take_stays_as_it_is() -> None:
    card = Card("c", "{{ kind }} {{ text }}", variables=[Variable("kind", "enum", values=("mail",)), Variable("text")])
    asks = Asks()
    graded(Assertion("metamorphic", ["case"]), answered(card, {"kind": "mail", "text": "hi"}, "yes"), asks)
    assert asks.prompts == ["mail HI"]
    only_enum = Assertion("metamorphic", {"transforms": ["case"], "variables": ["kind"]})
    assert (
        graded(only_enum, answered(card, {"kind": "mail", "text": "hi"}, "yes"), Asks()).reason == "nothing_to_change"
    )


def test_changes_that_come_out_the_same_are_asked_once() -> None:
    asks = Asks()
    value = {"transforms": [{"case": {"to": "upper"}}, {"case": {"to": "swap"}}, "typo"], "runs": 3}
    graded(Assertion("metamorphic", value), answered(CARD, {"text": "abc"}, "yes"), asks)
    assert asks.prompts == ["Is this urgent? ABC"]


def test_a_transform_of_the_assertion_applies_to_both_answers() -> None:
    answer = answered(CARD, {"text": "words"}, '{"label": "a", "id": 1}')
    assertion = Assertion("metamorphic", ["case"], transform="{{ json.label }}")
    assert graded(assertion, answer, Asks(lambda _: '{"label": "A", "id": 2}')).outcome is PASS
    assert graded(assertion, answer, Asks(lambda _: '{"label": "b", "id": 1}')).parts[0].reason == "answer_changed"
    assert graded(assertion, answer, Asks(lambda _: "b")).parts[0].reason == "transform_failed"


@pytest.mark.parametrize(
    "value",
    [
        5,
        [],
        ["paraphrase"],
        [5],
        [{"typo": 1}],
        [{"typo": {}, "case": {}}],
        [{"typo": {"rate": 0.9}}],
        [{"typo": {"rate": "much"}}],
        [{"typo": {"often": 1}}],
        [{"case": {"to": ["upper"]}}],
        {"transform": ["typo"]},
        {"relation": "monotone"},
        {"relation": ["same_text"]},
        {"relation": "same_text", "labels": ["a"]},
        {"labels": "ab"},
        {"labels": [" "]},
        {"variables": []},
        {"variables": [1]},
        {"runs": 0},
        {"runs": True},
        {"runs": 1.5},
        {"transforms": ["typo"], "runs": 51},
    ],
)
def test_a_specification_that_does_not_fit_is_refused(value: Any) -> None:
    with pytest.raises(CardError) as caught:
        Assertion("metamorphic", value)
    assert caught.value.code == "assertion_invalid"


@pytest.mark.parametrize("fields", [{"threshold": 1.1}, {"options": {"runs": 2}}])
def test_other_fields_that_do_not_fit_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(CardError):
        Assertion("metamorphic", **fields)


@pytest.mark.parametrize("output", ["a\x00\ud800", "x" * 1_000_000, "[" * 100_000, ""])
def test_a_hostile_answer_gets_a_short_verdict(output: str) -> None:
    for value in ({"transforms": ["case"]}, {"transforms": ["case"], "relation": "contains"}):
        one = graded(Assertion("metamorphic", value), ANSWER, Asks(lambda _: output))
        assert one.outcome is FAIL
        assert len(one.message) < 500


def test_in_a_run_the_changed_prompts_are_calls_of_the_same_model() -> None:
    async def careless(request: Request, _: int) -> Reply:
        return Reply("NO" if "FIRE" in request.messages[-1].content else "yes", 1.0)

    fake = Fake(careless)
    cases = [Case({"text": "there is fire"}, [Assertion("metamorphic", ["case", "whitespace"], threshold=0.5)])]
    result = only(run(Plan([CARD], ["fake:m"], cases), fake))
    assert (result.outcome, result.score) == (PASS, 0.5)
    assert [call.purpose for call in result.calls] == ["variant", "variant"]
    assert {request.model for request in fake.requests} == {"m"}
    assert len(fake.requests) == 3
