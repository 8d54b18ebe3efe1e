"""About how many tokens a text has, without the tokenizer of the model: a range, and how far off it was.

The weights were fitted to the counts of three tokenizers (o200k and cl100k of OpenAI, Llama 3) on 480 texts of 300 to
3,000 characters: the Universal Declaration of Human Rights in 42 languages, manual pages in 11, Python, JSON and
Markdown. Of their counts 91 % lay in the range. For English, code, JSON and Markdown nine of ten were between 6 %
below and 16 % above the middle; for the other texts between half of it and twice as many, because tokenizers differ
most in languages that some of them have hardly seen. Other tokenizers, images and audio are not covered.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from promptcard_ext.core.card import Message, ModelSettings
from promptcard_ext.core.identity import canonical_json

# What chat formats put around each message, and before the answer.
_AROUND_MESSAGE, _AROUND_PROMPT = 5, 4
# No text of the 480 had more tokens than this many times the upper end.
BEYOND_HIGH = 1.7
"""How many times the upper end of a range a text may have at the very most."""

_WORD = re.compile(r"[A-Za-z]+")
_DIGITS = re.compile(r"[0-9]{1,3}")
_MARKS = re.compile(r"[!-/:-@\[-`{-~]+")
_LINE = re.compile(r"\s*\n\s*")
_PLAIN_LETTERS = 7  # up to here a word is mostly one token
_LOW, _HIGH = 0.85, 1.35

# From which code point on: tokens per character, at least, about and at most.
_SCRIPTS: tuple[tuple[int, float, float, float], ...] = (
    (0x80, 0.6, 1.2, 2.0),  # accented Latin
    (0x370, 0.4, 0.5, 1.1),  # Greek
    (0x400, 0.27, 0.4, 0.7),  # Cyrillic
    (0x530, 0.3, 0.8, 2.2),  # Armenian
    (0x590, 0.45, 0.8, 1.25),  # Hebrew
    (0x600, 0.36, 0.5, 1.15),  # Arabic and its relatives
    (0x780, 0.6, 1.5, 2.5),
    (0x900, 0.35, 0.6, 1.25),  # Devanagari
    (0x980, 0.36, 1.2, 2.2),  # other scripts of India
    (0xE00, 0.43, 0.5, 1.05),  # Thai
    (0xE80, 1.9, 2.05, 2.2),  # Lao
    (0xF00, 0.6, 1.5, 2.5),
    (0x1000, 0.55, 1.3, 2.15),  # Burmese
    (0x10A0, 0.3, 0.9, 2.15),  # Georgian
    (0x1100, 0.75, 0.85, 1.4),  # Hangul, its parts
    (0x1200, 2.0, 2.5, 3.0),  # Ethiopic
    (0x1380, 0.6, 1.5, 3.0),
    (0x1780, 0.64, 1.2, 1.7),  # Khmer
    (0x1800, 0.6, 1.5, 3.0),
    (0x1E00, 0.6, 0.9, 1.6),  # Latin with more accents, as in Vietnamese
    (0x1F00, 0.5, 1.0, 2.0),  # old Greek, dashes, quotes, arrows, boxes
    (0x2E80, 0.75, 0.95, 1.5),  # Chinese and Japanese
    (0xA000, 0.6, 1.5, 3.0),
    (0xAC00, 0.75, 0.85, 1.4),  # Hangul
    (0xD7B0, 0.6, 1.5, 3.0),
    (0xF900, 0.75, 1.2, 2.5),  # compatibility forms, full width
    (0x10000, 1.0, 2.0, 4.0),  # emoji, rare characters
)
_STARTS = tuple(start for start, *_ in _SCRIPTS)


class TokenRange(NamedTuple):
    """How many tokens there are, at least, about and at most."""

    low: float
    mid: float
    high: float

    def plus(self, other: TokenRange) -> TokenRange:
        """Return the sum of both."""
        return TokenRange(self.low + other.low, self.mid + other.mid, self.high + other.high)


NOTHING = TokenRange(0.0, 0.0, 0.0)


def tokens_of(text: str) -> TokenRange:
    """Return about how many tokens a text has.

    Example:
        >>> found = tokens_of("All human beings are born free and equal in dignity and rights.")
        >>> found.low < 13 < found.high  # it has 13
        True
    """
    mid = _plain(text)
    low, high = mid * _LOW, mid * _HIGH
    if not text.isascii():
        for character, times in Counter(text).items():
            if character > "\x7f":
                _, least, about, most = _SCRIPTS[bisect_right(_STARTS, ord(character)) - 1]
                low, mid, high = low + times * least, mid + times * about, high + times * most
    return TokenRange(low, mid, high)


def _plain(text: str) -> float:
    """Return about how many tokens the ASCII part of a text has."""
    words = _WORD.findall(text)
    marks = _MARKS.findall(text)
    return (
        1.05 * len(words)
        + 0.28 * sum(len(word) - _PLAIN_LETTERS for word in words if len(word) > _PLAIN_LETTERS)
        + 1.7 * len(_DIGITS.findall(text))  # the blank before a number is a token of its own
        + 0.6 * len(marks)
        + 0.37 * (sum(map(len, marks)) - len(marks))
        + 1.15 * len(_LINE.findall(text))
    )


def prompt_tokens(messages: Iterable[Message], settings: ModelSettings | None = None) -> TokenRange:
    """Return about how many input tokens a request has; schemas and tools in the settings are input too."""
    total = TokenRange(_AROUND_PROMPT, _AROUND_PROMPT, _AROUND_PROMPT)
    for message in messages:
        total = total.plus(tokens_of(message.content)).plus(TokenRange(*[_AROUND_MESSAGE] * 3))
    for text in _sent_beside(settings):
        total = total.plus(tokens_of(text))
    return total


def most_prompt_tokens(messages: Iterable[Message], settings: ModelSettings | None = None) -> int:
    """Return how many input tokens a request has at the very most, for setting money aside.

    A tokenizer that works on bytes never makes more tokens than there are bytes, which is the limit of it.
    """
    total = float(_AROUND_PROMPT)
    for text in (*(message.content for message in messages), *_sent_beside(settings)):
        size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
        total += _AROUND_MESSAGE + min(size, BEYOND_HIGH * tokens_of(text).high)
    return int(total) + 1


def _sent_beside(settings: ModelSettings | None) -> list[str]:
    if settings is None:
        return []
    values: list[Any] = [getattr(settings, name) for name in settings.__struct_fields__]
    return [canonical_json(value) for value in values if isinstance(value, dict | list | tuple) and value]
