"""Columns of the case table: from a cell's text to a value of a case, and back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.card import Card
from promptcard_ext.core.case import Case
from promptcard_ext.core.contract.cases import SavedCase
from promptcard_ext.core.errors import PromptCardError
from promptcard_ext.core.identity import canonical_json, refuse_constant
from promptcard_ext.core.variables import Variable
from promptcard_ext.interchange.cell_types import MISSING, cell_text, typed
from promptcard_ext.interchange.csv_expected import format_expected, parse_expected
from promptcard_ext.interchange.table_columns import join_list, split_list
from promptcard_ext.widgets.case_draft import Draft, Wrong

PRIORITIES = ("high", "medium", "low")
MAX_TAG_CHARS = 50
MAX_UNKNOWN = 50
_UNKNOWN = "The card has no such variable; empty this column in every case before you run it."
MAX_NAME_CHARS = 255
MAX_PRIORITY_CHARS = 20


class Column(NamedTuple):
    """One column.

    Attributes:
        id: ``variables.`` and the name of a variable, or the name of a field of a case.
        title: What stands above it.
        kind: Type of the variable, or what the field holds: ``text``, ``tags``, ``priority``, …
        values: What it may hold, where that is known.
        open: Whether it may hold something else, too.
        hint: For people.
        default: Text of what holds where a cell is empty.
        variable: As the card declares it; None for a field, and for a variable that is not declared.
        unknown: Whether it is a variable that cases give and the card does not have.
    """

    id: str
    title: str
    kind: str
    values: tuple[str, ...] = ()
    open: bool = False
    hint: str = ""
    default: str = ""
    variable: Variable | None = None
    unknown: bool = False

    @property
    def name(self) -> str:
        """Name of the variable, or an empty text for a field."""
        return self.id.removeprefix("variables.") if self.id.startswith("variables.") else ""

    def text(self, draft: Draft) -> str:
        """Return what is edited and copied."""
        if self.id in draft.wrong:
            return draft.wrong[self.id].text
        if self.name:
            value = draft.variables.get(self.name, MISSING)
            return "" if value is MISSING else cell_text(value, self.variable)
        return _WRITERS[self.id](draft)

    def shown(self, draft: Draft) -> str:
        """Return what stands in the cell: of assertions their short forms."""
        if self.id == "assertions" and self.id not in draft.wrong:
            return " · ".join(map(summary, draft.assertions))
        return self.text(draft)

    def found(self, draft: Draft) -> str:
        """Return what is looked through when somebody searches."""
        if self.id == "assertions" and self.id not in draft.wrong:
            # Ten thousand short forms would take a second.
            return " ".join(f"{one.type}: {one.value}" for one in draft.assertions)
        return self.text(draft)

    def put(self, draft: Draft, text: str) -> Draft:
        """Return the draft with another text in this cell; what does not fit is kept as `Wrong`."""
        try:
            changed = self._filled(draft, text)
        except PromptCardError as error:
            # What was given for a secret may be the secret itself: it is not kept.
            return self._with_wrong(draft, Wrong("" if self.kind == "secret" else text, error.message))
        except json.JSONDecodeError:
            return self._with_wrong(draft, Wrong(text, f"{text!r:.60} is no JSON."))
        except ValueError as error:
            return self._with_wrong(draft, Wrong(text, f"{str(error)[:1].upper()}{str(error)[1:]}.".replace("..", ".")))
        return self._with_wrong(changed, None)

    def _with_wrong(self, draft: Draft, wrong: Wrong | None) -> Draft:
        others = {name: one for name, one in draft.wrong.items() if name != self.id}
        return replace(draft, wrong=others if wrong is None else {**others, self.id: wrong})

    def _filled(self, draft: Draft, text: str) -> Draft:
        if not self.name:
            return replace(draft, **{self.id: _READERS[self.id](text)})
        value = self._value(draft, text)
        variables = {name: one for name, one in draft.variables.items() if name != self.name}
        if value is not MISSING:
            if self.variable is not None:
                self.variable.check(value, "this case")
            canonical_json(value)
            # In its old place: the order of variables says nothing, and need not change.
            variables = {**draft.variables, self.name: value}
        return replace(draft, variables=variables)

    def _value(self, draft: Draft, text: str) -> Any:
        if self.variable is not None:
            return typed(text, self.variable)
        if text == "":
            return MISSING
        # Not declared: what was no text stays none, as long as it can be read.
        before = draft.variables.get(self.name, "")
        return text if isinstance(before, str) else typed(text, Variable(self.name, "json"))


def columns_of(card: Card, cases: Iterable[Case | SavedCase] = ()) -> tuple[Column, ...]:
    """Return the columns for the cases of a card, in the order of the table.

    Args:
        cases: What they give beyond the card's variables has columns, too: it may be of an older version.
    """
    declared: dict[str, Variable | None] = {variable.name: variable for variable in card.variables}
    known = declared or dict.fromkeys(sorted(card.used_variables))
    unknown = [name for name in dict.fromkeys(name for case in cases for name in case.variables) if name not in known]
    return (
        Column("name", "name", "text"),
        *(_variable_column(name, variable) for name, variable in known.items()),
        *(Column(f"variables.{name}", name, "string", hint=_UNKNOWN, unknown=True) for name in unknown[:MAX_UNKNOWN]),
        Column("tags", "tags", "tags", hint=r"Between commas; \, is a comma. Cases tagged quarantined are set aside."),
        Column("priority", "priority", "priority", PRIORITIES, open=True),
        Column("threshold", "threshold", "threshold", hint="Least score that passes, 0 to 1; empty wants all to hold."),
        Column("expected_output", "expected", "text", hint="The answer that was expected; kept for people."),
        Column("assertions", "assertions", "assertions", hint="What must hold of the answer."),
    )


def _variable_column(name: str, variable: Variable | None) -> Column:
    if variable is None:
        return Column(f"variables.{name}", name, "string")
    values = ("true", "false") if variable.type == "boolean" else variable.values
    default = "" if variable.default is msgspec.UNSET else f"{cell_text(variable.default, variable):.100}"
    return Column(
        f"variables.{name}", name, variable.type, values, hint=variable.description, default=default, variable=variable
    )


def summary(assertion: Assertion) -> str:
    """Return an assertion in a few words.

    Example:
        >>> summary(Assertion("latency", threshold=500)), summary(Assertion("contains", "a", weight=2))
        ('latency(500)', 'contains: a ×2')
    """
    short = format_expected(assertion)
    if short is not None:
        return short
    value = "" if assertion.value is None else f": {cell_text(assertion.value):.60}"
    limit = "" if assertion.threshold is None else f"({assertion.threshold:g})"
    inside = f" [{len(assertion.assertions)}]" if assertion.assertions else ""
    weight = "" if assertion.weight == 1 else f" ×{assertion.weight:g}"
    return f"{assertion.type}{limit}{value}{inside}{weight}"


# -- fields ----------------------------------------------------------------------------------------------------------


def _name(text: str) -> str:
    if len(text) > MAX_NAME_CHARS:
        raise ValueError(f"a name has at most {MAX_NAME_CHARS} characters")
    return text.strip()


def read_tags(text: str) -> tuple[str, ...]:
    r"""Return the tags in a text: between commas, each once; ``\,`` is a comma.

    Raises:
        ValueError: One has more than 50 characters.
    """
    tags = tuple(dict.fromkeys(split_list(text)))
    if any(len(tag) > MAX_TAG_CHARS for tag in tags):
        raise ValueError(f"a tag has at most {MAX_TAG_CHARS} characters")
    return tags


def _priority(text: str) -> str:
    text = text.strip()
    if len(text) > MAX_PRIORITY_CHARS:
        raise ValueError(f"a priority has at most {MAX_PRIORITY_CHARS} characters; high, medium and low are usual")
    return text.lower() if text.lower() in PRIORITIES else text or "medium"


def _threshold(text: str) -> float | None:
    if not text.strip():
        return None
    value = typed(text, Variable("threshold", "number"))
    if not 0 <= value <= 1:
        raise ValueError(f"{text!r:.60} is not between 0 and 1")
    return float(value)


def _assertions(text: str) -> tuple[Assertion, ...]:
    """Return assertions from JSON as in a card file, or from short forms, one a line."""
    text = text.strip()
    if text.startswith("["):
        try:
            written = json.loads(text, parse_constant=refuse_constant)
        except (ValueError, RecursionError):
            raise ValueError("it is no JSON list of assertions") from None
        try:
            return msgspec.convert(written, tuple[Assertion, ...])
        except msgspec.ValidationError as error:
            if isinstance(error.__cause__, PromptCardError):
                raise error.__cause__ from None
            raise ValueError(f"it is no list of assertions: {error}") from None
    return tuple(Assertion(**parse_expected(line)) for line in text.splitlines() if line.strip())


def assertions_text(assertions: tuple[Assertion, ...]) -> str:
    """Return assertions as one cell: short forms, one a line, or JSON where those cannot hold them."""
    short = [format_expected(one) for one in assertions]
    lines = [one for one in short if one is not None and len(one.splitlines()) == 1]
    text = "\n".join(lines)
    if len(lines) == len(assertions) and not text.startswith("["):
        return text
    return json.dumps(msgspec.to_builtins(assertions), ensure_ascii=False)


_READERS: dict[str, Callable[[str], Any]] = {
    "name": _name,
    "tags": read_tags,
    "priority": _priority,
    "threshold": _threshold,
    "expected_output": lambda text: text or None,
    "assertions": _assertions,
}
_WRITERS: dict[str, Callable[[Draft], str]] = {
    "name": lambda draft: draft.name,
    "tags": lambda draft: ", ".join(join_list([tag]) for tag in draft.tags),
    "priority": lambda draft: draft.priority,
    "threshold": lambda draft: "" if draft.threshold is None else f"{draft.threshold!r}",
    "expected_output": lambda draft: draft.expected_output or "",
    "assertions": lambda draft: assertions_text(draft.assertions),
}
