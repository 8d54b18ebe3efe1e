"""Assertions on XML: is-xml and contains-xml, with elements that must be there.

Expat reads the XML. Nothing is fetched, entities that the answer declares are refused (a few lines of them unfold to
gigabytes), and no tree is built. Prefixes need no declaration: a fragment rarely has the one that it would need.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.parsers import expat  # Entities are refused below; the rest of expat takes any text.

from promptcard_ext.core.answer import Answer
from promptcard_ext.core.assertions.base import NO_TEXT, PASSED, Assertion, Check, Finding, register
from promptcard_ext.core.assertions.limits import TOO_COMPLEX, TOO_DEEP, TooComplex, too_long
from promptcard_ext.core.assertions.tags import CLOSE, EMPTY, OPEN, tags
from promptcard_ext.core.results import Outcome

MAX_LEVELS = 1_000
MAX_FRAGMENTS = 5_000
MAX_REQUIRED = 100

_ENTITIES = Finding(
    Outcome.UNSCORED, "entities_refused", "The answer declares entities, which are not read because they may be a bomb."
)
_NO_XML = Finding(Outcome.FAIL, "no_xml", "The answer contains no XML element that is well-formed.")


@register("is-xml")
def is_xml(assertion: Assertion) -> Check:
    """The whole answer is one well-formed XML document and has the ``requiredElements``, as paths from the root."""
    required = _required(assertion)

    def check(answer: Answer) -> Finding:
        if answer.output is None:
            return NO_TEXT
        return too_long(answer.output) or _document(answer.output.strip(), required)

    return check


@register("contains-xml")
def contains_xml(assertion: Assertion) -> Check:
    """A well-formed XML element stands somewhere in the answer and has the ``requiredElements``, as paths from it."""
    required = _required(assertion)

    def check(answer: Answer) -> Finding:
        if answer.output is None:
            return NO_TEXT
        if (unread := too_long(answer.output)) is not None:
            return unread
        try:
            return _best(answer.output, required)
        except TooComplex:
            return TOO_COMPLEX

    return check


def _required(assertion: Assertion) -> frozenset[str]:
    value = assertion.value
    if isinstance(value, dict):
        if value.keys() - {"requiredElements"}:
            raise assertion.invalid("'value' may have 'requiredElements' only")
        value = value.get("requiredElements")
    if value is None:
        return frozenset()
    if not isinstance(value, list | tuple) or len(value) > MAX_REQUIRED:
        raise assertion.invalid(f"'requiredElements' must be at most {MAX_REQUIRED} paths such as 'order.total'")
    if not all(isinstance(path, str) and path.strip(".") for path in value):
        raise assertion.invalid("a path of 'requiredElements' is empty or not a text")
    return frozenset(".".join(_local(name) for name in path.split(".")) for path in value)


def _local(name: str) -> str:
    """Return a name without its prefix."""
    return name.rpartition(":")[2]


def _best(text: str, required: frozenset[str]) -> Finding:
    found = _NO_XML
    for number, (start, end) in enumerate(_fragments(text)):
        if number >= MAX_FRAGMENTS:
            raise TooComplex
        finding = _document(text[start:end], required)
        if finding.outcome is Outcome.PASS:
            return finding
        if finding.reason != "not_xml" and found.outcome is Outcome.FAIL:
            found = finding
    return found


def _fragments(text: str) -> Iterator[tuple[int, int]]:
    """Return start and end of the outermost elements in ``text`` whose tags match; those inside are part of them."""
    opened: list[tuple[str, int]] = []
    found: list[tuple[int, int]] = []
    for tag in tags(text):
        start = tag.start
        if tag.kind == OPEN:
            opened.append((tag.name, start))
            continue
        if tag.kind == CLOSE:
            if not opened or opened[-1][0] != tag.name:
                opened.clear()
                continue
            start = opened.pop()[1]
        elif tag.kind != EMPTY:
            continue
        while found and found[-1][0] > start:
            found.pop()
        found.append((start, tag.end))
    return iter(found)


class _Refused(Exception):
    """Ends the reading, with what is found instead."""

    def __init__(self, finding: Finding) -> None:
        super().__init__()
        self.finding = finding


class _Outline:
    """Keeps the path to where the reading is, and which of the wanted paths were not seen yet."""

    def __init__(self, wanted: frozenset[str]) -> None:
        self.missing = set(wanted)
        self.paths: list[str] = []

    def start(self, name: str, _: dict[str, str]) -> None:
        if len(self.paths) >= MAX_LEVELS:
            raise _Refused(TOO_DEEP)
        if self.missing:
            path = f"{self.paths[-1]}.{_local(name)}" if self.paths else _local(name)
            self.missing.discard(path)
        else:
            path = ""
        self.paths.append(path)

    def end(self, _: str) -> None:
        self.paths.pop()


def _refuse_entity(*_: object) -> None:
    raise _Refused(_ENTITIES)


def _document(text: str, required: frozenset[str]) -> Finding:
    outline, parser = _Outline(required), expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = outline.start, outline.end
    parser.EntityDeclHandler = _refuse_entity
    try:
        parser.Parse(text, True)
    except _Refused as refused:
        return refused.finding
    except (expat.ExpatError, ValueError) as error:
        return Finding(Outcome.FAIL, "not_xml", f"The answer is not XML: {error!s:.200}.")
    if not outline.missing:
        return PASSED
    names = ", ".join(sorted(outline.missing)[:5])
    return Finding(Outcome.FAIL, "element_missing", f"The XML has no element {names:.200}.")
