"""Assertions on tool calls: is-valid-function-call and its kin, tool-call-f1."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from promptcard_ext.core.answer import Answer
from promptcard_ext.core.assertions.base import NO_TEXT, PASSED, Assertion, Check, Finding, register
from promptcard_ext.core.assertions.containment import text_values
from promptcard_ext.core.assertions.json_text import Unread, read_json
from promptcard_ext.core.assertions.limits import TOO_DEEP, graded, share
from promptcard_ext.core.identity import canonical_json, refuse_constant
from promptcard_ext.core.results import Outcome

_NO_TOOLS = Finding(Outcome.UNSCORED, "no_tools", "The model was offered no tools: there is no schema to compare with.")
_NO_CALL = Finding(Outcome.FAIL, "no_tool_call", "The answer calls no tool.")
_KEPT_VALIDATORS = 64
# One call that does not fit decides, whatever is unknown of the others.
_ORDER = (Outcome.FAIL, Outcome.ERROR, Outcome.UNSCORED, Outcome.PASS)


class ToolCall(NamedTuple):
    """One call in an answer.

    Attributes:
        name: None when it has none.
        arguments: As they came: a mapping, or text that should be JSON.
    """

    name: str | None
    arguments: Any


def calls_of(answer: Answer) -> list[ToolCall]:
    """Return the tool calls of an answer, or those that its text spells out as JSON.

    The shapes of OpenAI (chat and responses), Anthropic, Google and Ollama are understood. After a transform the calls
    are those in the text that it made.

    Raises:
        Unread: The text is too long or too deep to say whether there are any.
    """
    given = answer.generation.tool_calls
    if given and answer.output == answer.generation.output:
        return _calls(given)
    if answer.output is None:
        return []
    try:
        return _calls(read_json(answer.output))
    except Unread as unread:
        if unread.finding.outcome is Outcome.FAIL:
            return []
        raise


def _calls(value: Any) -> list[ToolCall]:
    if isinstance(value, list | tuple):
        return [call for part in value for call in _calls_in(part)]
    return _calls_in(value)


def _calls_in(part: Any) -> list[ToolCall]:
    """Return the calls in one entry: a call, something around one, or something else, such as a block of text."""
    if not isinstance(part, Mapping):
        return []
    if isinstance(inner := part.get("tool_calls"), list | tuple):
        return [call for one in inner for call in _calls_in(one)]
    for wrapper in ("function", "functionCall", "function_call"):
        if isinstance(inner := part.get(wrapper), Mapping):
            return [_call(inner)]
    if part.get("type") in ("text", "reasoning", "thinking"):
        return []
    return [_call(part)] if "name" in part and part.keys() & {"arguments", "input", "args"} else []


def _call(part: Mapping[str, Any]) -> ToolCall:
    name = part.get("name")
    arguments = next((part[key] for key in ("arguments", "input", "args") if key in part), None)
    return ToolCall(name if isinstance(name, str) else None, arguments)


@register("is-valid-openai-tools-call", "is-valid-openai-function-call", "is-valid-function-call")
def is_valid_function_call(assertion: Assertion) -> Check:
    """The answer calls at least one tool, and each call fits the JSON Schema of a tool that the model was offered."""
    validators: dict[str, Any] = {}

    def check(answer: Answer) -> Finding:
        schemas = _schemas(getattr(answer.settings, "tools", ()))
        if not schemas:
            return _NO_TOOLS
        try:
            calls = calls_of(answer)
        except Unread as unread:
            return unread.finding
        if not calls:
            return _NO_CALL if answer.output is not None or answer.generation.tool_calls else NO_TEXT
        from promptcard_ext.core.assertions.schema import count_anew

        # All of them share the steps that one may take.
        count_anew()
        findings = [_validated(assertion, call, schemas, validators) for call in calls]
        by_weight = sorted(findings, key=lambda finding: _ORDER.index(finding.outcome))
        return by_weight[0]

    return check


def _schemas(tools: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the schema of each tool's arguments by the tool's name."""
    schemas: dict[str, dict[str, Any]] = {}
    for tool in tools:
        inner = tool.get("function")
        described = inner if isinstance(inner, Mapping) else tool
        if isinstance(name := described.get("name"), str):
            schema = described.get("parameters") or described.get("input_schema") or {}
            schemas[name] = dict(schema) if isinstance(schema, Mapping) else {}
    return schemas


def _validated(assertion: Assertion, call: ToolCall, schemas: dict[str, Any], validators: dict[str, Any]) -> Finding:
    if call.name not in schemas:
        return Finding(Outcome.FAIL, "unknown_tool", f"The answer calls {call.name!r:.100}, which was not offered.")
    arguments = call.arguments
    if isinstance(arguments, str):
        try:
            # No arguments are an empty text with some providers.
            arguments = json.loads(arguments or "{}", parse_constant=refuse_constant)
        except RecursionError:
            return TOO_DEEP
        except ValueError as error:
            message = f"The arguments of {call.name!r:.100} are not JSON: {error!s:.150}."
            return Finding(Outcome.FAIL, "arguments_not_json", message)
    validator = _validator(assertion, schemas[call.name], validators)
    return _fits(call.name, {} if arguments is None else arguments, validator)


def _validator(assertion: Assertion, schema: dict[str, Any], kept: dict[str, Any]) -> Any:
    from promptcard_ext.core.assertions.schema import validator_for

    key = canonical_json(schema)
    if key not in kept:
        if len(kept) >= _KEPT_VALIDATORS:
            kept.clear()
        kept[key] = validator_for(assertion, schema)
    return kept[key]


def _fits(name: str, arguments: Any, validator: Any) -> Finding:
    from promptcard_ext.core.assertions.schema import MAX_DEPTH, SchemaTooCostly, depth, first_problem

    if not isinstance(arguments, Mapping):
        return Finding(Outcome.FAIL, "arguments_mismatch", f"The arguments of {name!r:.100} are no JSON object.")
    if depth(arguments) > MAX_DEPTH:
        return TOO_DEEP
    try:
        problem = first_problem(validator, arguments)
    except SchemaTooCostly as error:
        return Finding(Outcome.ERROR, "schema_too_costly", str(error))
    if problem is None:
        return PASSED
    return Finding(Outcome.FAIL, "arguments_mismatch", f"The arguments of {name!r:.100} do not fit: {problem}")


@register("tool-call-f1")
def tool_call_f1(assertion: Assertion) -> Check:
    """F1 of the names of the tools called against those in ``value`` is at least ``threshold`` (default 1).

    Names are compared as sets, without order and number. F1 is the harmonic mean of the shares of the called tools that
    were expected, and of the expected tools that were called: 2 * both / (called + expected).
    """
    expected = frozenset(text_values(assertion))
    threshold = share(assertion, 1.0)

    def check(answer: Answer) -> Finding:
        if answer.output is None and not answer.generation.tool_calls:
            return NO_TEXT
        try:
            called = {call.name for call in calls_of(answer) if call.name is not None}
        except Unread as unread:
            return unread.finding
        score = 2 * len(called & expected) / (len(called) + len(expected))
        finding = graded(score, threshold, "other_tools", "F1 of the tools called")
        if finding.outcome is Outcome.PASS:
            return finding
        return finding._replace(message=f"{finding.message} Called: {', '.join(sorted(called)) or 'none':.200}.")

    return check
