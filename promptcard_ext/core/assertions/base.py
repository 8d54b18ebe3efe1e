"""The assertion value and the registry of kinds.

A kind registers a compiler: it checks the specification once and returns the function that judges. There are three:

* a *check* is a pure function of the answer: ``check(answer) -> Finding``;
* a *grade* makes further calls (a judge, embeddings, the same model again): ``await grade(answer, asker)``;
* a *contest* looks at the answers of all models and card versions to one case at once.
"""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta, Struct

from promptcard_ext.core import template
from promptcard_ext.core.answer import Answer
from promptcard_ext.core.errors import CardError
from promptcard_ext.core.fields import coerce_fields
from promptcard_ext.core.identity import canonical_json, digest
from promptcard_ext.core.ports import Asker
from promptcard_ext.core.results import Outcome, Verdict

MAX_NESTING = 4


class Finding(NamedTuple):
    """What a check found, before negation.

    Attributes:
        reason: Stable code, when it is not a pass.
        score: 0 to 1, where the kind has degrees.
        parts: Verdicts of the assertions inside, for sets and cascades.
    """

    outcome: Outcome
    reason: str | None = None
    message: str = ""
    score: float | None = None
    parts: tuple[Verdict, ...] = ()


PASSED = Finding(Outcome.PASS)
NO_TEXT = Finding(Outcome.UNSCORED, "no_text", "The answer has no text.")


class Contender(NamedTuple):
    """One answer in a contest, with what the other assertions said of it; no answer when the call failed."""

    answer: Answer | None
    verdicts: tuple[Verdict, ...]
    model: str
    label: str


Check = Callable[[Answer], Finding]
Grade = Callable[[Answer, Asker], Awaitable[Finding]]
Contest = Callable[[Sequence[Contender], Asker], Awaitable[Sequence[Finding]]]


