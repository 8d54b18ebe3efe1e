"""Settings of the model that belong to a card: sampling, tools, the form of the answer."""

from __future__ import annotations

import re
from typing import Annotated, Any

from msgspec import Meta, Struct

from promptcard_ext.core.errors import CardError
from promptcard_ext.core.fields import coerce_fields
from promptcard_ext.core.identity import canonical_json

MAX_TOOLS = 128
MAX_TOOLS_CHARS = 100_000
MAX_TOOL_DEPTH = 32
MAX_EXTRA_CHARS = 10_000
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
# What the request is made of; a setting must not replace it.
_OWN_KEYS = frozenset({"model", "messages", "stream", "stream_options", "n"})
_Penalty = Annotated[float, Meta(ge=-2, le=2)]


class ModelSettings(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Settings of the model; what is not set is not sent, and the provider's default holds.

    Attributes:
        top_p: Above 0, at most 1.
        stop: Texts at which the answer ends.
        temperature: 0 to 2.
        max_tokens: Most tokens in the answer.
        seed: Seed of the first repeat; repeat *r* sends ``seed + r``.
        stream: Ask for a stream, which also measures the time to the first token.
        response_format: As the OpenAI protocol has it, for example ``{"type": "json_object"}``.
        tools: Functions the model may call, as the OpenAI protocol has them: ``{"type": "function", "function":
            {"name": …, "description": …, "parameters": JSON Schema}}``.
        tool_choice: ``none``, ``auto``, ``required``, or the function that must be called.
        frequency_penalty, presence_penalty: -2 to 2.
        logprobs: Ask for the log probabilities of the answer's tokens.
        reasoning_effort: Such as ``low``; which there are depends on the model.
        extra: Further fields of the request, sent as they are.

    Raises:
        CardError: A value is out of range (``field_invalid``), a tool is not one (``tool_invalid``), or ``extra`` is
            too large or replaces what the request is made of (``extra_invalid``).
    """

    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    stream: bool = False
    response_format: dict[str, Any] | None = None
    tools: Annotated[tuple[dict[str, Any], ...], Meta(max_length=MAX_TOOLS)] = ()
    tool_choice: str | dict[str, Any] | None = None
    frequency_penalty: _Penalty | None = None
    presence_penalty: _Penalty | None = None
    logprobs: bool | None = None
    reasoning_effort: Annotated[str, Meta(min_length=1, max_length=20)] | None = None
    extra: dict[str, Any] = {}

    def __post_init__(self) -> None:
        coerce_fields(self, "the model settings")
        if self.tools or self.tool_choice is not None:
            _check_tools(self.tools, self.tool_choice)
        if self.extra:
            _check_extra(self.extra)


# -- tools -----------------------------------------------------------------------------------------------------------


def _check_tools(tools: tuple[dict[str, Any], ...], choice: str | dict[str, Any] | None) -> None:
    names = [_tool_name(tool, index) for index, tool in enumerate(tools)]
    for name in names:
        if names.count(name) > 1:
            raise _tool_error(f"Tool '{name}' is declared twice.")
    if tools and len(_json(list(tools), "The tools", "tool_invalid")) > MAX_TOOLS_CHARS:
        raise _tool_error(f"The tools have more than {MAX_TOOLS_CHARS:,} characters.")
    if choice is not None:
        _check_choice(choice, names)


def _tool_name(tool: dict[str, Any], index: int) -> str:
    function = tool.get("function")
    if tool.get("type") != "function" or not isinstance(function, dict):
        raise _tool_error(
            f"Tool {index} is not a function tool.", hint='Write {"type": "function", "function": {"name": …}}.'
        )
    name = function.get("name")
    if not isinstance(name, str) or not _TOOL_NAME.fullmatch(name):
        raise _tool_error(
            f"Tool {index} has the name {name!r:.80}.", hint="Use at most 64 letters, digits, underscores and hyphens."
        )
    parameters = function.get("parameters", {})
    if not isinstance(parameters, dict) or parameters.get("type", "object") != "object":
        raise _tool_error(f"The parameters of tool '{name}' are not the JSON Schema of an object.")
    if _is_deep(parameters):
        raise _tool_error(f"The parameters of tool '{name}' are nested deeper than {MAX_TOOL_DEPTH} levels.")
    return name


def _check_choice(choice: str | dict[str, Any], names: list[str]) -> None:
    if isinstance(choice, str):
        if choice not in ("none", "auto", "required"):
            raise _tool_error(
                f"'tool_choice' is {choice!r:.80}.",
                hint="Use none, auto, required, or a mapping that names a function.",
            )
        return
    function = choice.get("function")
    name = function.get("name") if isinstance(function, dict) else None
    if name not in names:
        raise _tool_error(f"'tool_choice' wants the function {name!r:.80}, which is not among the tools.")


def _is_deep(value: Any) -> bool:
    level, current = 0, [value]
    while current and level <= MAX_TOOL_DEPTH:
        level += 1
        mappings = [child for node in current if isinstance(node, dict) for child in node.values()]
        current = mappings + [child for node in current if isinstance(node, list | tuple) for child in node]
    return level > MAX_TOOL_DEPTH


def _tool_error(problem: str, hint: str = "") -> CardError:
    return CardError(problem, hint=hint, code="tool_invalid")


# -- the rest --------------------------------------------------------------------------------------------------------


def _check_extra(extra: dict[str, Any]) -> None:
    if own := _OWN_KEYS & extra.keys():
        raise CardError(
            f"'extra' sets '{min(own)}', which the request is made of.",
            hint="Leave it out; it is set by the run.",
            code="extra_invalid",
        )
    if len(_json(extra, "'extra'", "extra_invalid")) > MAX_EXTRA_CHARS:
        raise CardError(f"'extra' has more than {MAX_EXTRA_CHARS:,} characters.", code="extra_invalid")


def _json(value: Any, what: str, code: str) -> str:
    try:
        return canonical_json(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise CardError(f"{what} cannot be written as JSON: {error!s:.200}.", code=code) from None
