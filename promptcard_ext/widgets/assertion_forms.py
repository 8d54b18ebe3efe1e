"""Assertions as they are typed: kind, value and arguments, with completion, documentation and what is wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from promptcard_ext.core.assertions import Assertion, kinds
from promptcard_ext.core.assertions.base import describe, needs_of_kind
from promptcard_ext.core.errors import CardError, PromptCardError
from promptcard_ext.core.identity import refuse_constant
from promptcard_ext.core.variables import Variable
from promptcard_ext.interchange.cell_types import cell_text, typed

MAX_ASSERTIONS = 100
# JSON stands for its value, and a text that is none for itself.
_ANY = Variable("value", "json")
# Of every kind, with what they mean.
ARGUMENTS = {
    "threshold": "Limit: milliseconds for latency, USD for cost, else mostly 0 to 1",
    "weight": "How much it weighs in the score of the case; 1 by default, 0 is reported and decides nothing",
    "metric": "Name under which results are summed up",
    "transform": "What is judged instead of the answer, such as {{ json.total }}",
    "provider": "The judge or embedding model; several as a JSON list",
    "rubric_prompt": "A prompt of your own for the judge",
    "assertions": "JSON list of the assertions inside",
}
_JUDGED = {"options.vote": "How several judges decide, such as majority or all"}
_CONTEXT = {
    "options.context": "The passages, as a text or a JSON list",
    "options.context_transform": "Where the passages are, such as json.context or vars.passages",
}
# Options of kinds, which their compilers check.
_OPTIONS: dict[str, dict[str, str]] = {
    "answer-relevance": {"options.embedder": "Model that makes the vectors"},
    "cascade": {"options.pass_at": "Score from which on a stage settles it as pass"},
    "context-faithfulness": _CONTEXT,
    "context-recall": _CONTEXT,
    "context-relevance": _CONTEXT,
    "conversation-relevance": {"options.window_size": "How many turns are judged together, 1 to 100"},
    "factuality": {"options.factuality": "JSON of scores by category"},
    "max-score": {"options.method": "average or sum", "options.weights": "JSON of weights by assertion type"},
    "meteor": {"options.synonyms": "true counts synonyms from WordNet as equal"},
    "rouge-n": {"options.n": "Length of the n-grams, 1 by default"},
    "select-best": {"options.method": "pairs or knockout", **_JUDGED},
}
_VALUES: dict[str, tuple[str, ...]] = {
    "finish-reason": ("stop", "length", "content_filter", "tool_calls"),
    "is-sql": ('{"databaseType": "PostgreSQL"}',),
    "contains-sql": ('{"databaseType": "PostgreSQL"}',),
    "is-json": ('{"type": "object", "required": []}',),
    "contains-json": ('{"type": "object", "required": []}',),
    "is-xml": ('{"requiredElements": ["root"]}',),
    "contains-xml": ('{"requiredElements": ["root"]}',),
    "word-count": ("100", '{"min": 1, "max": 100}'),
    "contains-any": ('["one", "another"]',),
    "contains-all": ('["one", "another"]',),
}
_INSIDE = frozenset({"assert-set", "cascade"})
_NO_VALUE = frozenset(
    {"latency", "cost", "is-refusal", "perplexity", "perplexity-score", "assert-set", "cascade", "is-html",
     "contains-html", "is-valid-function-call", "is-valid-openai-function-call", "is-valid-openai-tools-call"}
)  # fmt: skip


class Form(Struct, frozen=True, forbid_unknown_fields=True):
    """One assertion as it is typed.

    Attributes:
        type: Kind, with ``not-`` before it or not.
        value: Text.
        json: Whether the text is JSON of the value, and not the value.
        arguments: The other fields by name, as text; those of ``options`` as ``options.n``.
    """

    type: str
    value: str
    json: bool
    arguments: dict[str, str]

    @classmethod
    def of(cls, assertion: Assertion) -> Form:
        """Return the form in which an assertion is typed."""
        written: dict[str, Any] = msgspec.to_builtins(assertion)
        value = written.get("value")
        arguments = {name: cell_text(written[name]) for name in ARGUMENTS if name in written}
        arguments |= {f"options.{name}": cell_text(one, _ANY) for name, one in written.get("options", {}).items()}
        is_json = value is not None and not isinstance(value, str)
        return cls(assertion.type, "" if value is None else cell_text(value), is_json, arguments)

    @classmethod
    def read(cls, given: Any) -> Form:
        """Return what the browser has sent.

        Raises:
            CardError: It is no form.
        """
        try:
            return msgspec.convert(given, Form)
        except msgspec.ValidationError as error:
            raise CardError(f"This is no assertion: {error}.", code="assertion_invalid") from None

    def assertion(self) -> Assertion:
        """Return the assertion.

        Raises:
            CardError: It cannot be one; says why.
        """
        fields: dict[str, Any] = {}
        options: dict[str, Any] = {}
        for name, text in self.arguments.items():
            if name.startswith("options."):
                options[name.removeprefix("options.")] = typed(text, _ANY)
            elif name not in ARGUMENTS:
                raise self._wrong(name, "is no argument")
            elif text.strip():
                fields[name] = self._argument(name, text)
        if self.value or self.json:
            fields["value"] = self._parsed("value", self.value) if self.json else self.value
        if options:
            fields["options"] = options
        try:
            return msgspec.convert({"type": self.type.strip(), **fields}, Assertion)
        except msgspec.ValidationError as error:
            cause = error.__cause__
            if isinstance(cause, PromptCardError):
                raise cause from None
            raise CardError(f"Assertion '{self.type:.60}': {error}.", code="assertion_invalid") from None

    def _argument(self, name: str, text: str) -> Any:
        if name in ("threshold", "weight"):
            try:
                return float(text)
            except ValueError:
                raise self._wrong(name, "is no number") from None
        if name == "assertions":
            return self._parsed(name, text)
        return typed(text, _ANY) if name == "provider" and text.lstrip().startswith("[") else text

    def _parsed(self, name: str, text: str) -> Any:
        try:
            return json.loads(text, parse_constant=refuse_constant)
        except (ValueError, RecursionError):
            raise self._wrong(name, "is no JSON") from None

    def _wrong(self, name: str, problem: str) -> CardError:
        return CardError(f"Assertion '{self.type:.60}': '{name}' {problem}.", code="assertion_invalid")


def problems_of(forms: Sequence[Form]) -> list[str]:
    """Return for each assertion what is wrong with it; empty texts when nothing is."""
    return [_problem(form) for form in forms]


def _problem(form: Form) -> str:
    try:
        form.assertion()
    except PromptCardError as error:
        return f"{error.message} {error.hint}".strip()
    return ""


def assertions_of(given: Any) -> tuple[Assertion, ...]:
    """Return the assertions that the browser has sent as forms.

    Raises:
        CardError: One of them cannot be used, or there are more than 100.
    """
    if not isinstance(given, list) or len(given) > MAX_ASSERTIONS:
        raise CardError(f"A case has at most {MAX_ASSERTIONS} assertions.", code="assertion_invalid")
    return tuple(Form.read(one).assertion() for one in given)


def catalogue() -> list[dict[str, Any]]:
    """Return all kinds with their documentation, what their value may look like, and their arguments."""
    return [_entry(kind) for kind in kinds()]


def _entry(kind: str) -> dict[str, Any]:
    needs = needs_of_kind(kind)
    arguments: Mapping[str, str] = _OPTIONS.get(kind, _JUDGED if "judge" in needs else {})
    common = {name: hint for name, hint in ARGUMENTS.items() if _takes(kind, name, needs)}
    return {
        "kind": kind,
        "about": " ".join(describe(kind).replace("``", "").split()),
        "value": kind not in _NO_VALUE,
        "values": list(_VALUES.get(kind, ())),
        "json": any(one[:1] in "[{" for one in _VALUES.get(kind, ())),
        "arguments": [[name, hint] for name, hint in {**common, **arguments}.items()],
        "needs": sorted(needs & {"judge", "embedder"}),
    }


def _takes(kind: str, name: str, needs: frozenset[str]) -> bool:
    if name == "assertions":
        return kind in _INSIDE
    if name == "rubric_prompt":
        return "judge" in needs
    return name != "provider" or bool(needs & {"judge", "embedder"})
