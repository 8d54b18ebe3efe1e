"""The fields of a form by which two states of a card are compared, and of which one is taken."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from promptcard_ext.widgets.editing.form import NUMBERS, Form

_LABELS = {"max_tokens": "most tokens of the answer", "top_p": "top p", "other": "other settings"}


class Field(NamedTuple):
    """One thing that may differ.

    Attributes:
        id: Where it is: ``title``, ``messages``, ``messages.0``, ``variables.who``, ``settings.seed``.
        label: What to call it.
        text: What it says, as text.
        value: What the form has there.
    """

    id: str
    label: str
    text: str
    value: Any


def fields_of(form: Form, *, by_message: bool) -> dict[str, Field]:
    """Return the fields of a form by their ids, those that are not there left out.

    Args:
        by_message: Each message is a field; else all of them are one.
    """
    found = [
        Field("title", "title", form["title"], form["title"]),
        Field("description", "description", form["description"], form["description"]),
        Field("tags", "tags", ", ".join(form["tags"]), form["tags"]),
        *(_messages(form) if by_message else [_whole(form)]),
        *(_variable(row) for row in form["variables"]),
        *(_setting(name, form["settings"][name]) for name in (*NUMBERS, "other")),
    ]
    if form["examples"]:
        text = "\n".join(f"user: {row['user']}\nassistant: {row['assistant']}" for row in form["examples"])
        found.append(Field("examples", "examples", text, form["examples"]))
    return {field.id: field for field in found}


def are_alike(*forms: Form) -> bool:
    """Tell whether forms have the same roles one after the other, so that they can be compared by message."""
    return len({tuple(row["role"] for row in form["messages"]) for form in forms}) == 1


def with_field(form: Form, field: str, value: Any) -> Form:
    """Return a form with another value in one field; None takes a variable or the examples out."""
    name, _, part = field.partition(".")
    if name == "variables":
        rows = [row for row in form["variables"] if row["name"] != part]
        place = next((place for place, row in enumerate(form["variables"]) if row["name"] == part), len(rows))
        return {**form, "variables": [*rows[:place], *([_anew(value, part)] if value else []), *rows[place:]]}
    if name == "messages" and part:
        rows = [{**row, "content": value} if place == int(part) else row for place, row in enumerate(form["messages"])]
        return {**form, "messages": rows}
    if name == "settings":
        return {**form, "settings": {**form["settings"], part: value}}
    if name in ("messages", "examples"):
        return {**form, name: [_anew(row, str(place)) for place, row in enumerate(value or [])]}
    return {**form, name: value}


def _anew(row: dict[str, Any], mark: str) -> dict[str, Any]:
    # Another row than the one that is on the screen, whose key it may have.
    return {**row, "key": f"t-{mark}-{row['key']}"[:100]}


def _messages(form: Form) -> list[Field]:
    found = []
    for place, row in enumerate(form["messages"]):
        label = f"{row['role']} message" if len(form["messages"]) < 3 else f"message {place + 1} ({row['role']})"
        found.append(Field(f"messages.{place}", label, row["content"], row["content"]))
    return found


def _whole(form: Form) -> Field:
    text = "\n".join(f"[{row['role']}]\n{row['content']}" for row in form["messages"])
    return Field("messages", "messages", text, form["messages"])


def _variable(row: dict[str, Any]) -> Field:
    facts = {name: value for name, value in row.items() if name not in ("key", "name") and value not in ("", None)}
    text = "\n".join(f"{name}: {value}" for name, value in facts.items())
    return Field(f"variables.{row['name']}", f"variable {row['name']}", text, row)


def _setting(name: str, text: str) -> Field:
    shown = text
    if name == "other" and text.strip():
        try:
            shown = json.dumps(json.loads(text), ensure_ascii=False, indent=1, sort_keys=True)
        except (ValueError, RecursionError):
            shown = text
    return Field(f"settings.{name}", _LABELS.get(name, name), shown, text)
