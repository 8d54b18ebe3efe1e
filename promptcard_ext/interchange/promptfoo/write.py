"""Writing cards and cases as a promptfoo configuration."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.card import Card
from promptcard_ext.core.case import Case
from promptcard_ext.interchange.promptfoo.expressions import transform_expression
from promptcard_ext.interchange.promptfoo.imported import UNSUPPORTED
from promptcard_ext.interchange.promptfoo.templates import back, literal, plain, uses_template
from promptcard_ext.interchange.yaml_text import write_yaml, yaml_text

# Both tools know these fields; promptfoo has other names for some.
_NAMES = {"rubric_prompt": "rubricPrompt", "options": "config", "assertions": "assert"}


def write_promptfoo(
    path: str | Path,
    cards: Sequence[Card],
    cases: Iterable[Case],
    models: Sequence[str] = (),
    *,
    derived: Mapping[str, str] | None = None,
    repeats: int = 1,
) -> None:
    """Write a promptfoo configuration file; see `promptfoo_yaml`.

    Raises:
        FileError: It cannot be written (``file_unwritable``).
    """
    write_yaml(Path(path), promptfoo_yaml(cards, cases, models, derived=derived, repeats=repeats))


def promptfoo_yaml(
    cards: Sequence[Card],
    cases: Iterable[Case],
    models: Sequence[str] = (),
    *,
    derived: Mapping[str, str] | None = None,
    repeats: int = 1,
) -> str:
    """Return cards, cases and models as the text of a promptfoo configuration.

    What promptfoo does not know (types of variables, the kinds that only we have) is written as it is; promptfoo says
    so when it meets it.
    """
    config: dict[str, Any] = {"prompts": [_prompt(card) for card in cards]}
    if models:
        config["providers"] = [_provider(model) for model in models]
    # What a test does not give is an empty text there.
    defaults = {v.name: v.default for card in cards for v in card.variables if v.default not in (msgspec.UNSET, "")}
    if defaults:
        config["defaultTest"] = {"vars": _variables(defaults)}
    config["tests"] = [_test(case) for case in cases]
    if derived:
        config["derivedMetrics"] = [{"name": name, "value": formula} for name, formula in derived.items()]
    if repeats > 1:
        config["evaluateOptions"] = {"repeat": repeats}
    return yaml_text(config)


def _prompt(card: Card) -> dict[str, Any]:
    messages = _conversation(card)
    raw = messages[0]["content"]
    if len(messages) > 1 or messages[0]["role"] != "user":
        raw = json.dumps(messages, ensure_ascii=False, indent=2)
    prompt: dict[str, Any] = {"label": card.name, "raw": raw}
    if settings := msgspec.to_builtins(card.settings):
        prompt["config"] = settings
    return prompt


def _conversation(card: Card) -> list[dict[str, str]]:
    """Return the messages of a card, its examples before the last one of the user."""
    written = [(message.role, message.content) for message in card.messages]
    if not written:
        written = [("system", card.system)] if card.system else []
        written.append(("user", card.template))
    last = max(index for index, (role, _) in enumerate(written) if role == "user")
    for example in reversed(card.examples):
        written[last:last] = [("user", example.user), ("assistant", example.assistant)]
    return [{"role": role, "content": back(content)} for role, content in written]


def _provider(model: str) -> str:
    provider, _, name = model.partition(":")
    if model == "simulated:echo":
        return "echo"
    return f"{provider}:chat:{name}" if provider in ("openai", "ollama") else model


def _test(case: Case) -> dict[str, Any]:
    test: dict[str, Any] = {}
    if case.name != case.uid[:8]:
        test["description"] = case.name
    test["vars"] = _variables(case.variables)
    if case.assertions:
        test["assert"] = [_assertion(one) for one in case.assertions]
    if case.threshold is not None:
        test["threshold"] = case.threshold
    if case.metadata:
        test["metadata"] = case.metadata
    if any(isinstance(value, list) for value in case.variables.values()):
        # A list of texts would be a list of tests.
        test["options"] = {"disableVarExpansion": True}
    return test


def _variables(variables: Mapping[str, Any]) -> dict[str, Any]:
    return {name: literal(value) if isinstance(value, str) else value for name, value in variables.items()}


def _assertion(assertion: Assertion) -> Any:
    if assertion.type == UNSUPPORTED:
        return _as_written(assertion)
    written = msgspec.to_builtins(assertion)
    done: dict[str, Any] = {"type": written.pop("type")}
    for name, value in written.items():
        if name == "assertions":
            value = [_assertion(inner) for inner in assertion.assertions]
        elif name == "transform":
            value = transform_expression(value) or value
        elif name == "value" and uses_template(value):
            value = _back(value)
        done[_NAMES.get(name, name)] = value
    if path := done.get("config", {}).pop("context_transform", None):
        done["contextTransform"] = re.sub(r"^vars\b", "context.vars", re.sub(r"^json\b", "output", str(path)))
    if not done.get("config", True):
        del done["config"]
    if done.pop("weight", 1) != 1:
        done["weight"] = assertion.weight
    return done


def _as_written(assertion: Assertion) -> Any:
    text = str(assertion.value)
    try:
        return json.loads(plain(text) or text)
    except ValueError:
        return {"type": UNSUPPORTED, "value": text, "weight": 0}


def _back(value: Any) -> Any:
    if isinstance(value, str):
        return back(value)
    if isinstance(value, dict):
        return {key: _back(one) for key, one in value.items()}
    return [_back(one) for one in value] if isinstance(value, list | tuple) else value
