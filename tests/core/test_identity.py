"""Identity by content."""

import json
import random

from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.core.identity import canonical_json, digest, json_key

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


def shuffled(value: object, chance: random.Random) -> object:
    if isinstance(value, dict):
        keys = list(value)
        chance.shuffle(keys)
        return {key: shuffled(value[key], chance) for key in keys}
    return [shuffled(item, chance) for item in value] if isinstance(value, list) else value


@given(VALUES, st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_matter(value: object, chance: random.Random) -> None:
    assert digest(shuffled(value, chance)) == digest(value)


@given(VALUES)
def test_it_survives_json(value: object) -> None:
    text = canonical_json(value)
    assert json.loads(text) == value
    assert canonical_json(json.loads(text)) == text


@given(VALUES, VALUES)
def test_it_is_the_same_exactly_for_the_same_json(one: object, two: object) -> None:
    assert (digest(one) == digest(two)) == (canonical_json(one) == canonical_json(two))


@given(VALUES, VALUES)
def test_a_key_tells_json_values_apart_as_json_does(one: object, two: object) -> None:
    def normal(value: object) -> object:
        if isinstance(value, bool) or not isinstance(value, int | float | list | dict):
            return value if value is None or isinstance(value, str) else f"bool {value}", type(value).__name__
        if isinstance(value, list):
            return [normal(item) for item in value]
        if isinstance(value, dict):
            return {key: normal(item) for key, item in value.items()}
        return value

    assert (json_key(one) == json_key(two)) == (normal(one) == normal(two))


def test_true_is_not_one_and_one_is_one_point_zero() -> None:
    assert json_key(1) == json_key(1.0)
    assert json_key([True]) != json_key([1])
    assert json_key({"a": 0}) != json_key({"a": False})
    assert json_key(["list", ()]) != json_key([])
