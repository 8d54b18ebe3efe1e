"""Every kind of assertion: pass, fail, negation, missing text, hostile answers."""

import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.core.answer import Answer
from promptcard_ext.core.assertions import Assertion, base
from promptcard_ext.core.assertions.base import compiled
from promptcard_ext.core.assertions.judging import judge
from promptcard_ext.core.assertions.limits import MAX_ANSWER_CHARS
from promptcard_ext.core.errors import CardError
from promptcard_ext.core.results import Outcome, Verdict
from tests.core.assertions.judged import ERROR, FAIL, PASS, UNSCORED, answer, outcome, verdict

SQL = {"allowedTables": ["select::.*"]}
EXAMPLES = [
    Assertion("contains", "a"),
    Assertion("icontains", "A"),
    Assertion("contains-any", ["a", "b"]),
    Assertion("icontains-any", "A, B"),
    Assertion("contains-all", ["a", "b"]),
    Assertion("icontains-all", "A, B"),
    Assertion("starts-with", "a"),
    Assertion("equals", "a"),
    Assertion("equals", {"a": 1}),
    Assertion("regex", "a+"),
    Assertion("word-count", 1),
    Assertion("levenshtein", "abc"),
    Assertion("is-json"),
    Assertion("is-json", {"type": "object", "properties": {"a": {"type": "integer"}}}),
    Assertion("contains-json"),
    Assertion("contains-json", {"type": "object", "properties": {"a": {"type": "integer"}}}),
    Assertion("is-xml"),
    Assertion("contains-xml", ["a.b"]),
    Assertion("is-html"),
    Assertion("contains-html"),
    Assertion("is-sql", SQL),
    Assertion("contains-sql", SQL),
    Assertion("rouge-n", "a b c"),
    Assertion("bleu", "a b c"),
    Assertion("gleu", "a b c"),
    Assertion("meteor", "a b c"),
    Assertion("tool-call-f1", "a"),
    Assertion("is-refusal"),
]
# These look at something else than the text.
OTHERS = [
    Assertion("latency", threshold=100),
    Assertion("cost", threshold=0.01),
    Assertion("finish-reason", "stop"),
    Assertion("perplexity", threshold=2),
    Assertion("perplexity-score", threshold=0.5),
    Assertion("is-valid-function-call"),
    Assertion("is-valid-openai-function-call"),
    Assertion("is-valid-openai-tools-call"),
]
OWN_MODULES = (
    "containment", "corpus", "distance", "hypertext", "markup", "perplexity", "refusal", "resource", "signals", "sql",
    "structure", "text", "tools", "words",
)  # fmt: skip


def test_the_examples_are_of_every_kind_that_is_a_function_of_the_answer() -> None:
    modules = {kind: compiler.__module__.rpartition(".")[2] for kind, compiler in base._COMPILERS.items()}
    own = {kind for kind, module in modules.items() if module in OWN_MODULES}
    assert {example.kind for example in EXAMPLES + OTHERS} == own
    assert all(compiled(example).check for example in EXAMPLES + OTHERS)


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


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.kind)
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


BEYOND_LIMITS = ("answer_too_long", "answer_too_deep", "answer_too_complex")


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("example", EXAMPLES + OTHERS, ids=lambda e: e.kind)
def test_a_hostile_answer_gets_its_verdict_quickly(example: Assertion, text: str) -> None:
    started = time.process_time()
    one = verdict(example, answer(text, cost="0.001", logprobs=(-0.1,), finish_reason="stop"))
    assert one.outcome in (PASS, FAIL) or one.reason in (*BEYOND_LIMITS, "pattern_too_costly", "no_text", "no_tools")
    assert (one.outcome is ERROR) == (one.reason == "pattern_too_costly")
    assert len(one.message) < 1000
    assert time.process_time() - started < 2


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.kind)
def test_ten_megabytes_are_judged_or_left_alone_but_never_taken_for_wrong(example: Assertion) -> None:
    text = "a, b and c\n" * 900_000
    started = time.process_time()
    one = verdict(example, answer(text))
    assert time.process_time() - started < 2
    if one.outcome is FAIL:
        assert example.kind in ("equals", "word-count", "levenshtein", "contains-sql", "is-refusal")
    elif one.outcome is not PASS:
        assert one.reason in (*BEYOND_LIMITS, "pattern_too_costly")


