"""Lines of JSON give back exactly what went in."""

import json
import math

import pytest
from hypothesis import given

from promptcard_ext.core.results import Generation, ItemResult
from promptcard_ext.local import records
from tests.local.values import GENERATIONS, HOSTILE, RESULTS, generation

decode = records.decoder(Generation)


@given(GENERATIONS)
def test_any_generation_comes_back_as_it_was(value: Generation) -> None:
    line = records.encode(value)
    assert b"\n" not in line
    assert decode(line) == value


@given(RESULTS)
def test_any_result_comes_back_as_it_was(value: ItemResult) -> None:
    assert records.decoder(ItemResult)(records.encode(value)) == value


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_texts_come_back_as_they_were(text: str) -> None:
    assert decode(records.encode(generation(text))).output == text


def test_numbers_that_json_does_not_know_come_back() -> None:
    value = decode(records.encode(generation(None, logprobs=(-math.inf, math.nan, math.inf, -0.0))))
    assert value.logprobs is not None
    assert str(value.logprobs) == "(-inf, nan, inf, -0.0)"
    assert value.output is None


def test_what_is_ordinary_is_ordinary_json() -> None:
    line = records.encode(generation("Straße 😀\x00"))
    assert json.loads(line)["output"] == "Straße 😀\x00"


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"\xff", b'{"provider": 1}', b"[" * 100_000, b"NaN", b"\0" * 50])
def test_what_is_no_record_is_a_value_error(line: bytes) -> None:
    with pytest.raises(ValueError):
        decode(line)
