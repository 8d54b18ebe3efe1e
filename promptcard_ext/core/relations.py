"""What two answers must have in common when the prompt was changed in a way that should not matter."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from promptcard_ext.core.identity import json_key, refuse_constant

MAX_CHARS = 2_000_000
_BLANKS = re.compile(r"\s+")
_OUTSIDE = re.compile(r"^\W+|\W+\Z")


class Relation(NamedTuple):
    """A relation between the answer to a prompt and the answer to a changed one.

    Attributes:
        read: Takes from an answer what is compared; None when it is not there.
        holds: ``holds(of the answer, of the answer to the changed prompt)``.
        missing: What an answer lacks that cannot be compared.
    """

    read: Callable[[str], Any]
    holds: Callable[[Any, Any], bool]
    missing: str


def relation(name: str, labels: Sequence[str] = ()) -> Relation:
    """Return a relation by its name.

    Args:
        name: ``same_text`` (white space at both ends aside), ``same_label``, ``equal_json`` (``1`` equals ``1.0``), or
            ``contains`` (the second answer contains the first; case and white space aside).
        labels: For ``same_label``: the label of an answer is the one of these that occurs in it as a word. Without
            them it is the answer itself; case, white space and punctuation around it aside.

    Example:
        >>> same = relation("same_label", ["spam", "ham"])
        >>> same.holds(same.read("Spam."), same.read("It is SPAM!")), same.read("spam or ham?")
        (True, None)
    """
    if name == "same_label" and labels:
        return Relation(_label_reader(labels), _same, "exactly one of the labels")
    return _RELATIONS[name]


def _same(one: Any, other: Any) -> bool:
    return bool(one == other)


def _plain(text: str) -> str:
    return _BLANKS.sub(" ", text).strip().casefold()


def _label(text: str) -> str | None:
    return _OUTSIDE.sub("", _plain(text)) or _plain(text) or None


def _label_reader(labels: Sequence[str]) -> Callable[[str], str | None]:
    wanted = {_plain(label) for label in labels}
    # The longest first: "very good" is not also "good".
    listed = "|".join(re.escape(label) for label in sorted(wanted, key=len, reverse=True))
    pattern = re.compile(rf"(?<!\w)(?:{listed})(?!\w)")

    def read(text: str) -> str | None:
        found = set(pattern.findall(_plain(text)))
        return found.pop() if len(found) == 1 else None

    return read


def _json(text: str) -> Any:
    if len(text) > MAX_CHARS:
        return None
    try:
        # In a tuple, because null is a value too.
        return (json_key(json.loads(text, parse_constant=refuse_constant)),)
    except (ValueError, RecursionError):
        return None


_RELATIONS = {
    "same_text": Relation(str.strip, _same, "text"),
    "same_label": Relation(_label, _same, "text"),
    "equal_json": Relation(_json, _same, "JSON and nothing else"),
    "contains": Relation(lambda text: _plain(text) or None, lambda one, other: one in (other or ""), "text"),
}
NAMES = tuple(_RELATIONS)