@pytest.mark.parametrize("kind", ["is-json", "not-is-json"])
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("deep", "answer_too_deep"),
        ("deep and closed", "answer_too_deep"),
        ("too long", "answer_too_long"),
        ("big number", "answer_too_complex"),
    ],
)
def test_an_answer_that_is_not_read_is_not_shown_to_be_wrong(kind: str, name: str, reason: str) -> None:
    one = verdict(Assertion(kind), answer(HOSTILE[name]))
    assert (one.outcome, one.reason) == (UNSCORED, reason)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("nan", "not_json"), ("infinity", "not_json"), ("empty", "not_json"), ("big exponent", None),
     ("json surrogate", None)],
)  # fmt: skip
def test_what_hostile_answers_are_as_json(name: str, reason: str | None) -> None:
    assert verdict(Assertion("is-json"), answer(HOSTILE[name])).reason == reason


def test_no_value_is_equal_to_an_answer_too_deep_to_be_read() -> None:
    for name in ("deep", "deep and closed", "big number"):
        assert verdict(Assertion("equals", [1]), answer(HOSTILE[name])).reason == "not_equal"


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


@given(st.lists(st.sampled_from(EXAMPLES + OTHERS), min_size=1, max_size=5), st.text() | st.none())
def test_negating_everything_never_makes_a_verdict_of_none(examples: list[Assertion], text: str | None) -> None:
    def judged(prefix: str) -> tuple[Verdict, ...]:
        checks = [compiled(msgspec.structs.replace(one, type=prefix + one.type)) for one in examples]
        generation = answer(text)
        return judge(checks, Answer(generation.output, generation, {}))

    for plain, negated in zip(judged(""), judged("not-"), strict=True):
        assert negated.outcome is plain.outcome.negated()
        assert (plain.outcome in (ERROR, UNSCORED)) == (negated.outcome in (ERROR, UNSCORED))
        assert (plain.reason is None) == (plain.outcome is PASS)


class TestCatastrophicPatterns:
    @pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+$", "(.*a){25}$", "^(([a-z])+.)+[A-Z]([a-z])+$"])
    def test_they_take_linear_time(self, pattern: str) -> None:
        started = time.process_time()
        outcome("regex", pattern, "a" * 100_000 + "!")
        assert time.process_time() - started < 2

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
        started = time.process_time()
        for text in ('"' + "a" * 50_000 + '!"', '{"' + "a" * 50_000 + '!": 1}'):
            assert outcome("is-json", schema, text) in (PASS, FAIL)
        assert time.process_time() - started < 2


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
        assert time.process_time() - started < 2

    def test_a_deep_answer_is_not_judged(self) -> None:
        one = verdict(Assertion("is-json", {"type": "array"}), answer("[" * 80 + "]" * 80))
        assert (one.outcome, one.reason) == (UNSCORED, "answer_too_deep")

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
        with pytest.raises(CardError, match="contains, contains-all, contains-any"):
            Assertion("zzzzz")

    @pytest.mark.parametrize(
        ("kind", "value", "threshold"),
        [
            ("contains", "", None), ("contains", None, None), ("contains", True, None), ("icontains", ["a"], None),
            ("starts-with", "", None),
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
        uids = {example.uid for example in EXAMPLES + OTHERS} | {Assertion("not-contains", "a").uid}
        assert len(uids) == len(EXAMPLES + OTHERS) + 1
        assert Assertion("latency", threshold=1).uid == Assertion("latency", threshold=1.0).uid

    def test_a_metric_comes_back_with_the_verdict(self) -> None:
        one = verdict(Assertion("contains", "a", metric="quality"), answer("a"))
        assert (one.metric, one.type, one.uid) == ("quality", "contains", Assertion("contains", "a").uid)
