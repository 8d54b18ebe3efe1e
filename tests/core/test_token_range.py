"""Ranges of token counts, against the counts of real tokenizers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.core.card import Message, ModelSettings
from promptcard_ext.core.token_range import most_prompt_tokens, prompt_tokens, tokens_of

# The first article of the Universal Declaration of Human Rights, a function and a record, with the counts of the
# tokenizers o200k, cl100k and of Llama 3.
COUNTED = json.loads(Path(__file__).with_name("counted_texts.json").read_text("utf-8"))
EVERY_TEXT = pytest.mark.parametrize("name", COUNTED)


@EVERY_TEXT
def test_the_range_holds_the_true_counts(name: str) -> None:
    counts, text = COUNTED[name].values()
    low, mid, high = tokens_of(text)
    assert low <= mid <= high
    # Short texts stray further than the long ones that the range was fitted to.
    assert low * 0.85 <= min(counts)
    assert max(counts) <= high * 1.7


@pytest.mark.parametrize("name", ["English", "Python", "JSON"])
def test_the_middle_is_near_for_english_and_code(name: str) -> None:
    counts, text = COUNTED[name].values()
    assert tokens_of(text).mid == pytest.approx(counts[0], rel=0.25)


@EVERY_TEXT
def test_the_most_is_never_less_than_the_true_count(name: str) -> None:
    counts, text = COUNTED[name].values()
    assert most_prompt_tokens([Message("user", text)]) >= max(counts)


@given(st.text(max_size=300))
def test_any_text_has_a_range_within_its_bytes(text: str) -> None:
    low, mid, high = tokens_of(text)
    assert 0 <= low <= mid <= high
    most = most_prompt_tokens([Message("user", text)])
    assert most <= len(text.encode("utf-8", "surrogatepass")) + 10
    assert most_prompt_tokens([Message("user", text), Message("user", "x")]) > most


@pytest.mark.parametrize("text", ["\x00\x1b" * 50, "\ud800" * 50, "🙂" * 50, "\U0010ffff", "\u0080", " " * 1000, ""])
def test_odd_texts_have_a_range_too(text: str) -> None:
    low, _, high = tokens_of(text)
    assert 0 <= low <= high < 1000


def test_what_is_sent_beside_the_messages_counts() -> None:
    messages = [Message("system", "Be brief."), Message("user", "Hello")]
    schema = ModelSettings(response_format={"type": "json_schema", "json_schema": {"name": "x" * 200}})
    assert prompt_tokens(messages).mid < prompt_tokens(messages, schema).mid
    assert most_prompt_tokens(messages) < most_prompt_tokens(messages, schema)
    assert prompt_tokens(messages) == prompt_tokens(messages, ModelSettings(temperature=0.5, max_tokens=10))
