"""Values for the tests of what is kept on disk."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from promptcard_ext.core.results import Call, Generation, ItemResult, Outcome, Tokens, Verdict

HOSTILE = {
    "nul": "a\x00b",
    "surrogate": "a\ud800b",
    "pair of surrogates": "\ud83d\ude00",
    "real emoji": "😀",
    "line ends": "a\nb\r\nc\u2028d\u0085e",
    "control": "\x1b[31m\u202e\x7f",
    "quotes": '"\\"\\ud800',
    "empty": "",
    "null": "null",
    "large": "x" * 300_000,
}

# Unlike text(), with surrogates.
TEXTS = st.text(st.characters(codec=None) | st.characters(categories=["Cs"]), max_size=20)
FLOATS = st.floats(allow_nan=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | FLOATS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
GENERATIONS = st.builds(
    Generation,
    provider=TEXTS,
    model=TEXTS,
    request_hash=TEXTS,
    output=st.none() | TEXTS,
    latency_ms=FLOATS,
    tokens=st.builds(Tokens, input=st.none() | st.integers(0, 10**9)),
    cost_usd=st.none() | st.decimals(allow_nan=False, allow_infinity=False, places=6),
    tool_calls=JSON,
    logprobs=st.none() | st.lists(FLOATS, max_size=3).map(tuple),
)
RESULTS = st.builds(
    ItemResult,
    ordinal=st.integers(0, 50),
    card=TEXTS,
    version=st.integers(0, 9),
    label=TEXTS,
    model=TEXTS,
    case=TEXTS,
    case_uid=TEXTS,
    repeat=st.integers(0, 9),
    outcome=st.sampled_from(Outcome),
    message=TEXTS,
    verdicts=st.lists(
        st.builds(Verdict, uid=TEXTS, type=TEXTS, outcome=st.sampled_from(Outcome), score=st.none() | FLOATS),
        max_size=2,
    ).map(tuple),
    generation=st.none() | GENERATIONS,
    calls=st.lists(st.builds(Call, purpose=TEXTS, generation=GENERATIONS), max_size=1).map(tuple),
)


def generation(output: str | None = "hello", **more: Any) -> Generation:
    return Generation("openai", "gpt", "h", output, 12.5, Tokens(10, 20), cost_usd=Decimal("0.0012"), **more)


def result(ordinal: int, output: str | None = "hello", outcome: Outcome = Outcome.PASS) -> ItemResult:
    verdicts = (Verdict("u", "contains", outcome),)
    return ItemResult(
        ordinal, "card", 1, "card@1", "openai:gpt", f"case {ordinal}", "uid", 0, outcome, verdicts=verdicts,
        generation=generation(output),
    )  # fmt: skip
