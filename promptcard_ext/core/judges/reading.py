"""Reads what a judge answered. An answer that is not clearly a judgement is none."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from promptcard_ext.core.identity import refuse_constant

MAX_ANSWER_CHARS = 100_000
MAX_TEXTS = 200
_DECIMAL = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,17})?")
_TRUTH = {"true": True, "yes": True, "pass": True, "false": False, "no": False, "fail": False}


class Unreadable(Exception):
    """A judge's answer that is no judgement; the text says why, without a full stop."""


def judgement(text: str, material: Sequence[str] = ()) -> dict[str, Any]:
    """Return the one JSON object in a judge's answer.

    It may stand in a code fence or between sentences, and after reasoning that ends with ``</think>``; there must be
    no second one, and it must not be a quotation.

    Args:
        text: The answer, at most 100,000 characters.
        material: What was judged. An object that stands there word for word is somebody else's judgement.

    Raises:
        Unreadable: There is no such object.

    Example:
        >>> judgement('Here it is: {"pass": true}')
        {'pass': True}
    """
    if len(text) > MAX_ANSWER_CHARS:
        raise Unreadable(f"it has more than {MAX_ANSWER_CHARS:,} characters")
    text = _after_thoughts(text)
    start = text.find("{")
    if start < 0:
        raise Unreadable("there is no JSON object in it")
    try:
        value, end = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"its JSON does not parse: {error!s:.100}") from None
    if "{" in text[end:] or "}" in text[end:]:
        raise Unreadable("there is more in braces than one JSON object")
    found = _squeezed(text[start:end])
    if any(found in _squeezed(part) for part in material):
        raise Unreadable("its JSON object stands word for word in what was to be judged")
    return dict(value)


def _after_thoughts(text: str) -> str:
    if text.lstrip().startswith("{"):
        return text
    rest = text.rpartition("</think>")[2]
    if "<think>" in rest:
        # Cut off in the middle of it: what stands there is a draft.
        raise Unreadable("its reasoning has no end")
    return rest


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in an object")
    return found


# Not strict: a line break inside a reason is a blemish, and changes nothing.
_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=refuse_constant, strict=False)


def _squeezed(text: str) -> str:
    return "".join(text.split())


def field(value: Mapping[str, Any], name: str) -> Any:
    """Return a field that must be there.

    Raises:
        Unreadable: It is not.
    """
    if name not in value:
        raise Unreadable(f"it has no '{name}'")
    return value[name]


def truth(value: Mapping[str, Any], name: str) -> bool:
    """Return a field that is true or false; the words true, yes, pass, false, no and fail are understood.

    Raises:
        Unreadable: It is missing or anything else.
    """
    found = field(value, name)
    if isinstance(found, str):
        found = _TRUTH.get(found.strip().lower())
    if not isinstance(found, bool):
        raise Unreadable(f"'{name}' must be true or false")
    return found


def number(value: Mapping[str, Any], name: str, highest: float, *, fraction: bool = False) -> float:
    """Return a field that is a number from 0 to ``highest``; nothing is moved into that range.

    Args:
        fraction: Whether a text such as ``7/10`` is understood, where the second number is ``highest``.

    Raises:
        Unreadable: It is missing, not a number, not finite or out of range.
    """
    found = field(value, name)
    if isinstance(found, str):
        written = found.strip()
        if fraction:
            written = written.removesuffix(f"/{highest:g}").rstrip()
        found = float(written) if _DECIMAL.fullmatch(written) else None
    if not isinstance(found, int | float) or isinstance(found, bool):
        raise Unreadable(f"'{name}' must be a number")
    # Compared first: an integer of a thousand digits does not fit into a float.
    if not 0 <= found <= highest or not math.isfinite(found):
        raise Unreadable(f"'{name}' must be from 0 to {highest:g}")
    return float(found)


def choice(value: Mapping[str, Any], name: str, among: Sequence[str]) -> str:
    """Return a field that is one of some words; case and parentheses around it do not matter.

    Raises:
        Unreadable: It is missing or another word.
    """
    found = field(value, name)
    word = found.strip().removeprefix("(").removesuffix(")").lower() if isinstance(found, str) else ""
    for one in among:
        if word == one.lower():
            return one
    raise Unreadable(f"'{name}' must be one of {', '.join(among)}")


def texts(value: Mapping[str, Any], name: str) -> list[str]:
    """Return a field that is a list of texts, at most 200.

    Raises:
        Unreadable: It is missing or anything else.
    """
    found = _listed(value, name)
    if not all(isinstance(one, str) and one.strip() for one in found):
        raise Unreadable(f"'{name}' must be a list of texts that are not empty")
    return [one.strip() for one in found]


def numbers_of(value: Mapping[str, Any], name: str, count: int) -> set[int]:
    """Return a field that is a list of whole numbers from 1 to ``count``, none of them twice.

    Raises:
        Unreadable: It is missing or anything else.
    """
    found = _listed(value, name)
    if not all(isinstance(one, int) and not isinstance(one, bool) and 1 <= one <= count for one in found):
        raise Unreadable(f"'{name}' must be a list of numbers from 1 to {count}")
    if len(set(found)) < len(found):
        raise Unreadable(f"'{name}' has a number twice")
    return set(found)


def _listed(value: Mapping[str, Any], name: str) -> list[Any]:
    found = field(value, name)
    if not isinstance(found, list) or len(found) > MAX_TEXTS:
        raise Unreadable(f"'{name}' must be a list of at most {MAX_TEXTS}")
    return found


def reason(value: Mapping[str, Any]) -> str:
    """Return the judge's reason as one line; a judgement without one is a judgement all the same.

    Raises:
        Unreadable: It is something other than a text.
    """
    found = value.get("reason")
    if found is not None and not isinstance(found, str):
        raise Unreadable("'reason' must be a text")
    return excerpt(found or "", 500)


def excerpt(text: str, limit: int = 200) -> str:
    """Return the beginning of a text as one line without control characters and lone surrogates."""
    seen = "".join(one if one.isprintable() else " " for one in text[: 4 * limit])
    line = " ".join(seen.split())
    return line if len(line) <= limit and len(text) <= 4 * limit else f"{line[:limit]}…"