class Assertion(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Something that must hold of an answer.

    Args:
        type: Kind, such as ``contains``; ``not-`` before it turns pass into fail and fail into pass, nothing else.
        value: What the kind compares with. Texts in it may use the case's variables: ``{{ expected }}``.
        threshold: Limit of the kinds that measure: milliseconds for ``latency``, USD for ``cost``, else mostly 0 to 1.
        metric: Name under which results are grouped.
        weight: How much it weighs in the item's score; 0 reports and decides nothing.
        provider: Model reference of the judge or the embedding model, or several for a panel; default the run's.
        transform: What to judge instead of the answer itself, as a template over ``output``, ``json`` and ``vars``:
            ``{{ json.total }}``.
        rubric_prompt: A prompt of your own for the kinds that ask a judge.
        options: Further settings of the kind.
        assertions: Those inside an ``assert-set`` or a ``cascade``.

    Raises:
        CardError: The kind does not exist (``assertion_unknown``) or its value does not fit (``assertion_invalid``).
    """

    type: Annotated[str, Meta(min_length=1, max_length=60)]
    value: Any = None
    threshold: float | None = None
    metric: Annotated[str, Meta(max_length=100)] | None = None
    weight: Annotated[float, Meta(ge=0, le=1_000_000)] = 1.0
    provider: str | tuple[str, ...] | None = None
    transform: Annotated[str, Meta(max_length=5000)] | None = None
    rubric_prompt: Annotated[str, Meta(max_length=template.MAX_TEMPLATE_CHARS)] | None = None
    options: dict[str, Any] = {}
    assertions: tuple[Assertion, ...] = ()

    def __post_init__(self) -> None:
        coerce_fields(self, f"assertion '{self.type!s:.60}'")
        if self.kind not in _COMPILERS:
            close = difflib.get_close_matches(self.kind, _COMPILERS, 1)
            raise CardError(
                f"There is no assertion '{self.type}'.",
                hint=f"Did you mean '{self.type[: -len(self.kind)]}{close[0]}'?"
                if close
                else f"There are: {', '.join(kinds())}.",
                code="assertion_unknown",
            )
        compiled(self)

    @property
    def kind(self) -> str:
        """The type without ``not-``."""
        return self.type.removeprefix("not-")

    @property
    def negated(self) -> bool:
        """Whether the type begins with ``not-``."""
        return self.type.startswith("not-")

    @property
    def uid(self) -> str:
        """Identity of what is asserted: SHA-256 of everything but metric and weight."""
        more = {
            name: value
            for name in ("provider", "transform", "rubric_prompt", "options")
            if (value := getattr(self, name))
        }
        if self.assertions:
            # Inside a set a weight does decide.
            more["assertions"] = [[inner.uid, inner.weight] for inner in self.assertions]
        return digest([self.type, self.value, self.threshold, *([more] if more else [])])

    @property
    def judges(self) -> tuple[str, ...]:
        """The model references in ``provider``."""
        if self.provider is None:
            return ()
        return (self.provider,) if isinstance(self.provider, str) else self.provider

    def invalid(self, problem: str) -> CardError:
        """Return the error that says why this specification cannot be used."""
        return CardError(f"Assertion '{self.type}': {problem}.", code="assertion_invalid")


class Compiled(NamedTuple):
    """An assertion ready to judge; exactly one of ``check``, ``grade`` and ``contest`` is set."""

    assertion: Assertion
    uid: str
    check: Check | None = None
    grade: Grade | None = None
    contest: Contest | None = None


class Graded(NamedTuple):
    """What the compiler of a kind returns that makes further calls."""

    grade: Grade


class Contested(NamedTuple):
    """What the compiler of a kind returns that compares the answers of a case with each other."""

    contest: Contest


Compiler = Callable[[Assertion], Check | Graded | Contested]
_COMPILERS: dict[str, Compiler] = {}
_NEEDS: dict[str, frozenset[str]] = {}
_VERBATIM: set[str] = set()


def register(*names: str, needs: Sequence[str] = (), verbatim: bool = False) -> Callable[[Compiler], Compiler]:
    """Register a compiler for an assertion kind under one or more names (decorator).

    Args:
        needs: What the kind asks of the run unless the assertion names a ``provider``: ``judge``, ``embedder``; and
            ``variables`` when it looks at more than the answer.
        verbatim: Whether its texts stay as they are: ``{{`` is no variable in them. For code, into which the values of
            a case must never get.
    """

    def add(compiler: Compiler) -> Compiler:
        for name in names:
            _COMPILERS[name] = compiler
            _NEEDS[name] = frozenset(needs)
            if verbatim:
                _VERBATIM.add(name)
        return compiler

    return add


def needs_of_kind(kind: str) -> frozenset[str]:
    """Return what a kind was registered to need: ``judge``, ``embedder``, ``variables``."""
    return _NEEDS[kind]


def needs(assertion: Assertion) -> set[str]:
    """Return what an assertion asks of the run: ``judge``, ``embedder``, both or nothing."""
    wanted = set(_NEEDS[assertion.kind] & {"judge", "embedder"})
    if assertion.provider:
        # What it names is the judge of a kind that has one, and the embedding model of a kind that has none.
        wanted.discard("judge" if "judge" in wanted else "embedder")
    if "embedder" in assertion.options:
        wanted.discard("embedder")
    return wanted.union(*(needs(inner) for inner in assertion.assertions))


def named_models(assertion: Assertion) -> set[str]:
    """Return the model references that an assertion, or one inside it, names: judges, and embedding models."""
    named = {assertion.options["embedder"]} if isinstance(assertion.options.get("embedder"), str) else set()
    return named.union(assertion.judges, *(named_models(inner) for inner in assertion.assertions))


def looks_beyond_text(assertion: Assertion) -> bool:
    """Tell whether an assertion looks at the case's variables, and not at the answer alone."""
    return (
        assertion.transform is not None
        or "variables" in _NEEDS[assertion.kind]
        or any(looks_beyond_text(inner) for inner in assertion.assertions)
    )


def kinds() -> list[str]:
    """Return the names of all assertion kinds."""
    return sorted(_COMPILERS)


def describe(kind: str) -> str:
    """Return the documentation of a kind."""
    return (_COMPILERS[kind].__doc__ or "").strip()


_CACHE: dict[str, Compiled] = {}
_CACHE_SIZE = 4096


def compiled(assertion: Assertion, variables: Mapping[str, Any] | None = None) -> Compiled:
    """Return the assertion compiled; equal ones (thousands of cases share a schema) are compiled once.

    Args:
        variables: Of the case, for values with ``{{ variables }}``; without them such a value is only parsed.

    Raises:
        CardError: Its value does not fit its kind (``assertion_invalid``).
        TemplateError: A text in it does not parse, or uses a variable that the case does not have.
    """
    if assertion.assertions:
        _check_nesting(assertion)
    try:
        uid = assertion.uid
    except (TypeError, ValueError, RecursionError):
        raise assertion.invalid("its value is not JSON") from None
    if variables is not None and has_template(assertion):
        return _compile(filled(assertion, variables), uid)
    key = canonical_json([uid, assertion.metric, assertion.weight, _weights(assertion)])
    found = _CACHE.get(key)
    if found is None:
        if len(_CACHE) >= _CACHE_SIZE:
            _CACHE.clear()
        _check_transform(assertion)
        # What a value with variables will be is not known yet; that it parses is.
        found = Compiled(assertion, uid) if has_template(assertion) else _compile(assertion, uid)
        _CACHE[key] = found
    return found


def compiled_as_it_is(assertion: Assertion) -> Compiled:
    """Return an assertion compiled whose variables are filled in already: braces in a value of theirs are just text."""
    return _compile(assertion, assertion.uid) if has_template(assertion) else compiled(assertion)


def _weights(assertion: Assertion) -> list[Any]:
    return [[inner.metric, inner.weight, _weights(inner)] for inner in assertion.assertions]


def _compile(assertion: Assertion, uid: str) -> Compiled:
    made = _COMPILERS[assertion.kind](assertion)
    if isinstance(made, Graded):
        return Compiled(assertion, uid, grade=made.grade)
    if isinstance(made, Contested):
        return Compiled(assertion, uid, contest=made.contest)
    return Compiled(assertion, uid, check=made)


def _check_transform(assertion: Assertion) -> None:
    if assertion.transform is not None:
        from promptcard_ext.core.assertions.transform import parsed_transform

        parsed_transform(assertion.transform)


def _check_nesting(assertion: Assertion, level: int = 1) -> None:
    if level > MAX_NESTING:
        raise assertion.invalid(f"assertions are nested deeper than {MAX_NESTING} levels")
    for inner in assertion.assertions:
        _check_nesting(inner, level + 1)


def has_template(assertion: Assertion) -> bool:
    """Tell whether a text in the assertion uses variables."""
    if assertion.kind in _VERBATIM:
        return False
    return (
        _uses_template(assertion.value)
        or _uses_template(assertion.options)
        or any(has_template(inner) for inner in assertion.assertions)
    )


def _uses_template(value: Any) -> bool:
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    if isinstance(value, Mapping):
        return any(_uses_template(part) for part in value.values())
    return isinstance(value, list | tuple) and any(_uses_template(part) for part in value)


def filled(assertion: Assertion, variables: Mapping[str, Any]) -> Assertion:
    """Return the assertion with the case's variables in its texts.

    Raises:
        TemplateError: A text does not parse, or uses a variable that the case does not have.
    """
    if assertion.kind in _VERBATIM:
        return assertion
    name = f"assertion '{assertion.type}'"
    return msgspec.structs.replace(
        assertion,
        value=_fill(assertion.value, variables, name),
        options=_fill(assertion.options, variables, name),
        assertions=tuple(filled(inner, variables) for inner in assertion.assertions),
    )


def _fill(value: Any, variables: Mapping[str, Any], name: str) -> Any:
    if isinstance(value, str):
        return template.parse(value, name).render(variables) if _uses_template(value) else value
    if isinstance(value, Mapping):
        return {key: _fill(part, variables, name) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_fill(part, variables, name) for part in value]
    return value
