"""Every kind of assertion: pass, fail, negation, missing text, hostile answers."""

import time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.core.answer import Answer
from promptcard_ext.core.assertions import Assertion, kinds
from promptcard_ext.core.assertions.base import compiled
from promptcard_ext.core.assertions.judging import judge
from promptcard_ext.core.assertions.structure import MAX_ANSWER_CHARS
from promptcard_ext.core.errors import CardError
from promptcard_ext.core.results import Generation, Outcome, Verdict

PASS, FAIL, ERROR, UNSCORED = Outcome.PASS, Outcome.FAIL, Outcome.ERROR, Outcome.UNSCORED
EXAMPLES = [
    Assertion("contains", "a"),
    Assertion("icontains", "A"),
    Assertion("equals", "a"),
    Assertion("equals", {"a": 1}),
    Assertion("regex", "a+"),
    Assertion("is-json"),
    Assertion("is-json", {"type": "object", "properties": {"a": {"type": "integer"}}}),
    Assertion("latency", threshold=100),
    Assertion("cost", threshold=0.01),
]


def answer(text: str | None, latency_ms: float = 1.0, cost: str | None = None) -> Generation:
    return Generation("p", "m", "h", text, latency_ms, cost_usd=None if cost is None else Decimal(cost))


def verdict(assertion: Assertion, generation: Generation) -> Verdict:
    (one,) = judge([compiled(assertion)], Answer(generation.output, generation, {}))
    return one


def outcome(kind: str, value: Any, text: str | None, **more: Any) -> Outcome:
    return verdict(Assertion(kind, value), answer(text, **more)).outcome


def test_the_examples_are_of_every_kind() -> None:
    assert {example.kind for example in EXAMPLES} == set(kinds())


@pytest.mark.parametrize(
    ("kind", "value", "text", "expected", "reason"),
    [
        ("contains", "cat", "a cat", PASS, None),
        ("contains", "Cat", "a cat", FAIL, "not_contained"),
        ("icontains", "CAT", "a cat", PASS, None),
        ("icontains", "STRASSE", "die Straße", PASS, None),
        ("icontains", "dog", "a cat", FAIL, "not_contained"),
        ("equals", "cat", " cat\n", PASS, None),
        ("equals", " cat ", "cat", PASS, None),
        ("equals", "cat", "Cat", FAIL, "not_equal"),
        ("equals", 5, "5", PASS, None),
        ("equals", 5, "5.0", PASS, None),
        ("equals", 1, "true", FAIL, "not_equal"),
        ("equals", True, "1", FAIL, "not_equal"),
        ("equals", {"a": [1]}, '{ "a" : [1] }', PASS, None),
        ("equals", {"a": [1]}, '{"a": [true]}', FAIL, "not_equal"),
        ("equals", 5, "five", FAIL, "not_json"),
        ("regex", r"^\d{3}$", "123", PASS, None),
        ("regex", r"^\d{3}$", "1234", FAIL, "no_match"),
        ("regex", r"b.d", "xx bad xx", PASS, None),
        ("is-json", None, "[1]", PASS, None),
        ("is-json", None, "Sure: [1]", FAIL, "not_json"),
        ("is-json", {"type": "array"}, "[1]", PASS, None),
        ("is-json", {"type": "array"}, "{}", FAIL, "schema_mismatch"),
        ("is-json", {}, "5", PASS, None),
    ],
)
def test_what_holds_and_what_does_not(kind: str, value: Any, text: str, expected: Outcome, reason: str | None) -> None:
    one = verdict(Assertion(kind, value), answer(text))
    assert (one.outcome, one.reason) == (expected, reason)
    assert bool(one.message) == (expected is not PASS)
    other = verdict(Assertion(f"not-{kind}", value), answer(text))
    assert other.outcome is expected.negated()
    assert other.reason == (f"{kind}_held" if expected is PASS else None)


@pytest.mark.parametrize("example", [e for e in EXAMPLES if e.kind not in ("latency", "cost")], ids=lambda e: e.kind)
@pytest.mark.parametrize("negated", [False, True])
def test_an_answer_without_text_is_unscored_either_way(example: Assertion, negated: bool) -> None:
    one = verdict(Assertion("not-" * negated + example.kind, example.value), answer(None))
    assert (one.outcome, one.reason) == (UNSCORED, "no_text")


