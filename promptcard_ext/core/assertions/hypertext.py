"""Assertions on HTML: is-html and contains-html.

A browser accepts any text as HTML, so "valid" cannot be what a browser shows. Here it is what a person would call HTML
on sight: known elements, opened and closed in order, where the standard lets the end tag be left out, without it.
"""

from __future__ import annotations

import re
from itertools import pairwise

from promptcard_ext.core.answer import Answer
from promptcard_ext.core.assertions.base import NO_TEXT, PASSED, Assertion, Check, Finding, register
from promptcard_ext.core.assertions.limits import TOO_COMPLEX, TooComplex, too_long
from promptcard_ext.core.assertions.tags import BROKEN, CLOSE, EMPTY, OPEN, OTHER, Tag, tags
from promptcard_ext.core.results import Outcome

# Elements of the HTML standard (sections 4.1 to 4.12), those without content, and those whose end tag may be left out.
VOID = frozenset((
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr",
))  # fmt: skip
OPTIONAL_END = frozenset((
    "html", "head", "body", "p", "li", "dt", "dd", "option", "optgroup", "tr", "td", "th", "thead", "tbody",
    "tfoot", "colgroup", "caption", "rt", "rp",
))  # fmt: skip
RAW = frozenset(("script", "style", "textarea", "title"))
ELEMENTS = VOID | OPTIONAL_END | RAW | frozenset((
    "a", "abbr", "address", "article", "aside", "audio", "b", "bdi", "bdo", "blockquote", "button", "canvas",
    "center", "cite", "code", "data", "datalist", "del", "details", "dfn", "dialog", "div", "dl", "em", "fieldset",
    "figcaption", "figure", "font", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hgroup", "i",
    "iframe", "ins", "kbd", "label", "legend", "main", "map", "mark", "math", "menu", "meter", "nav", "noscript",
    "object", "ol", "output", "picture", "pre", "progress", "q", "ruby", "s", "samp", "search", "section", "select",
    "slot", "small", "span", "strong", "sub", "summary", "sup", "svg", "table", "template", "time", "u", "ul",
    "var", "video",
))  # fmt: skip
MAX_LEVELS = 1_000
# Elements of other languages may stand in these.
_FOREIGN = frozenset(("svg", "math"))
_DOCTYPE = re.compile(r"<!doctype\s+html\b", re.IGNORECASE)
_NO_HTML = Finding(Outcome.FAIL, "no_html", "The answer contains no HTML element.")


@register("is-html")
def is_html(assertion: Assertion) -> Check:
    """The whole answer is HTML: a document or fragment of known elements in order, without text around them."""

    def check(answer: Answer) -> Finding:
        if answer.output is None:
            return NO_TEXT
        if (unread := too_long(answer.output)) is not None:
            return unread
        try:
            problem = _problem(answer.output.strip())
        except TooComplex:
            return TOO_COMPLEX
        return PASSED if problem is None else Finding(Outcome.FAIL, "not_html", f"The answer is not HTML: {problem}.")

    return check


@register("contains-html")
def contains_html(assertion: Assertion) -> Check:
    """An HTML element stands somewhere in the answer: opened and closed, or one without content such as ``<br>``."""

    def check(answer: Answer) -> Finding:
        if answer.output is None:
            return NO_TEXT
        if (unread := too_long(answer.output)) is not None:
            return unread
        try:
            return PASSED if _has_element(answer.output) else _NO_HTML
        except TooComplex:
            return TOO_COMPLEX

    return check


def _has_element(text: str) -> bool:
    opened: set[str] = set()
    for tag in tags(text, RAW):
        name = tag.name.lower()
        if tag.kind == OTHER and _DOCTYPE.match(text, tag.start):
            return True
        if name not in ELEMENTS:
            continue
        if tag.kind == EMPTY or name in VOID or (tag.kind == CLOSE and name in opened):
            return True
        opened.add(name)
    return False


def _problem(text: str) -> str | None:
    """Return why ``text`` is not HTML, as a clause, or None when it is."""
    if not text.startswith("<") or not text.endswith(">"):
        return "there is text around the elements"
    page = _Page()
    found = list(tags(text, RAW))
    for tag, following in pairwise([*found, Tag(OTHER, "", len(text), len(text))]):
        if (problem := page.read(tag)) is not None:
            return problem
        if not page.opened and text[tag.end : following.start].strip():
            return "there is text around the elements"
    return page.end()


class _Page:
    """What is open while the tags are read one after the other."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.elements = 0

    def read(self, tag: Tag) -> str | None:
        """Return what is wrong with the tag here, as a clause."""
        name = tag.name.lower()
        if tag.kind == BROKEN:
            return f"a tag has no end (character {tag.start + 1:,})"
        if tag.kind == OTHER:
            return "it is XML" if name == "<?" and not self.opened else None
        if tag.kind == CLOSE:
            return self._close(name)
        if not self._known(name):
            return f"there is no element {name!r:.60}"
        self.elements += 1
        if tag.kind == OPEN and name not in VOID:
            if len(self.opened) >= MAX_LEVELS:
                raise TooComplex
            self.opened.append(name)
        return None

    def _known(self, name: str) -> bool:
        return name in ELEMENTS or "-" in name or any(outer in _FOREIGN for outer in self.opened)

    def _close(self, name: str) -> str | None:
        while self.opened:
            last = self.opened.pop()
            if last == name:
                return None
            if last not in OPTIONAL_END:
                return f"{last!r:.60} is not closed before {name!r:.60}"
        return f"{name!r:.60} is closed and was not open"

    def end(self) -> str | None:
        """Return what is wrong when nothing follows."""
        for name in self.opened:
            if name not in OPTIONAL_END:
                return f"{name!r:.60} is not closed"
        return None if self.elements else "it has no element"
