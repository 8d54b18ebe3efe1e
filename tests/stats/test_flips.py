"""What changed between two judgements."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.core.errors import RunError
from promptcard_ext.core.results import ItemResult, Outcome
from promptcard_ext.stats.flips import TypeFlips, flips
from tests.stats.results import ERROR, FAIL, OUTCOME, PASS, UNSCORED, item, verdict

SIDE = st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from("pfeu"), max_size=8)


def results(side: dict[str, str]) -> list[ItemResult]:
    return [item(OUTCOME[letter], case, ordinal=i) for i, (case, letter) in enumerate(side.items())]


def test_the_table_says_what_went_where_and_why() -> None:
    old = [item(FAIL, "a"), item(PASS, "b"), item(PASS, "c"), item(FAIL, "d")]
    new = [item(PASS, "a"), item(UNSCORED, "b"), item(PASS, "c"), item(PASS, "d")]
    table = flips(old, new)
    assert table.matrix == {(FAIL, PASS): 2, (PASS, UNSCORED): 1, (PASS, PASS): 1}
    assert table.rows() == [[1, 0, 0, 1], [2, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    first = table.items[0]
    assert (first.case_uid, first.case, first.before, first.after) == ("a", "case a", FAIL, PASS)
    assert (first.reason_before, first.reason_after) == ("why", None)
    assert table.text == "3 of 4 items flipped: 2 fail → pass, 1 pass → unscored"


@given(SIDE, SIDE, st.randoms(use_true_random=False))
def test_items_are_joined_by_identity_whatever_their_order(
    old: dict[str, str], new: dict[str, str], chance: random.Random
) -> None:
    straight = flips(results(old), results(new))
    left, right = results(old), results(new)
    chance.shuffle(left)
    chance.shuffle(right)
    mixed = flips(left, right)
    assert mixed.matrix == straight.matrix
    assert sum(straight.matrix.values()) == straight.compared == len(old.keys() & new.keys())
    assert (straight.only_before, straight.only_after) == (len(old.keys() - new.keys()), len(new.keys() - old.keys()))
    assert {each.case_uid for each in straight.items} == {
        case for case in old.keys() & new.keys() if old[case] != new[case]
    }


@given(SIDE, SIDE)
def test_the_other_way_round_it_is_the_transposed_table(old: dict[str, str], new: dict[str, str]) -> None:
    there, back = flips(results(old), results(new)), flips(results(new), results(old))
    assert back.matrix == {(after, before): n for (before, after), n in there.matrix.items()}


def test_a_case_put_in_front_changes_nothing() -> None:
    old = [item(PASS, "a"), item(FAIL, "b")]
    table = flips(old, [item(FAIL, "new"), *old])
    assert (table.items, table.assertions, table.only_after) == ((), (), 1)
    assert table.text == "0 of 2 items flipped"


def test_versions_models_and_repeats_are_not_mixed_up() -> None:
    old = [item(PASS, "a", 0), item(FAIL, "a", 1), item(PASS, "a", 0, model="p:n"), item(FAIL, "a", 0, label="c@2")]
    assert flips(old, list(reversed(old))).flipped == 0


@pytest.mark.parametrize("side", [0, 1])
def test_two_results_for_one_item_are_refused(side: int) -> None:
    sides = [[item(PASS, "a")], [item(PASS, "a")]]
    sides[side].append(item(FAIL, "a"))
    with pytest.raises(RunError, match="case a") as caught:
        flips(*sides)
    assert caught.value.code == "results_twice"


def one(outcome: Outcome, *verdicts: object) -> list[ItemResult]:
    return [item(outcome, "a", 0, *verdicts)]  # type: ignore[arg-type]


def test_assertions_are_joined_by_identity_before_their_place() -> None:
    old = one(FAIL, verdict(PASS, "x"), verdict(FAIL, "y", "regex"))
    new = one(PASS, verdict(PASS, "y", "regex"), verdict(PASS, "x"))
    table = flips(old, new)
    (flip,) = table.assertions
    assert (flip.type, flip.path, flip.before, flip.after, flip.reason_before) == ("regex", "0", FAIL, PASS, "why")
    assert flip.uid_before == flip.uid_after == "y"


def test_a_changed_assertion_is_compared_with_the_one_it_was() -> None:
    old = one(FAIL, verdict(FAIL, "x1"), verdict(PASS, "r", "regex"), verdict(PASS, "m1", metric="tone"))
    new = one(PASS, verdict(PASS, "m2", metric="tone"), verdict(PASS, "x2"), verdict(PASS, "r", "regex"))
    table = flips(old, new)
    (flip,) = table.assertions
    assert (flip.uid_before, flip.uid_after, flip.before, flip.after) == ("x1", "x2", FAIL, PASS)
    assert table.types == (
        TypeFlips("contains", {(PASS, PASS): 1, (FAIL, PASS): 1}, 0, 0, 2),
        TypeFlips("regex", {(PASS, PASS): 1}, 0, 0, 0),
    )


def test_added_and_removed_assertions_are_counted_and_are_no_flips() -> None:
    old = one(FAIL, verdict(FAIL, "x"), verdict(PASS, "gone", "latency"))
    new = one(FAIL, verdict(FAIL, "x"), verdict(PASS, "new", "regex"), verdict(ERROR, "newer", "regex"))
    table = flips(old, new)
    assert table.assertions == ()
    assert {each.type: (each.added, each.removed) for each in table.types} == {
        "contains": (0, 0), "regex": (2, 0), "latency": (0, 1)
    }  # fmt: skip


def test_assertions_inside_a_set_flip_too() -> None:
    def nested(outcome: Outcome) -> object:
        return verdict(PASS, "s", "assert-set", parts=(verdict(PASS, "x"), verdict(outcome, "y", "regex")))

    table = flips(one(PASS, nested(PASS)), one(PASS, nested(FAIL)))
    assert table.flipped == 0
    assert [(flip.path, flip.type, flip.after) for flip in table.assertions] == [("0.1", "regex", FAIL)]


def test_an_assertion_made_twice_in_one_case_is_two() -> None:
    old = one(FAIL, verdict(PASS, "x"), verdict(FAIL, "x"))
    new = one(FAIL, verdict(PASS, "x"), verdict(PASS, "x"), verdict(FAIL, "z", "regex"))
    (row, other) = flips(old, new).types
    assert (row.type, row.matrix) == ("contains", {(PASS, PASS): 1, (FAIL, PASS): 1})
    assert (other.type, other.added) == ("regex", 1)