def test_latency_has_a_limit() -> None:
    assert verdict(Assertion("latency", threshold=100), answer("x", 100.0)).outcome is PASS
    late = verdict(Assertion("latency", threshold=100), answer("x", 100.1))
    assert (late.outcome, late.reason) == (FAIL, "too_slow")
    assert verdict(Assertion("latency", 100), answer(None, 5.0)).outcome is PASS


def test_cost_has_a_limit_and_an_unknown_price_is_not_free() -> None:
    limit = Assertion("cost", threshold=0.01)
    assert verdict(limit, answer("x", cost="0.01")).outcome is PASS
    assert verdict(limit, answer("x", cost="0.010000001")).reason == "too_expensive"
    for assertion in (limit, Assertion("not-cost", threshold=0.01)):
        one = verdict(assertion, answer("x"))
        assert (one.outcome, one.reason) == (UNSCORED, "unpriced")


HOSTILE = {
    "nul": "a\x00b",
    "surrogate": "a\ud800",
    "megabyte": "a" * 1_000_000,
    "deep": "[" * 100_000,
    "deep and closed": "[" * 100_000 + "]" * 100_000,
    "nan": "NaN",
    "infinity": "[-Infinity]",
    "big number": "9" * 100_000,
    "big exponent": "1e999999",
    "twice": '{"a": 1, "a": "x"}',
    "empty": "",
    "control": "\x1b[31m\u202e",
    "too long": "[" + "1," * MAX_ANSWER_CHARS + "1]",
    "json surrogate": '"\\ud800"',
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.kind)
def test_a_hostile_answer_gets_a_definite_verdict_quickly(example: Assertion, text: str) -> None:
    started = time.monotonic()
    one = verdict(example, answer(text, cost="0.001"))
    assert one.outcome in (PASS, FAIL)
    assert len(one.message) < 1000
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nan", "not_json"),
        ("infinity", "not_json"),
        ("deep", "not_json"),
        ("deep and closed", "not_json"),
        ("too long", "answer_too_long"),
        ("empty", "not_json"),
        ("big exponent", None),
        ("json surrogate", None),
    ],
)
def test_what_hostile_answers_are_as_json(name: str, reason: str | None) -> None:
    assert verdict(Assertion("is-json"), answer(HOSTILE[name])).reason == reason


def test_of_a_key_given_twice_the_last_one_counts() -> None:
    schema = {"properties": {"a": {"type": "string"}}}
    assert outcome("is-json", schema, '{"a": 1, "a": "x"}') is PASS
    assert outcome("is-json", schema, '{"a": "x", "a": 1}') is FAIL


def test_a_nul_or_a_surrogate_can_be_looked_for() -> None:
    assert outcome("contains", "\x00", "a\x00b") is PASS
    assert outcome("regex", r"a\x00b", "a\x00b") is PASS
    assert outcome("contains", "\ud800", "a\ud800") is PASS
    assert outcome("regex", r"^a.$", "a\ud800") is PASS


@given(st.text(), st.text(min_size=1))
def test_contains_is_containing(text: str, part: str) -> None:
    assert (outcome("contains", part, text) is PASS) == (part in text)


@given(st.lists(st.sampled_from(EXAMPLES), min_size=1, max_size=5), st.text() | st.none())
def test_negating_everything_never_makes_a_verdict_of_none(examples: list[Assertion], text: str | None) -> None:
    def judged(prefix: str) -> tuple[Verdict, ...]:
        checks = [compiled(Assertion(prefix + one.kind, one.value, one.threshold)) for one in examples]
        generation = answer(text)
        return judge(checks, Answer(generation.output, generation, {}))

    for plain, negated in zip(judged(""), judged("not-"), strict=True):
        assert negated.outcome is plain.outcome.negated()
        assert (plain.outcome in (ERROR, UNSCORED)) == (negated.outcome in (ERROR, UNSCORED))
        assert (plain.reason is None) == (plain.outcome is PASS)


