"""Tool calls: their shapes, their arguments, their names."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.core.answer import Answer
from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.assertions.base import compiled
from promptcard_ext.core.assertions.judging import check_one
from promptcard_ext.core.assertions.tools import calls_of
from promptcard_ext.core.results import Verdict
from tests.core.assertions.judged import ERROR, FAIL, PASS, UNSCORED, answer

WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS = (
    {"type": "function", "function": {"name": "weather", "parameters": WEATHER}},
    {"type": "function", "function": {"name": "now"}},
)
VALID = ["is-valid-function-call", "is-valid-openai-function-call", "is-valid-openai-tools-call"]


class Settings(NamedTuple):
    tools: Sequence[Mapping[str, Any]] = TOOLS


def call(name: Any = "weather", arguments: Any = '{"city": "Oslo"}') -> dict[str, Any]:
    return {"id": "1", "type": "function", "function": {"name": name, "arguments": arguments}}


def judged(
    kind: str, calls: Any, text: str | None = None, tools: Sequence[Mapping[str, Any]] = TOOLS, **more: Any
) -> Verdict:
    generation = answer(text, tool_calls=calls)
    settings: Any = Settings(tools)
    return check_one(compiled(Assertion(kind, **more)), Answer(text, generation, {}, (), settings))


@pytest.mark.parametrize("kind", VALID)
@pytest.mark.parametrize(
    ("calls", "reason"),
    [
        ([call()], None),
        ([call(arguments={"city": "Oslo", "days": 2})], None),
        ([call("now", "")], None),
        ([call("now", None)], None),
        ([call(), call("now", "{}")], None),
        ([call("book")], "unknown_tool"),
        ([call(None)], "unknown_tool"),
        ([call(5)], "unknown_tool"),
        ([call(arguments="{city: Oslo}")], "arguments_not_json"),
        ([call(arguments='{"city": NaN}')], "arguments_not_json"),
        ([call(arguments="\ud800")], "arguments_not_json"),
        ([call(arguments="[1]")], "arguments_mismatch"),
        ([call(arguments='"Oslo"')], "arguments_mismatch"),
        ([call(arguments="{}")], "arguments_mismatch"),
        ([call(arguments='{"city": 5}')], "arguments_mismatch"),
        ([call(arguments='{"city": "Oslo", "zip": 1}')], "arguments_mismatch"),
        ([call(), call("book")], "unknown_tool"),
        ("nonsense", "no_tool_call"),
        ([5, None, "x", {}], "no_tool_call"),
    ],
)
def test_every_call_fits_a_tool_that_was_offered(kind: str, calls: Any, reason: str | None) -> None:
    one = judged(kind, calls)
    assert (one.outcome, one.reason) == (PASS if reason is None else FAIL, reason)
    assert judged(f"not-{kind}", calls).outcome is one.outcome.negated()


@pytest.mark.parametrize("prefix", ["", "not-"])
@pytest.mark.parametrize("kind", VALID)
class TestAbsentEvidence:
    def test_without_tools_there_is_nothing_to_compare_with(self, kind: str, prefix: str) -> None:
        one = judged(prefix + kind, [call()], tools=())
        assert (one.outcome, one.reason) == (UNSCORED, "no_tools")

    def test_no_text_and_no_call_is_no_answer(self, kind: str, prefix: str) -> None:
        one = judged(prefix + kind, None)
        assert (one.outcome, one.reason) == (UNSCORED, "no_text")

    def test_arguments_too_deep_are_not_judged(self, kind: str, prefix: str) -> None:
        for depth in (80, 100_000):
            one = judged(prefix + kind, [call(arguments='{"city":' + "[" * depth + "]" * depth + "}")])
            assert (one.outcome, one.reason) == (UNSCORED, "answer_too_deep")

    def test_a_schema_that_cannot_be_used_is_an_error(self, kind: str, prefix: str) -> None:
        one = judged(prefix + kind, [call("x")], tools=[{"name": "x", "input_schema": {"type": "nonsense"}}])
        assert (one.outcome, one.reason) == (ERROR, "assertion_invalid")

    def test_a_schema_too_costly_is_an_error(self, kind: str, prefix: str) -> None:
        levels: dict[str, Any] = {f"a{i}": {"allOf": [{"$ref": f"#/$defs/a{i + 1}"}] * 2} for i in range(40)}
        bomb = {"$ref": "#/$defs/a0", "$defs": levels | {"a40": {}}}
        one = judged(prefix + kind, [call("x")], tools=[{"name": "x", "parameters": bomb}])
        assert (one.outcome, one.reason) == (ERROR, "schema_too_costly")


def test_one_wrong_call_decides_whatever_is_unknown_of_another() -> None:
    deep = call(arguments='{"city":' + "[" * 80 + "]" * 80 + "}")
    assert judged(VALID[0], [deep, call("book")]).reason == "unknown_tool"
    assert judged(VALID[0], [call(), deep]).reason == "answer_too_deep"


def test_what_an_earlier_answer_took_is_not_counted_for_this_one() -> None:
    levels: dict[str, Any] = {f"a{i}": {"allOf": [{"$ref": f"#/$defs/a{i + 1}"}] * 2} for i in range(40)}
    bomb = {"$ref": "#/$defs/a0", "$defs": levels | {"a40": {}}}
    assert judged(VALID[0], [call("x")], tools=[{"name": "x", "parameters": bomb}]).reason == "schema_too_costly"
    deep = call(arguments='{"city":' + "[" * 80 + "]" * 80 + "}")
    assert judged(VALID[0], [deep, call()]).reason == "answer_too_deep"


SHAPES = {
    "openai": [call("a", "{}"), call("b", "{}")],
    "responses": [{"type": "function_call", "name": "a", "arguments": "{}", "call_id": "1"},
                  {"type": "reasoning", "name": "no", "arguments": ""},
                  {"type": "function_call", "name": "b", "arguments": ""}],
    "anthropic": [{"type": "text", "text": "Let me see."}, {"type": "tool_use", "name": "a", "input": {}},
                  {"type": "tool_use", "name": "b", "input": {}}],
    "google": [{"functionCall": {"name": "a", "args": {}}}, {"functionCall": {"name": "b", "args": {}}}],
    "ollama": [{"function": {"name": "a", "arguments": {}}}, {"function": {"name": "b", "arguments": {}}}],
    "message": {"role": "assistant", "tool_calls": [call("a", "{}"), call("b", "{}")]},
    "legacy": [{"function_call": {"name": "a", "arguments": "{}"}}, {"name": "b", "arguments": "{}"}],
}  # fmt: skip


@pytest.mark.parametrize("calls", SHAPES.values(), ids=SHAPES)
def test_the_shapes_of_several_protocols_are_understood(calls: Any) -> None:
    text = json.dumps(calls)
    for generation in (answer(None, tool_calls=calls), answer(text)):
        assert [one.name for one in calls_of(Answer(generation.output, generation, {}))] == ["a", "b"]


def test_after_a_transform_the_calls_are_those_in_its_text() -> None:
    text = json.dumps({"plan": [call("now", "{}")]})
    one = judged("tool-call-f1", [call("weather")], text, value="now", transform="{{ json.plan | tojson }}")
    assert one.outcome is PASS


@pytest.mark.parametrize(
    ("expected", "called", "score"),
    [
        ("weather, now", ["weather", "now"], 1),
        (["weather", "now"], ["now", "weather", "now"], 1),
        (["weather", "now"], ["weather"], 2 / 3),
        (["weather", "now"], ["weather", "now", "book"], 4 / 5),
        (["weather"], ["book"], 0),
        (["weather"], [], 0),
    ],
)
def test_f1_of_the_tools_called(expected: Any, called: list[str], score: float) -> None:
    calls = [call(name) for name in called] or None
    one = judged("tool-call-f1", calls, "text", value=expected)
    assert one.score == pytest.approx(score)
    assert one.reason == (None if score == 1 else "other_tools")
    assert judged("tool-call-f1", calls, "text", value=expected, threshold=score).outcome is PASS
    assert judged("not-tool-call-f1", calls, "text", value=expected).outcome is one.outcome.negated()


@pytest.mark.parametrize("kind", ["tool-call-f1", "not-tool-call-f1"])
@pytest.mark.parametrize(
    ("text", "reason"), [(None, "no_text"), ("[" * 100_000, "answer_too_deep"), (" " * 2_000_001, "answer_too_long")]
)
def test_tools_in_an_answer_that_is_not_read_are_unscored(kind: str, text: str | None, reason: str) -> None:
    one = judged(kind, None, text, value="weather")
    assert (one.outcome, one.reason) == (UNSCORED, reason)


NAMES = st.sets(st.sampled_from("abcde"), min_size=1)


@given(NAMES, NAMES)
def test_f1_is_the_harmonic_mean_and_symmetric(expected: set[str], called: set[str]) -> None:
    def f1(one: set[str], two: set[str]) -> float | None:
        return judged("tool-call-f1", [call(name) for name in sorted(two)], value=sorted(one)).score

    both = len(expected & called)
    precision, recall = both / len(called), both / len(expected)
    wanted = 2 * precision * recall / (precision + recall) if both else 0
    assert f1(expected, called) == pytest.approx(wanted)
    assert f1(expected, called) == f1(called, expected)
