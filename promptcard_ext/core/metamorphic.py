"""Changes of a text that should not change what a model answers: typing errors, case, white space, order, locale.

None of them paraphrases, so none needs a model: the same seed makes the same change on every machine.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, NamedTuple

Change = Callable[[Any, Random, Mapping[str, Any]], Any]

MAX_RATE = 0.5


class Transform(NamedTuple):
    """One kind of change.

    Attributes:
        change: ``change(value, chance, parameters)`` returns the changed value of a variable, or the same one.
        parameters: What may be set, with what is allowed: names, or the least and greatest number.
        random: Whether another seed may make another change.
    """

    change: Change
    parameters: Mapping[str, tuple[Any, ...]]
    random: bool


# Neighbours on a QWERTY keyboard.
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_NEAR = {
    key: row[max(0, place - 1) : place] + row[place + 1 : place + 2] for row in _ROWS for place, key in enumerate(row)
}
# Letters inside a word of four or more: with its ends right, a word can still be read.
_INSIDE = re.compile(r"(?<=[^\W\d_])[^\W\d_]{2,}(?=[^\W\d_])")


def typo(value: Any, chance: Random, parameters: Mapping[str, Any]) -> Any:
    """Misspell some words: neighbouring letters change places, or one becomes the key beside it.

    Args:
        parameters: ``rate``: share of the words of four letters or more that are misspelt, at least one (0.1).
    """
    if not isinstance(value, str):
        return value
    words = list(_INSIDE.finditer(value))
    if not words:
        return value
    number = max(1, round(len(words) * parameters.get("rate", 0.1)))
    pieces, end = [], 0
    for place in sorted(chance.sample(range(len(words)), min(number, len(words)))):
        word = words[place]
        pieces += [value[end : word.start()], _misspelt(word[0], chance)]
        end = word.end()
    return "".join(pieces) + value[end:]


def _misspelt(letters: str, chance: Random) -> str:
    place = chance.randrange(len(letters) - 1)
    first, second = letters[place], letters[place + 1]
    if first != second and chance.random() < 0.5:
        return letters[:place] + second + first + letters[place + 2 :]
    beside = chance.choice(_NEAR.get(first.lower()) or (second if second != first else first + first))
    return letters[:place] + (beside.upper() if first.isupper() else beside) + letters[place + 1 :]


def case(value: Any, chance: Random, parameters: Mapping[str, Any]) -> Any:
    """Write the text in another case.

    Args:
        parameters: ``to``: ``upper``, ``lower`` or ``swap`` (upper).
    """
    if not isinstance(value, str):
        return value
    to = parameters.get("to", "upper")
    return value.upper() if to == "upper" else value.lower() if to == "lower" else value.swapcase()


def whitespace(value: Any, chance: Random, parameters: Mapping[str, Any]) -> Any:
    """Change white space where it means nothing.

    Args:
        parameters: ``how``: ``double`` (some blanks between words twice), ``trailing`` (blanks at the ends of lines),
            ``line_ends`` (those of Windows), ``all`` (all).
    """
    if not isinstance(value, str) or not value:
        return value
    how = parameters.get("how", "all")
    if how in ("double", "all"):
        value = _doubled(value, chance)
    if how in ("trailing", "all"):
        value = re.sub(r"(?=\r?\n|\Z)", " ", value)
    if how in ("line_ends", "all"):
        value = re.sub(r"\r?\n", "\r\n", value)
    return value


def _doubled(text: str, chance: Random) -> str:
    blanks = [match.start() for match in re.finditer(r"(?<=\S) (?=\S)", text)]
    if not blanks:
        return text
    chosen = {place for place in blanks if chance.random() < 0.3} or {chance.choice(blanks)}
    return "".join(letter * 2 if place in chosen else letter for place, letter in enumerate(text))


_OPTION = re.compile(r"(?P<label>[ \t]*(?:\(?(?:[A-Za-z]|[0-9]{1,2})[.):]|[-*•])[ \t]+)(?P<text>.*)")


def reorder_options(value: Any, chance: Random, parameters: Mapping[str, Any]) -> Any:
    """Put options in another order: the members of a list, or lines of a text such as ``a) …``, ``2. …``, ``- …``.

    Args:
        parameters: ``labels``: ``move`` with their options, so that *b* still means what it meant (the default), or
            ``stay`` where they are.
    """
    if isinstance(value, list | tuple):
        return [value[place] for place in _another_order(value, chance)]
    if not isinstance(value, str):
        return value
    lines = value.split("\n")
    for first, last in _blocks(lines):
        block = lines[first:last]
        order = _another_order(block, chance)
        moved = [block[place] for place in order]
        if parameters.get("labels", "move") == "stay":
            moved = [_part(old, "label") + _part(new, "text") for old, new in zip(block, moved, strict=True)]
        lines[first:last] = moved
    return "\n".join(lines)


def _part(line: str, name: str) -> str:
    match = _OPTION.match(line)
    return match[name] if match else line


def _blocks(lines: list[str]) -> list[tuple[int, int]]:
    """Return where two or more lines in a row are options."""
    blocks, first = [], 0
    for place in range(len(lines) + 1):
        if place == len(lines) or not _OPTION.match(lines[place]):
            if place - first >= 2:
                blocks.append((first, place))
            first = place + 1
    return blocks


def _another_order(values: Any, chance: Random) -> list[int]:
    order = list(range(len(values)))
    for _ in range(8):
        chance.shuffle(order)
        if [values[place] for place in order] != list(values):
            return order
    # All the same, or bad luck: turned by one place it is another order if there is any.
    return [*range(1, len(values)), *range(min(1, len(values)))]


# 1,234.5 and 0.75, but not 1.2.3, 192.168.0.1 or the end of a sentence.
_ENGLISH = re.compile(r"(?<![\w.,])(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+\.\d+)(?![\w]|[.,]\d)")
_GERMAN = re.compile(r"(?<![\w.,])(?:\d{1,3}(?:\.\d{3})+(?:,\d+)?|\d+,\d+)(?![\w]|[.,]\d)")
_ISO = re.compile(r"(?<![\w-])(\d{4})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])(?![\w-])")
_DOTTED = re.compile(r"(?<![\w.])(0[1-9]|[12]\d|3[01])\.(0[1-9]|1[0-2])\.(\d{4})(?![\w]|\.\d)")
_SWAP = str.maketrans(",.", ".,")


def locale(value: Any, chance: Random, parameters: Mapping[str, Any]) -> Any:
    """Write numbers and dates as another country does: 1,234.5 and 1.234,5; 2026-03-09 and 09.03.2026.

    Args:
        parameters: ``to``: ``de`` from English numbers and ISO dates (the default), or ``en`` the other way round.
    """
    if not isinstance(value, str):
        return value
    if parameters.get("to", "de") == "de":
        value = _ENGLISH.sub(lambda match: match[0].translate(_SWAP), value)
        return _ISO.sub(r"\3.\2.\1", value)
    value = _DOTTED.sub(r"\3-\2-\1", value)
    return _GERMAN.sub(lambda match: match[0].translate(_SWAP), value)


TRANSFORMS: dict[str, Transform] = {
    "typo": Transform(typo, {"rate": (0.0, MAX_RATE)}, random=True),
    "case": Transform(case, {"to": ("upper", "lower", "swap")}, random=False),
    "whitespace": Transform(whitespace, {"how": ("all", "double", "trailing", "line_ends")}, random=True),
    "reorder_options": Transform(reorder_options, {"labels": ("move", "stay")}, random=True),
    "locale": Transform(locale, {"to": ("de", "en")}, random=False),
}