class TestCatastrophicPatterns:
    @pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+$", "(.*a){25}$", "^(([a-z])+.)+[A-Z]([a-z])+$"])
    def test_they_take_linear_time(self, pattern: str) -> None:
        started = time.monotonic()
        outcome("regex", pattern, "a" * 100_000 + "!")
        assert time.monotonic() - started < 2

    @pytest.mark.parametrize(
        "schema",
        [
            {"pattern": "(a+)+$"},
            {"patternProperties": {"^(a+)+$": {}}, "additionalProperties": False},
            {"patternProperties": {"^(a+)+$": False}},
            {"propertyNames": {"pattern": "^(a+)+$"}},
            {"$schema": "http://json-schema.org/draft-07/schema#", "allOf": [{"pattern": "(a+)+$"}]},
            {"allOf": [{"$schema": "http://json-schema.org/draft-07/schema#", "pattern": "(a+)+$"}]},
            {"$schema": "https://json-schema.org/draft/2020-12/schema", "$ref": "#/$defs/a",
             "$defs": {"a": {"pattern": "(a+)+$"}}},
        ],
    )  # fmt: skip
    def test_also_in_a_schema(self, schema: dict[str, Any]) -> None:
        started = time.monotonic()
        for text in ('"' + "a" * 50_000 + '!"', '{"' + "a" * 50_000 + '!": 1}'):
            assert outcome("is-json", schema, text) in (PASS, FAIL)
        assert time.monotonic() - started < 3


class TestSchemas:
    @pytest.mark.parametrize(
        ("schema", "good", "bad"),
        [
            ({"pattern": r"^\p{L}+$"}, '"Straße"', '"a1"'),
            ({"patternProperties": {"^x-": {"type": "integer"}}, "additionalProperties": False},
             '{"x-a": 1}', '{"y": 1}'),
            ({"properties": {"a": {}}, "additionalProperties": {"type": "integer"}}, '{"a": "s", "b": 1}',
             '{"b": "s"}'),
            ({"uniqueItems": True}, "[1, true, [1], [true], {}]", "[1, 2, 1.0]"),
            ({"uniqueItems": False}, "[1, 1]", None),
            ({"required": ["a"]}, '{"a": null}', "{}"),
            ({"properties": {"pattern": {"type": "string"}, "$ref": {"type": "string"}}}, '{"pattern": "("}',
             '{"pattern": 1}'),
            ({"$ref": "#/$defs/n", "$defs": {"n": {"type": "integer"}}}, "1", '"x"'),
            ({"unevaluatedProperties": False, "properties": {"a": {}}}, '{"a": 1}', '{"b": 1}'),
            ({"enum": ["a", 1]}, '"a"', "true"),
        ],
    )  # fmt: skip
    def test_they_mean_what_they_say(self, schema: dict[str, Any], good: str, bad: str | None) -> None:
        assert outcome("is-json", schema, good) is PASS
        if bad is not None:
            one = verdict(Assertion("is-json", schema), answer(bad))
            assert (one.outcome, one.reason) == (FAIL, "schema_mismatch")
            assert one.message.startswith("At $")

    @pytest.mark.parametrize(
        "schema",
        [
            {"$ref": "https://example.com/s.json"},
            {"$ref": "file:///etc/passwd"},
            {"properties": {"a": {"$ref": "other.json#/a"}}},
            {"$dynamicRef": "http://x"},
            {"type": "nonsense"},
            {"properties": 5},
            {"patternProperties": 5},
            {"pattern": "(?=look)"},
            {"pattern": "("},
            {"patternProperties": {"(?<n>a)\\k<n>": {}}},
            {"unevaluatedProperties": False, "patternProperties": {"a": {}}},
            {"enum": ["x" * 60_000]},
        ],
    )
    def test_what_cannot_be_used_is_refused_before_the_run(self, schema: dict[str, Any]) -> None:
        with pytest.raises(CardError) as caught:
            Assertion("is-json", schema)
        assert caught.value.code == "assertion_invalid"

    def test_a_deep_schema_is_refused(self) -> None:
        schema: dict[str, Any] = {}
        for _ in range(100):
            schema = {"not": schema}
        with pytest.raises(CardError, match="deeper"):
            Assertion("is-json", schema)

    def test_a_schema_that_never_ends_is_our_error_and_not_a_fail(self) -> None:
        levels: dict[str, Any] = {f"a{i}": {"allOf": [{"$ref": f"#/$defs/a{i + 1}"}] * 2} for i in range(40)}
        bomb = {"$ref": "#/$defs/a0", "$defs": levels | {"a40": {"type": "object"}}}
        for kind in ("is-json", "not-is-json"):
            one = verdict(Assertion(kind, bomb), answer("{}"))
            assert (one.outcome, one.reason) == (ERROR, "schema_too_costly")
        circle = verdict(Assertion("is-json", {"$ref": "#"}), answer("{}"))
        assert circle.outcome is ERROR

    def test_many_different_items_are_compared_in_linear_time(self) -> None:
        started = time.process_time()  # a busy machine must not decide it
        text = "[" + ",".join(f'{{"a":{i}}}' for i in range(50_000)) + "]"
        assert outcome("is-json", {"uniqueItems": True}, text) is PASS
        assert time.process_time() - started < 3

    def test_a_deep_answer_fails_with_its_reason(self) -> None:
        assert verdict(Assertion("is-json", {"type": "array"}), answer("[" * 80 + "]" * 80)).reason == "answer_too_deep"

    def test_later_changes_of_the_callers_mapping_do_not_reach_it(self) -> None:
        schema = {"type": "string", "title": "of this test"}
        Assertion("is-json", schema)
        schema["type"] = "integer"
        assert outcome("is-json", {"type": "string", "title": "of this test"}, '"x"') is PASS


