"""The plan: ordinals and items."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.card import Card
from promptcard_ext.core.errors import CardError, TemplateError
from promptcard_ext.core.matrix import Plan, Prepared
from tests.core.fakes import cases

CARDS = [Card("c", f"{i} {{{{ n }}}}", version=i) for i in range(1, 4)]
PLANS = st.builds(
    lambda cards, models, number, repeats: Plan(
        CARDS[:cards], [f"fake:{i}" for i in range(models)], cases(number), repeats
    ),
    st.integers(1, 3), st.integers(1, 3), st.integers(1, 8), st.integers(1, 4),
)  # fmt: skip


@given(PLANS)
def test_every_cell_has_one_ordinal_and_every_ordinal_one_cell(plan: Plan) -> None:
    items = list(plan.items())
    assert [item.ordinal for item in items] == list(range(plan.total))
    cells = {(item.card, item.model, item.case, item.repeat) for item in items}
    wanted = {
        (card, model, case, repeat)
        for card in range(len(plan.cards))
        for model in range(len(plan.models))
        for case in range(len(plan.cases))
        for repeat in range(plan.repeats)
    }
    assert cells == wanted
    assert len(items) == len(wanted)
    assert [plan.item(item.ordinal) for item in items] == items


@given(PLANS, st.data())
def test_any_split_by_cases_gives_the_items_of_the_whole(plan: Plan, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(1, len(plan.cases)))) | {len(plan.cases)})
    starts = [0, *cuts[:-1]]
    joined = [
        (item.ordinal, item.card, item.model, item.case + start, item.repeat)
        for start, end in zip(starts, cuts, strict=True)
        for item in Plan(plan.cards, plan.models, plan.cases[start:end], plan.repeats, start).items()
    ]
    assert joined == [tuple(item) for item in plan.items()]


@given(PLANS, st.integers(-5, 300))
def test_an_ordinal_of_another_plan_is_refused(plan: Plan, ordinal: int) -> None:
    if 0 <= ordinal < plan.total:
        assert plan.item(ordinal).ordinal == ordinal
    else:
        with pytest.raises(IndexError):
            plan.item(ordinal)


def test_a_slice_refuses_the_items_before_it() -> None:
    part = Plan(CARDS[:1], ["fake:m"], cases(2), first_case=3)
    assert [item.ordinal for item in part.items()] == [3, 4]
    for ordinal in (0, 2, 5):
        with pytest.raises(IndexError):
            part.item(ordinal)


def test_all_cards_and_models_see_a_case_before_the_next_one_comes() -> None:
    plan = Plan(CARDS, ["a:1", "b:1"], cases(3), repeats=2)
    order = [item.case for item in plan.items()]
    assert order == sorted(order)


@pytest.mark.parametrize(
    "arguments",
    [
        ([], ["a:1"], 1, 1, 0), (CARDS, [], 1, 1, 0), (CARDS, ["a:1"], 0, 1, 0), (CARDS, ["a:1"], 1, 0, 0),
        (CARDS, ["a:1", "a:1"], 1, 1, 0), ([CARDS[0], CARDS[0]], ["a:1"], 1, 1, 0), (CARDS, ["a:1"], 1, 1, -1),
        (CARDS, ["a:1"], 4, 1_000_000, 0),
    ],
)  # fmt: skip
def test_a_plan_that_makes_no_sense_is_refused(arguments: tuple[list[Card], list[str], int, int, int]) -> None:
    cards, models, number, repeats, first = arguments
    with pytest.raises(CardError) as caught:
        Plan(cards, models, cases(number), repeats, first)
    assert caught.value.code == "plan_invalid"


def test_mistakes_show_before_the_first_call() -> None:
    with pytest.raises(CardError, match=r"[Cc]ase"):
        Plan([Card("c", "{{ other }}")], ["a:1"], cases(2)).prepare()


def test_what_is_prepared_fits_the_plan() -> None:
    plan = Plan(CARDS, ["a:1"], cases(2, Assertion("contains", "x")))
    prepared = plan.prepare()
    assert prepared.messages(plan.item(5))[0].content == "3 1"
    assert [len(prepared.case(index).checklist.checks) for index in range(2)] == [1, 1]
    assert [prepared.case(index).uid for index in range(2)] == [case.uid for case in plan.cases]


def test_a_plan_too_large_to_keep_renders_the_same_prompts_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Prepared, "KEPT", 2)
    monkeypatch.setattr(Prepared, "KEPT_CHARS", 0)
    plan = Plan([Card("c", "{{ n }}!")], ["a:1"], cases(9, Assertion("contains", "{{ n }}")))
    prepared = plan.prepare()
    assert [prepared.messages(item)[0].content for item in plan.items()] == [f"{n}!" for n in range(9)]
    assert [prepared.case(n).checklist.checks[0].assertion.value for n in (8, 0, 8)] == ["8", "0", "8"]


def test_cases_with_the_same_assertions_share_what_is_compiled() -> None:
    prepared = Plan([Card("c", "{{ n }}")], ["a:1"], cases(3, Assertion("contains", "x"))).prepare()
    assert prepared.case(0).checklist is prepared.case(2).checklist


def test_an_assertion_with_variables_is_checked_with_those_of_each_case() -> None:
    plan = Plan([Card("c", "{{ n }}")], ["a:1"], cases(2, Assertion("contains", "{{ other }}")))
    with pytest.raises(TemplateError) as caught:
        plan.prepare()
    assert caught.value.code == "missing_variable"
