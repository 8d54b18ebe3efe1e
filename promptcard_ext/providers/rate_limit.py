"""What the headers of a reply say about rate limits: how much is left, and how long to wait."""

from __future__ import annotations

import email.utils
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

from multidict import istr

from promptcard_ext.core.ports import Quota

_DURATION = re.compile(r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m(?!s))?(?:(\d{1,9}(?:\.\d{1,9})?)s)?")
_MILLISECONDS = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)ms")
_POLICY = re.compile(r'"([^"]{0,100})"((?:\s*;\s*[a-z0-9_*.-]{1,30}=[^;,]{0,100}){0,10})')
_PARAMETER = re.compile(r"(?:^|[;,])\s*([a-z]{1,20})\s*=\s*(\d{1,15})", re.IGNORECASE)
# A time is an instant rather than a span when it is above these: seconds and milliseconds since 1970.
_EPOCH_S, _EPOCH_MS = 1e9, 1e12


class Limit(NamedTuple):
    """The share of one limit that is left, 0 to 1, and what was said about when it is whole again."""

    share: float
    reset: str


def quota(headers: Mapping[str, str]) -> Quota | None:
    """Return what is left of the scarcest limit that the headers tell, or None when they tell none.

    Read are OpenAI's ``x-ratelimit-*-requests`` and ``-tokens``, ``anthropic-ratelimit-*``, the fields of the IETF
    draft (``RateLimit`` with ``RateLimit-Policy``, and the separate ones of its earlier versions) and
    ``x-ratelimit-remaining`` as gateways write it. A limit whose size is not told has no share, and is passed over.

    Args:
        headers: Of a reply; names in any case when it is a multidict, else in lower case.

    Example:
        >>> quota({"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "15",
        ...        "x-ratelimit-reset-requests": "6m0s"})
        Quota(remaining=0.25, reset_s=360.0)
    """
    limits = [limit for mark, read in _FAMILIES if mark in headers for limit in read(headers)]
    if not limits:
        return None
    scarcest = min(limits)
    return Quota(scarcest.share, _reset(scarcest.reset))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that ``retry-after-ms`` or ``Retry-After`` (a number or a date) asks to wait, or None."""
    milliseconds = _plain_number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("Retry-After", "").strip()
    if not value:
        return None
    seconds = _plain_number(value)
    if seconds is not None:
        return seconds
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None


def duration(value: str) -> float | None:
    """Return the seconds of a span such as ``1s``, ``6m0s``, ``20ms``, ``1h2m3.5s`` or ``7``, or None.

    Example:
        >>> duration("6m0s"), duration("20ms"), duration("soon")
        (360.0, 0.02, None)
    """
    value = value.strip()
    if found := _MILLISECONDS.fullmatch(value):
        return float(found[1]) / 1000
    if (found := _DURATION.fullmatch(value)) and value:
        days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
        return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    return _plain_number(value)


def _reset(value: str) -> float | None:
    """Return the seconds until a span is over or an instant (RFC 3339, or since 1970) has come."""
    span = duration(value)
    if span is None:
        if not value:
            return None
        try:
            return max(0.0, datetime.fromisoformat(value.strip()).timestamp() - time.time())
        except (ValueError, OverflowError, OSError):
            return None
    if span >= _EPOCH_MS:
        return max(0.0, span / 1000 - time.time())
    return max(0.0, span - time.time()) if span >= _EPOCH_S else span


def _plain_number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    # Negative is what a server says whose clock is behind: now.
    return max(0.0, number) if math.isfinite(number) else None


def _limit(headers: Mapping[str, str], limit: str, remaining: str, reset: str) -> Iterator[Limit]:
    # "100, 100;w=60" in the early drafts: the first is the one that counts.
    size = _plain_number(headers.get(limit, "").partition(",")[0].partition(";")[0])
    left = _plain_number(headers.get(remaining, ""))
    if left is not None and (size or left == 0):
        yield Limit(_share(left, size), headers.get(reset, ""))


def _share(left: float, size: float | None) -> float:
    return min(1.0, left / size) if size else 0.0


def _openai(what: str) -> Callable[[Mapping[str, str]], Iterator[Limit]]:
    names = (f"x-ratelimit-limit-{what}", f"x-ratelimit-remaining-{what}", f"x-ratelimit-reset-{what}")
    return lambda headers: _limit(headers, *names)


def _anthropic(headers: Mapping[str, str]) -> Iterator[Limit]:
    for what in ("requests", "tokens", "input-tokens", "output-tokens"):
        start = f"anthropic-ratelimit-{what}-"
        yield from _limit(headers, f"{start}limit", f"{start}remaining", f"{start}reset")


def _separate(prefix: str) -> Callable[[Mapping[str, str]], Iterator[Limit]]:
    return lambda headers: _limit(headers, f"{prefix}limit", f"{prefix}remaining", f"{prefix}reset")


def _draft(headers: Mapping[str, str]) -> Iterator[Limit]:
    field, policies = headers.get("ratelimit", ""), headers.get("ratelimit-policy", "")
    sizes = {name: _parameters(text).get("q") for name, text in _POLICY.findall(policies)}
    for name, text in _POLICY.findall(field):
        given, size = _parameters(text), _plain_number(sizes.get(name) or "")
        if size and "r" in given:
            yield Limit(_share(float(given["r"]), size), given.get("t", ""))
    # Version 7 had one mapping: limit=100, remaining=50, reset=5.
    given = _parameters(field)
    size = _plain_number(given.get("limit", ""))
    if size and "remaining" in given:
        yield Limit(_share(float(given["remaining"]), size), given.get("reset", ""))


def _parameters(text: str) -> dict[str, str]:
    return {name.lower(): value for name, value in _PARAMETER.findall(text)}


# A name that is an istr is looked up without being folded to lower case each time.
_FAMILIES: tuple[tuple[str, Callable[[Mapping[str, str]], Iterator[Limit]]], ...] = (
    (istr("x-ratelimit-remaining-requests"), _openai("requests")),
    (istr("x-ratelimit-remaining-tokens"), _openai("tokens")),
    (istr("anthropic-ratelimit-requests-remaining"), _anthropic),
    (istr("ratelimit"), _draft),
    (istr("ratelimit-remaining"), _separate("ratelimit-")),
    (istr("x-ratelimit-remaining"), _separate("x-ratelimit-")),
)