class TestSpecifications:
    @pytest.mark.parametrize("kind", ["contain", "not-contain", "Contains"])
    def test_a_kind_that_does_not_exist_gets_a_proposal(self, kind: str) -> None:
        with pytest.raises(CardError) as caught:
            Assertion(kind, "x")
        assert caught.value.code == "assertion_unknown"
        assert ("not-" * kind.startswith("not-") + "contains") in caught.value.hint

    def test_one_that_resembles_none_gets_the_list(self) -> None:
        with pytest.raises(CardError, match="contains, cost, equals"):
            Assertion("zzzzz")

    @pytest.mark.parametrize(
        ("kind", "value", "threshold"),
        [
            ("contains", "", None), ("contains", None, None), ("contains", 5, None), ("icontains", ["a"], None),
            ("regex", "", None), ("regex", "(", None), ("regex", "(?=a)", None), ("regex", r"(a)\1", None),
            ("regex", "\ud800", None), ("regex", "a" * 3000, None), ("regex", "a{1000}{1000}", None),
            ("equals", None, None), ("equals", float("nan"), None), ("equals", object(), None),
            ("is-json", "text", None), ("is-json", [1], None), ("latency", None, None), ("latency", "fast", None),
            ("latency", None, -1), ("latency", True, None), ("latency", None, float("nan")),
            ("cost", None, None), ("cost", None, float("inf")),
        ],
    )  # fmt: skip
    def test_one_that_cannot_be_used_is_refused(self, kind: str, value: Any, threshold: float | None) -> None:
        with pytest.raises(CardError) as caught:
            Assertion(kind, value, threshold)
        assert caught.value.code == "assertion_invalid"
        assert kind in caught.value.message
        assert len(caught.value.message) < 500

    def test_the_identity_is_what_is_asserted(self) -> None:
        assert Assertion("contains", "a").uid == Assertion("contains", "a", metric="m").uid
        uids = {example.uid for example in EXAMPLES} | {Assertion("not-contains", "a").uid}
        assert len(uids) == len(EXAMPLES) + 1
        assert Assertion("latency", threshold=1).uid == Assertion("latency", threshold=1.0).uid

    def test_a_metric_comes_back_with_the_verdict(self) -> None:
        one = verdict(Assertion("contains", "a", metric="quality"), answer("a"))
        assert (one.metric, one.type, one.uid) == ("quality", "contains", Assertion("contains", "a").uid)
