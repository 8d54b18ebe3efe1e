"""JSON that fits a schema, for simulated judges and simulated tool calls. What it says is drawn, not thought."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping, Sequence
from typing import Any

_SCALE = re.compile(r"from 0 to (\d{1,3})\b")
_NUMBERED = re.compile(r"^\s*\[?(\d{1,3})[\].:)]", re.MULTILINE)
_MAX_DEPTH = 8
_LARGEST = 1e15
# True is the bad news in fields of these names.
_FAULTS = frozenset({"evasive", "harmful", "contradicts"})
_RUBRIC = {"properties": {"reason": {"type": "string"}, "score": {"type": "number"}, "pass": {"type": "boolean"}}}


def judgement(prompt: str, response_format: Any, slips: float, chance: random.Random) -> str:
    """Return a judgement as the schema asked for has it, else one with reason, score and pass.

    Args:
        slips: Probability that the simulated judge is not satisfied.
    """
    schema = response_format.get("json_schema") if isinstance(response_format, dict) else None
    schema = schema.get("schema") if isinstance(schema, dict) else None
    mood = Mood(prompt, chance.random() >= slips, chance)
    return json.dumps(mood.value(schema if isinstance(schema, dict) else _RUBRIC), ensure_ascii=False)


def tool_call(
    prompt: str, tools: Sequence[Mapping[str, Any]], tool_choice: Any, chance: random.Random
) -> dict[str, Any] | None:
    """Return a call of the first tool, or of the one that was asked for, with arguments that fit its schema."""
    named = tool_choice["function"]["name"] if isinstance(tool_choice, dict) else None
    functions = [tool["function"] for tool in tools if named in (None, tool["function"]["name"])]
    if not functions or tool_choice == "none":
        return None
    function = functions[0]
    arguments = Mood(prompt, True, chance).value(function.get("parameters") or {"type": "object"})
    made = {"name": function["name"], "arguments": json.dumps(arguments, ensure_ascii=False)}
    return {"id": f"simulated_{chance.getrandbits(32):08x}", "type": "function", "function": made}


class Mood:
    """One drawn opinion, told in whatever form a schema has: satisfied or not, consistently in all fields."""

    def __init__(self, prompt: str, satisfied: bool, chance: random.Random) -> None:
        self.satisfied, self.chance = satisfied, chance
        found = _SCALE.search(prompt)
        self.scale = float(found[1]) if found else 1.0
        self.numbers = sorted({int(number) for number in _NUMBERED.findall(prompt[-100_000:])})
        self._given: set[int] = set()

    def value(self, schema: Any, depth: int = 0) -> Any:
        """Return a value that fits ``schema``, as far as its types, ranges and enumerations go."""
        if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
            return None
        if isinstance(choices := schema.get("enum"), list) and choices:
            return self.chance.choice(choices)
        if "const" in schema:
            return schema["const"]
        kind = schema.get("type", "object" if "properties" in schema else "string")
        kind = kind[0] if isinstance(kind, list) and kind else kind
        return self._of_kind(kind, schema, depth)

    def _of_kind(self, kind: Any, schema: Mapping[str, Any], depth: int) -> Any:
        match kind:
            case "object":
                properties = schema.get("properties")
                items = properties.items() if isinstance(properties, Mapping) else ()
                return {name: self._property(name, inner, depth + 1) for name, inner in items}
            case "array":
                return self._list(schema.get("items"), depth)
            case "boolean":
                return self.satisfied
            case "number" | "integer":
                return self._number(kind, schema)
            case "null":
                return None
        return "(simulated) This text was not thought."

    def _property(self, name: str, schema: Any, depth: int) -> Any:
        value = self.value(schema, depth)
        return not value if isinstance(value, bool) and name in _FAULTS else value

    def _number(self, kind: Any, schema: Mapping[str, Any]) -> float:
        low, high = _bound(schema, "minimum", 0.0), _bound(schema, "maximum", self.scale)
        share = self.chance.uniform(0.7, 1.0) if self.satisfied else self.chance.uniform(0.0, 0.3)
        value = low + share * max(0.0, high - low)
        return round(value) if kind == "integer" else round(value, 2)

    def _list(self, items: Any, depth: int) -> list[Any]:
        if isinstance(items, Mapping) and items.get("type") == "integer":
            # Numbers of things that the prompt lists; each stands in one list only.
            left = [number for number in self.numbers if number not in self._given]
            taken = left if self.satisfied or self._given else left[: len(left) // 2]
            self._given.update(taken)
            return taken
        return [self.value(items, depth + 1) for _ in range(3)]


def _bound(schema: Mapping[str, Any], name: str, default: float) -> float:
    value = schema.get(name)
    return float(value) if isinstance(value, int | float) and abs(value) < _LARGEST else default
