"""A card as somebody fills it in: everything is text, and nothing has to be right yet.

A form is a dict that is JSON. Messages, examples and variables have a ``key`` each, by which changes name them, so that
a change finds its message also when another one was put before it meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from promptcard_ext.core.card import Card
from promptcard_ext.core.errors import CardError
from promptcard_ext.core.template import parse
from promptcard_ext.core.variables import Variable

Form = dict[str, Any]

# Settings that have a field of their own; all others are in "other", as JSON.
NUMBERS = ("temperature", "top_p", "max_tokens", "seed")
TEXTS = ("title", "description")
# The fields of the rows of each list.
ROWS = {
    "messages": ("role", "content"),
    "examples": ("user", "assistant"),
    "variables": ("name", "type", "description", "trust", "default", "values", "limits"),
}
_PLAIN = ("string", "enum", "datetime", "secret")
_OWN = frozenset({"name", "type", "description", "trust", "default", "values"})


def form_of(card: Card) -> Form:
    """Return the form of a card, with line ends as browsers have them."""
    content = card.content
    settings: dict[str, Any] = dict(content["settings"])
    other = {name: value for name, value in settings.items() if name not in NUMBERS}
    rows = {
        "messages": [dict(message) for message in content["messages"]],
        "examples": [dict(example) for example in content.get("examples", ())],
        "variables": [_row(variable) for variable in card.variables],
    }
    form: Form = {
        "title": card.title,
        "description": card.description,
        "tags": list(card.tags),
        **{name: [{"key": f"{name[0]}{place}", **row} for place, row in enumerate(rows[name])] for name in ROWS},
        "settings": {name: _text(settings.get(name)) for name in NUMBERS} | {"other": _pretty(other)},
    }
    plain: Form = typed(form)
    return plain


def card_of(name: str, form: Form, includes: Mapping[str, str] | None = None, **head: Any) -> Card:
    """Return the card that a form describes.

    Args:
        includes: Texts of other cards, by reference; those that the templates use become part of the card.
        head: Further fields of a card, such as ``version``.

    Raises:
        CardError, TemplateError: It describes none.
    """
    content = {
        "messages": [{"role": row["role"], "content": row["content"]} for row in form["messages"]],
        "variables": msgspec.to_builtins([variable_of(row) for row in form["variables"]]),
        "settings": settings_of(form["settings"]),
    }
    if form["examples"]:
        content["examples"] = [{"user": row["user"], "assistant": row["assistant"]} for row in form["examples"]]
    head |= {"title": form["title"], "description": form["description"], "tags": form["tags"]}
    try:
        card = Card.from_content(name, content, **head)
    except msgspec.ValidationError as error:
        raise CardError(f"Card '{name}' does not fit: {str(error).rstrip('.')}.", code="card_invalid") from None
    kept = _used(card, includes or {})
    return msgspec.structs.replace(card, includes=kept) if kept else card


def _used(card: Card, known: Mapping[str, str]) -> dict[str, str]:
    kept: dict[str, str] = {}
    wanted = list(card.references) if known else []
    while wanted:
        reference = wanted.pop()
        if reference in known and reference not in kept:
            kept[reference] = known[reference]
            wanted += parse(known[reference]).references
    return kept


# -- variables -------------------------------------------------------------------------------------------------------


def variable_of(row: Mapping[str, Any]) -> Variable:
    """Return the variable that a row declares.

    Raises:
        CardError: It declares none.
    """
    name, kind = row["name"], row["type"]
    what = f"variable '{name:.60}'"
    fields = {field: row[field] for field in ("name", "type", "description", "trust")}
    limits = _json(row["limits"], f"The limits of {what}") if row["limits"].strip() else {}
    if not isinstance(limits, dict) or _OWN & limits.keys():
        raise CardError(f'The limits of {what} are not a mapping such as {{"max_length": 100}}.', code="field_invalid")
    if row["values"].strip():
        fields["values"] = _values(row["values"], what)
    if row["default"] is not None:
        text = row["default"]
        fields["default"] = text if kind in _PLAIN else _json(text, f"The default of {what}")
    try:
        return msgspec.convert({**limits, **fields}, Variable)
    except msgspec.ValidationError as error:
        cause = error.__cause__
        if isinstance(cause, CardError):
            raise cause from None
        raise CardError(f"Field of {what}: {str(error).rstrip('.')}.", code="field_invalid") from None


def _row(variable: Variable) -> dict[str, Any]:
    built: dict[str, Any] = msgspec.to_builtins(variable)
    default = None
    if variable.default is not msgspec.UNSET:
        plain = variable.type in _PLAIN and isinstance(variable.default, str)
        default = variable.default if plain else json.dumps(variable.default, ensure_ascii=False)
    commas = any("," in value or value.strip() != value or not value for value in variable.values)
    odd = commas or (bool(variable.values) and variable.values[0].startswith("["))
    values = json.dumps(list(variable.values), ensure_ascii=False) if odd else ", ".join(variable.values)
    return {
        "name": variable.name,
        "type": variable.type,
        "description": variable.description,
        "trust": variable.trust,
        "default": default,
        "values": values,
        "limits": _pretty({name: value for name, value in built.items() if name not in _OWN}),
    }


def _values(text: str, what: str) -> list[Any]:
    if not text.lstrip().startswith("["):
        return [value.strip() for value in text.split(",") if value.strip()]
    values = _json(text, f"The list of values of {what}")
    return values if isinstance(values, list) else [values]


# -- settings --------------------------------------------------------------------------------------------------------


def settings_of(fields: Mapping[str, str]) -> dict[str, Any]:
    """Return the model settings of a form, those that are set.

    Raises:
        CardError: One is not what it should be.
    """
    settings = _json(fields["other"], "The other settings") if fields["other"].strip() else {}
    if not isinstance(settings, dict):
        raise CardError('The other settings are not a mapping such as {"stop": ["END"]}.', code="field_invalid")
    for name in NUMBERS:
        if fields[name].strip():
            settings[name] = _json(fields[name], f"Setting '{name}'")
    return settings


def _json(text: str, what: str) -> Any:
    try:
        return msgspec.json.decode(text.encode())
    except (msgspec.DecodeError, UnicodeError) as error:
        hint = "Text is written in double quotes; also: numbers, true, false, null, lists, mappings."
        raise CardError(f"{what} is not JSON: {str(error).rstrip('.')}.", hint=hint, code="field_invalid") from None


def _text(value: Any) -> str:
    return "" if value is None else json.dumps(value)


def _pretty(mapping: Mapping[str, Any]) -> str:
    return json.dumps(mapping, ensure_ascii=False, indent=1) if mapping else ""


def typed(value: Any) -> Any:
    """Return what a browser would give back: line ends as one character, and no half characters."""
    if isinstance(value, str):
        text = value.replace("\r\n", "\n").replace("\r", "\n")
        return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {key: typed(one) for key, one in value.items()}
    if isinstance(value, list):
        return [typed(one) for one in value]
    return value
