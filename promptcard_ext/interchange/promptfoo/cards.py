"""From prompts to cards: names, variables with their defaults, settings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from promptcard_ext.core import template
from promptcard_ext.core.card import Card, ModelSettings, Variable
from promptcard_ext.core.case import Case
from promptcard_ext.core.errors import CardError, TemplateError
from promptcard_ext.interchange.promptfoo.models import read_settings
from promptcard_ext.interchange.promptfoo.prompts import Prompt, Turn
from promptcard_ext.interchange.promptfoo.source import Source
from promptcard_ext.interchange.promptfoo.templates import translate

PREFIX, SUFFIX = "prompt_prefix", "prompt_suffix"


class Known(NamedTuple):
    """What the cases say about the variables.

    Attributes:
        names: All variables of all cases.
        gaps: Those that some case lacks.
        as_json: Those that hold something other than text and numbers.
        texts: Those that hold nothing but text.
    """

    names: frozenset[str]
    gaps: frozenset[str]
    as_json: frozenset[str]
    texts: frozenset[str]


def known_variables(cases: Iterable[Case]) -> Known:
    """Return what the cases say about their variables."""
    names: set[str] = set()
    shared: set[str] | None = None
    kinds: dict[str, set[str]] = {}
    for case in cases:
        names |= set(case.variables)
        shared = set(case.variables) if shared is None else shared & set(case.variables)
        for name, value in case.variables.items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            kinds.setdefault(name, set()).add("text" if isinstance(value, str) else "number" if number else "other")
    return Known(
        frozenset(names),
        frozenset(names - (shared or set())),
        frozenset(name for name, found in kinds.items() if found == {"other"}),
        frozenset(name for name, found in kinds.items() if found == {"text"}),
    )


class Naming:
    """Gives every card a name of its own."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def name(self, wanted: str) -> str:
        """Return a card name like ``wanted`` that no other card has."""
        slug = re.sub(r"[^a-z0-9]+", "-", wanted.lower()).strip("-")[:90].rstrip("-")
        slug = slug if slug[:1].isalpha() else f"prompt-{slug}".rstrip("-")
        name, number = slug, 1
        while name in self._taken:
            number += 1
            name = f"{slug}-{number}"
        self._taken.add(name)
        return name


def make_card(prompt: Prompt, known: Known, source: Source, naming: Naming, affixes: Sequence[str] = ()) -> Card | None:
    """Return the card of a prompt, or None after reporting why there is none.

    Args:
        affixes: `PREFIX`, `SUFFIX` or both, when cases put something before or after the prompt.
    """
    turns = []
    for turn in prompt.turns:
        try:
            done = translate(turn.text, "the prompt", as_json=known.as_json, gaps=known.gaps)
        except TemplateError as error:
            _report_template(turn, error)
            return None
        for remark in done.remarks:
            turn.node.changed("template_changed", remark)
        turns.append(turn._replace(text=done.text))
    fields = _messages(_with_affixes(turns, affixes))
    settings = read_settings(prompt.config, source) if prompt.config is not None else ModelSettings()
    used = frozenset().union(*(template.parse(turn.text, "the prompt").variables for turn in turns))
    _report_gaps(used, known, prompt)
    title = re.sub(r"\s+", " ", prompt.label).strip()[:200]
    try:
        declared = tuple(_variable(name, known) for name in sorted(known.names | used | set(affixes)))
        return Card(naming.name(prompt.name), title=title, variables=declared, settings=settings, **fields)
    except CardError as error:
        prompt.turns[0].node.lost(error.code, f"{error.message.rstrip('.')}; the prompt was left out", error.hint)
        return None


def _report_template(turn: Turn, error: TemplateError) -> None:
    # The line is that of the file, and so is not said again.
    column = f" (column {error.column})" if error.column else ""
    problem = re.sub(r" \(line \d+, column \d+\)", column, error.message).rstrip(".")
    line = turn.first_line + max(error.line, 1) - 1
    turn.node.lost_in_text("template_unsupported", f"{problem}; the prompt was left out", line, error.hint)


def _variable(name: str, known: Known) -> Variable:
    # promptfoo declares no types. What a case does not give is an empty text there.
    fields: dict[str, Any] = {} if name in known.texts or name not in known.names else {"type": "json"}
    if name not in known.names or name in known.gaps:
        fields["default"] = ""
    return Variable(name, **fields)


def _report_gaps(used: frozenset[str], known: Known, prompt: Prompt) -> None:
    for name in sorted(used - (known.names - known.gaps)):
        who = "some case gives" if name in known.names else "no case gives"
        prompt.turns[0].node.info("variable_missing", f"{who} no value for '{name}'; it is an empty text there")


def _with_affixes(turns: Sequence[Turn], affixes: Sequence[str]) -> list[Turn]:
    before = f"{{{{ {PREFIX} }}}}" if PREFIX in affixes else ""
    after = f"{{{{ {SUFFIX} }}}}" if SUFFIX in affixes else ""
    last = max((index for index, turn in enumerate(turns) if turn.role == "user"), default=len(turns) - 1)
    return [
        turn._replace(text=before + turn.text + after) if index == last else turn for index, turn in enumerate(turns)
    ]


def _messages(turns: Sequence[Turn]) -> dict[str, Any]:
    """Return the fields of a card that hold these messages."""
    roles = [turn.role for turn in turns]
    if roles == ["user"]:
        return {"template": turns[0].text}
    if roles == ["system", "user"]:
        return {"system": turns[0].text, "template": turns[1].text}
    return {"messages": [{"role": turn.role, "content": turn.text} for turn in turns]}


def with_settings(card: Card, settings: ModelSettings) -> Card:
    """Return the card with the settings of a model; those of the prompt itself come first."""
    own = msgspec.to_builtins(card.settings)
    return msgspec.structs.replace(
        card, settings=msgspec.convert({**msgspec.to_builtins(settings), **own}, ModelSettings)
    )
