"""What is to be marked in a form while somebody types: variables, and what is wrong.

Unlike `core.static_check`, this looks at a card that may be none yet: each text and each row is read by itself.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from jinja2 import nodes

from promptcard_ext.core.card import Card
from promptcard_ext.core.errors import CardError, TemplateError
from promptcard_ext.core.static_check import check
from promptcard_ext.core.template import MAX_TEMPLATE_CHARS, Template, parse
from promptcard_ext.core.template_language import parse_tree
from promptcard_ext.core.variables import Variable
from promptcard_ext.widgets.editing.form import Form, card_of, settings_of, variable_of

MAX_MARKS = 400
_TAG = re.compile(r"\{\{.*?(?:\}\}|\Z)|\{%.*?(?:%\}|\Z)|\{#.*?(?:#\}|\Z)", re.DOTALL)
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")
# What is not seen, or turns the direction of writing, and so may make a text look like another one.
_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029\ufeff]")
# Types over which a loop goes, and those that have fields.
_LOOPED, _NESTED = ("list", "json"), ("json", "list")


class Mark(NamedTuple):
    """A place in a form, and what there is to say about it.

    Attributes:
        where: Key of a message or variable; ``e0.user`` and ``e0.assistant`` of an example; ``settings``, or nothing
            for the card as a whole.
        start, end: From which to which character, counted as browsers do (UTF-16); both 0 for all of it.
        kind: ``variable`` and ``untrusted`` only name what is there; ``error`` and ``warning`` say what is wrong.
        message: What to say; empty for a variable in its place.
        line: From 1, 0 when it has none.
    """

    where: str
    start: int
    end: int
    kind: str
    message: str = ""
    line: int = 0


class Checked(NamedTuple):
    """What a check has found.

    Attributes:
        card: The card, when the form is one.
        marks: Errors first.
        uses: How often each variable is used, by name, declared or not.
    """

    card: Card | None
    marks: tuple[Mark, ...]
    uses: dict[str, int]


class _Text(NamedTuple):
    where: str
    text: str
    system: bool


def checked(name: str, form: Form, includes: Mapping[str, str] | None = None) -> Checked:
    """Return what is wrong with a form, or probably is, and where its variables are used."""
    marks: list[Mark] = []
    uses: dict[str, int] = {}
    declared = dict(_declared(form, marks))
    templates: list[tuple[_Text, Template]] = []
    for text in _texts(form):
        marks += _hidden(text)
        if (template := _parsed(text, marks)) is not None:
            templates.append((text, template))
        else:
            # Half of a tag is no reason to lose sight of the variables.
            marks += [_at(text, start, end, "variable") for start, end, _ in _occurrences(text.text, declared)]
    own = {row["name"]: declared.get(row["name"]) for row in form["variables"]}
    for text, template in templates:
        marks += _used(text, template, own, uses)
        marks += _wrong_use(text, template, own)
    if len(templates) == len(_texts(form)) and not any(template.references for _, template in templates):
        marks += _unused(form, own, uses)
    marks += _settings(form)
    wrong = any(mark.kind == "error" for mark in marks)
    card = None
    try:
        card = card_of(name, form, includes)
        marks += _of_card(card, form)
    except CardError as error:
        if not wrong:
            marks.append(Mark("", 0, 0, "error", str(error)))
    marks.sort(key=lambda mark: ("error", "warning", "untrusted", "variable").index(mark.kind))
    return Checked(card, tuple(marks[:MAX_MARKS]), uses)


def _texts(form: Form) -> list[_Text]:
    found = [_Text(row["key"], row["content"], row["role"] == "system") for row in form["messages"]]
    for row in form["examples"]:
        found += [_Text(f"{row['key']}.{side}", row[side], False) for side in ("user", "assistant")]
    return found


def _declared(form: Form, marks: list[Mark]) -> Iterator[tuple[str, Variable]]:
    seen: set[str] = set()
    for row in form["variables"]:
        try:
            variable = variable_of(row)
        except CardError as error:
            marks.append(Mark(row["key"], 0, 0, "error", str(error)))
            continue
        if variable.name in seen:
            marks.append(Mark(row["key"], 0, 0, "error", f"Variable '{variable.name}' is declared twice."))
        seen.add(variable.name)
        yield variable.name, variable


def _parsed(text: _Text, marks: list[Mark]) -> Template | None:
    if not text.text:
        marks.append(Mark(text.where, 0, 0, "error", "This message is empty."))
        return None
    if len(text.text) > MAX_TEMPLATE_CHARS:
        problem = f"This message has {len(text.text):,} characters; the limit is {MAX_TEMPLATE_CHARS:,}."
        marks.append(Mark(text.where, 0, 0, "error", problem))
        return None
    try:
        return parse(text.text, "this message")
    except TemplateError as error:
        start, end = _guilty(text.text, error.line, error.column)
        marks.append(_at(text, start, end, "error", str(error), error.line))
        return None


def _guilty(text: str, line: int, column: int) -> tuple[int, int]:
    """Return the place of an error: the tag that begins there, or else the rest of the line."""
    if not line:
        return 0, 0
    start = sum(len(one) + 1 for one in text.split("\n")[: line - 1]) + max(0, column - 1)
    if tag := _TAG.match(text, start):
        return start, min(tag.end(), start + 200)
    end = text.find("\n", start)
    return start, end if end >= 0 else len(text)


def _hidden(text: _Text) -> Iterator[Mark]:
    for found in _HIDDEN.finditer(text.text):
        message = f"A character that is not seen: U+{ord(found[0]):04X}."
        yield _at(text, found.start(), found.end(), "warning", message, text.text.count("\n", 0, found.start()) + 1)


# -- variables in texts ----------------------------------------------------------------------------------------------


def _used(text: _Text, template: Template, own: Mapping[str, Variable | None], uses: dict[str, int]) -> Iterator[Mark]:
    for start, end, name in _occurrences(text.text, template.own_variables):
        uses[name] = uses.get(name, 0) + 1
        line = text.text.count("\n", 0, start) + 1
        variable = own.get(name)
        if own and name not in own:
            close = difflib.get_close_matches(name, own, 1)
            hint = f" Did you mean '{close[0]}'?" if close else ""
            yield _at(text, start, end, "error", f"Variable '{name}' is not declared.{hint}", line)
        elif variable is not None and variable.type == "secret":
            message = f"'{name}' is a secret, and what a message says is stored and sent."
            yield _at(text, start, end, "error", message, line)
        elif variable is not None and variable.trust == "untrusted":
            yield _at(text, start, end, "untrusted")
        else:
            yield _at(text, start, end, "variable")


def _occurrences(text: str, names: Iterable[str]) -> Iterator[tuple[int, int, str]]:
    """Yield where names stand in the tags of a text, outside of quotes."""
    if not names:
        return
    room = MAX_MARKS
    words = re.compile(rf"(?<![\w.])(?:{'|'.join(map(re.escape, sorted(names, key=len, reverse=True)))})(?!\w)")
    for tag in _TAG.finditer(text):
        if tag[0].startswith("{#"):
            continue
        bare = _QUOTED.sub(lambda quoted: " " * len(quoted[0]), tag[0])
        for word in words.finditer(bare):
            yield tag.start() + word.start(), tag.start() + word.end(), word[0]
            room -= 1
            if not room:
                return


def _wrong_use(text: _Text, template: Template, own: Mapping[str, Variable | None]) -> Iterator[Mark]:
    """Yield where a variable is used as its type cannot be: a loop over a number, a field of a text."""
    tree = parse_tree(text.text, template.name)
    pairs: list[tuple[nodes.Node, str, tuple[str, ...]]]
    pairs = [(node.iter, "is gone through in a loop", _LOOPED) for node in tree.find_all(nodes.For)]
    pairs += [(node.node, "is asked for a field", _NESTED) for node in tree.find_all(nodes.Getattr)]
    pairs += [(node.node, "is asked for a field", _NESTED) for node in tree.find_all(nodes.Getitem)]
    for node, what, fitting in pairs:
        variable = own.get(node.name) if isinstance(node, nodes.Name) else None
        if variable is not None and variable.type not in fitting and variable.name in template.own_variables:
            line = node.lineno
            first = sum(len(one) + 1 for one in text.text.split("\n")[: line - 1])
            places = (place for place in _occurrences(text.text, [variable.name]) if place[0] >= first)
            start, end, _ = next(places, (0, 0, ""))
            message = f"'{variable.name}' {what}, but is of type {variable.type}, not {' or '.join(fitting)}."
            yield _at(text, start, end, "warning", message, line)


def _unused(form: Form, own: Mapping[str, Variable | None], uses: Mapping[str, int]) -> Iterator[Mark]:
    for row in form["variables"]:
        variable = own.get(row["name"])
        # A secret is for code outside of the prompt, and nothing in a card uses it.
        if row["name"] not in uses and variable is not None and variable.type != "secret":
            yield Mark(row["key"], 0, 0, "warning", f"Variable '{row['name']}' is declared and not used.")


# -- the rest --------------------------------------------------------------------------------------------------------


def _settings(form: Form) -> Iterator[Mark]:
    try:
        settings_of(form["settings"])
    except CardError as error:
        yield Mark("settings", 0, 0, "error", str(error))


def _of_card(card: Card, form: Form) -> Iterator[Mark]:
    """Yield what only a whole card shows; what the texts and rows have shown by themselves is left out."""
    places = dict(zip(_places(card), _texts(form), strict=True))
    for problem in check(card):
        if problem.code in ("untrusted_in_system", "variable_shadowed", "include_unresolved"):
            text = places.get(problem.where)
            if text is None:
                yield Mark("", 0, 0, "warning", f"{problem.where}: {problem.message}")
                continue
            start, end = _guilty(text.text, problem.line, problem.column)
            word = re.compile(r"[\w@#-]+").match(text.text, start)
            yield _at(text, start, word.end() if word else end, "warning", problem.message, problem.line)


def _places(card: Card) -> list[str]:
    """Return what `core.card` calls the texts of the form, in the form's order."""
    if card.messages:
        places = [f"messages[{place}]" for place in range(len(card.messages))]
    else:
        places = ["system", "template"] if card.system else ["template"]
    return places + [
        f"examples[{place}].{side}" for place in range(len(card.examples)) for side in ("user", "assistant")
    ]


def _at(text: _Text, start: int, end: int, kind: str, message: str = "", line: int = 0) -> Mark:
    if not text.text.isascii():
        start, end = (len(text.text[:place].encode("utf-16-le")) // 2 for place in (start, end))
    return Mark(text.where, start, end, kind, message, line)
