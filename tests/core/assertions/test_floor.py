"""What a user of promptfoo expects: its kinds under their names, with their defaults; and what is left out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from promptcard_ext.core.assertions import Assertion, kinds
from promptcard_ext.core.errors import CardError
from promptcard_ext.interchange.csv_expected import PROMPTFOO_KINDS
from tests.core.assertions.asker import Asks, graded, text
from tests.core.assertions.judged import ERROR, FAIL, PASS, UNSCORED, answer, of, verdict

PAGE = Path(__file__).parents[3] / "docs" / "users" / "assertions.md"
GROUPS = {
    "text": "equals contains icontains contains-any contains-all icontains-any icontains-all starts-with regex "
    "word-count levenshtein",
    "structure": "is-json contains-json is-xml contains-xml is-html contains-html is-sql contains-sql",
    "corpus": "rouge-n bleu gleu meteor perplexity perplexity-score",
    "resource": "latency cost",
    "signals": "finish-reason is-refusal",
    "tools": "is-valid-function-call is-valid-openai-function-call is-valid-openai-tools-call tool-call-f1",
    "similarity": "similar similar:cosine similar:dot similar:euclidean",
    "judged": "llm-rubric g-eval factuality model-graded-factuality model-graded-closedqa answer-relevance "
    "context-faithfulness context-recall context-relevance conversation-relevance",
    "cross-output": "select-best max-score human",
    "composition": "assert-set",
    "custom": "python",
}
FLOOR = {kind for group in GROUPS.values() for kind in group.split()}


def left_out() -> set[str]:
    section = PAGE.read_text("utf-8").partition("## Left out")[2]
    rows = [line.split("|") for line in section.splitlines() if line.startswith("| `")]
    assert all(what.strip() and instead.strip() for _, _, what, instead, _ in rows)
    return {kind for row in rows for kind in re.findall(r"`([a-z0-9:-]+)`", row[1])}


@pytest.mark.parametrize("group", GROUPS)
def test_every_kind_of_the_floor_is_there(group: str) -> None:
    assert set(GROUPS[group].split()) - set(kinds()) == set()


def test_every_other_kind_is_left_out_with_what_it_needs_and_what_to_do_instead() -> None:
    assert left_out() == PROMPTFOO_KINDS - FLOOR
    assert left_out() & set(kinds()) == set()


@pytest.mark.parametrize("kind", sorted(PROMPTFOO_KINDS - FLOOR))
def test_one_that_is_left_out_is_refused_by_name_and_never_passes_unseen(kind: str) -> None:
    with pytest.raises(CardError) as caught:
        Assertion(kind, "x")
    assert caught.value.code == "assertion_unknown"
    assert kind in caught.value.message


@pytest.mark.parametrize("kind", ["unsupported", "not-unsupported"])
def test_the_place_of_one_that_does_not_run_is_neither_passed_nor_failed(kind: str) -> None:
    one = of(kind, "{}", "any answer", weight=0, metric="javascript")
    assert (one.outcome, one.reason) == (UNSCORED, "not_carried_over")
    assert one.message.startswith("javascript ")


TEN = "a b c d e f g h i j"


@pytest.mark.parametrize(
    ("kind", "value", "holds", "holds_not"),
    [
        # Five characters may differ.
        ("levenshtein", "abcdefghij", "abcdeVWXYZ", "abcdUVWXYZ"),
        # Three words of four are 0.75.
        ("rouge-n", "a b c d", "a b c", "a b"),
        # Of the reference's 34 n-grams 18, then 14.
        ("gleu", TEN, "a b c d e f", "a b c d e"),
        # All tools, and no other one.
        ("tool-call-f1", "a, b", '[{"name": "a", "arguments": {}}, {"name": "b", "arguments": {}}]',
         '[{"name": "a", "arguments": {}}]'),
        # MySQL quotes names with backticks.
        ("is-sql", None, "SELECT `a` FROM t", "SELECT TOP 3 [a] FROM t"),
        ("contains-sql", None, "```sql\nSELECT `a` FROM t\n```", "```sql\nSELECT TOP 3 [a] FROM t\n```"),
    ],
)  # fmt: skip
def test_defaults_of_what_is_computed(kind: str, value: Any, holds: str, holds_not: str) -> None:
    assert (of(kind, value, holds).outcome, of(kind, value, holds_not).outcome) == (PASS, FAIL)


@pytest.mark.parametrize(
    ("kind", "near", "far"),
    [
        ("similar", (3.0, 2.6), (3.0, 2.7)),
        ("similar:cosine", (3.0, 2.6), (3.0, 2.7)),
        ("similar:dot", (0.75, 1.0), (0.74, 1.0)),
        ("similar:euclidean", (1.0, 0.75), (1.0, 0.76)),
    ],
)
def test_defaults_of_similarity_are_three_quarters(kind: str, near: tuple[float, float], far: Any) -> None:
    for vector, outcome in ((near, PASS), (far, FAIL)):
        vectors = {"answer": vector, "reference": (1.0, 0.0)}
        assert graded(Assertion(kind, "reference"), text("answer"), Asks(vectors=vectors.get)).outcome is outcome


@pytest.mark.parametrize("kind", ["perplexity", "perplexity-score"])
def test_without_a_threshold_perplexity_only_measures(kind: str) -> None:
    one = verdict(Assertion(kind), answer("x", logprobs=(-5.0, -7.0)))
    assert (one.outcome, one.score is not None) == (PASS, True)


@pytest.mark.parametrize("kind", ["latency", "cost"])
def test_a_resource_has_no_default(kind: str) -> None:
    with pytest.raises(CardError, match="threshold"):
        Assertion(kind)


class TestWhereWeDiffer:
    """Each of these is a pass, a fail or a crash elsewhere."""

    @pytest.mark.parametrize("prefix", ["", "not-"])
    @pytest.mark.parametrize(
        ("kind", "fields", "reason"),
        [
            ("finish-reason", {"value": "stop"}, "no_finish_reason"),
            ("cost", {"threshold": 1}, "unpriced"),
            ("perplexity", {"threshold": 2}, "no_logprobs"),
            ("is-valid-function-call", {}, "no_tools"),
        ],
    )
    def test_absent_evidence_is_no_evidence(self, prefix: str, kind: str, fields: dict[str, Any], reason: str) -> None:
        one = verdict(Assertion(prefix + kind, **fields), answer("text"))
        assert (one.outcome, one.reason) == (UNSCORED, reason)

    @pytest.mark.parametrize("prefix", ["", "not-"])
    def test_an_empty_answer_is_no_refusal(self, prefix: str) -> None:
        assert of(f"{prefix}is-refusal", None, " \n").outcome is UNSCORED

    def test_white_space_around_the_answer_does_not_make_it_another_one(self) -> None:
        assert of("equals", "Paris", "\nParis ").outcome is PASS
        assert of("starts-with", "Paris", "\nParis it is").outcome is PASS
        assert of("equals", "Paris", "Par is").outcome is FAIL

    def test_a_threshold_of_zero_is_one(self) -> None:
        assert of("levenshtein", "abc", "abd", threshold=0).outcome is FAIL

    def test_an_entity_is_not_html(self) -> None:
        assert of("contains-html", None, 'Fish &amp; chips, a="b"').outcome is FAIL

    @pytest.mark.parametrize("kind", ["is-json", "not-is-json"])
    def test_a_schema_that_is_not_valid_judges_nothing(self, kind: str) -> None:
        with pytest.raises(CardError):
            Assertion(kind, {"type": "nonsense"})

    @pytest.mark.parametrize("kind", ["contains", "not-contains"])
    def test_a_transform_without_its_variable_breaks_the_check_and_not_the_answer(self, kind: str) -> None:
        one = of(kind, "x", "x", transform="{{ vars.nothing }}")
        assert (one.outcome, one.reason) == (ERROR, "missing_variable")
