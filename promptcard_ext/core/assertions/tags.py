"""The tags in a text: what looks like XML or HTML, in linear time, without a judgement on the whole."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from promptcard_ext.core.assertions.limits import TooComplex

MAX_TAG_CHARS = 5_000
# Three microseconds each.
MAX_TAGS = 100_000
# Tags that begin and do not end, each of which may be read to its limit.
_MAX_BROKEN = 2_000
_TAG = re.compile(
    r"""<(?P<close>/?)(?P<name>[^\W\d][\w:.-]*+)(?=[\s/>])(?:[^<>"']++|"[^"]*+"|'[^']*+')*+>""", re.DOTALL
)
_NAMED = re.compile(r"</?[^\W\d][\w:.-]*+(?=[\s/>])")
_DECLARATIONS = (("<!--", "-->"), ("<![CDATA[", "]]>"), ("<?", "?>"), ("<!", ">"))

OPEN, CLOSE, EMPTY, OTHER, BROKEN = "open", "close", "empty", "other", "broken"


class Tag(NamedTuple):
    """One tag, comment or declaration.

    Attributes:
        kind: `OPEN`, `CLOSE`, `EMPTY` (``<br/>``), `OTHER` (comment, declaration), or `BROKEN`: it begins and does not
            end.
        name: As it is written; of a declaration its beginning, such as ``<!--``.
    """

    kind: str
    name: str
    start: int
    end: int


def tags(text: str, raw: frozenset[str] = frozenset()) -> Iterator[Tag]:
    """Yield the tags of ``text`` in order.

    Args:
        raw: Names of elements, in lower case, in which nothing is a tag but their own end: ``script``.

    Raises:
        TooComplex: There are more than 100,000 of them, or too many that begin and do not end.

    Example:
        >>> [(tag.kind, tag.name) for tag in tags('1 < 2, <p class="a>b">x<br/></p>')]
        [('open', 'p'), ('empty', 'br'), ('close', 'p')]
    """
    endless: set[str] = set()
    seen = broken = position = 0
    while (start := text.find("<", position)) >= 0:
        seen += 1
        tag = _declaration(text, start, endless) or _element(text, start)
        if seen > MAX_TAGS or broken > _MAX_BROKEN:
            raise TooComplex
        if tag is None:
            position = start + 1
            continue
        if tag.kind == BROKEN:
            broken += 1
        yield tag
        position = tag.end
        if tag.kind == OPEN and (name := tag.name.lower()) in raw and name not in endless:
            position = _raw_end(text, position, name, endless)


def _element(text: str, start: int) -> Tag | None:
    match = _TAG.match(text, start, start + MAX_TAG_CHARS)
    if match is None:
        return Tag(BROKEN, "", start, start + 1) if _NAMED.match(text, start, start + MAX_TAG_CHARS) else None
    kind = CLOSE if match["close"] else EMPTY if text[match.end() - 2] == "/" else OPEN
    return Tag(kind, match["name"], start, match.end())


def _declaration(text: str, start: int, endless: set[str]) -> Tag | None:
    for opening, closing in _DECLARATIONS:
        if text.startswith(opening, start):
            # Once there is no end, there is none further on either.
            end = -1 if opening in endless else text.find(closing, start + len(opening))
            if end >= 0:
                return Tag(OTHER, opening, start, end + len(closing))
            endless.add(opening)
            return Tag(BROKEN, opening, start, start + len(opening))
    return None


def _raw_end(text: str, position: int, name: str, endless: set[str]) -> int:
    found = re.compile(rf"</{re.escape(name)}(?=[\s/>])", re.IGNORECASE).search(text, position)
    if found is None:
        endless.add(name)
        return position
    return found.start()
