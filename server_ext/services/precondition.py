"""Changes on condition: whoever changes a thing says which state of it they saw."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from promptcard_ext.core import wire
from promptcard_ext.core.errors import CardError, Conflict
from server_ext.services.text_diff import unified

Match = Callable[[Struct], None]
"""Given the state of a locked row, returns when the change may go on."""


def unconditional(current: Struct) -> None:
    """Let every change go on: at the command line there is no earlier state to name."""


def etag_of(value: Struct) -> str:
    """Return the entity tag of a state, without quotes: the same for the same content, in every process."""
    return tag_of(wire.encode(value))


def tag_of(encoded: bytes) -> str:
    """Return the entity tag of a state that is encoded already."""
    return hashlib.sha256(encoded).hexdigest()[:32]


def if_match(header: str | None, wanted: Any = None) -> Match:
    """Return the condition that an ``If-Match`` header states.

    Args:
        header: The header's text, or None when there is none. ``*`` fits every state.
        wanted: The body of the change, for the difference that a refusal shows.

    Raises (when called):
        CardError: There is no header (``if_match_missing``).
        Conflict: The state is another (``etag_mismatch``); carries it and the difference.
    """

    def check(current: Struct) -> None:
        if header is None:
            raise CardError(
                "This change needs 'If-Match' with the ETag of the state that it is based on.",
                hint="Read it first; its ETag is in the answer's header.",
                code="if_match_missing",
            )
        tags = {tag.strip().removeprefix("W/").strip('"') for tag in header.split(",")}
        if "*" not in tags and etag_of(current) not in tags:
            raise Conflict(
                "Somebody has changed this since you read it.",
                hint="Read 'current' and 'diff', and repeat the change with the new ETag.",
                code="etag_mismatch",
                current=current,
                diff=differences(current, wanted),
            )

    return check


def differences(current: Struct, wanted: Any) -> dict[str, Any]:
    """Return for each field of ``wanted`` that differs what it is now and what was wanted; long texts as a diff."""
    now, then = msgspec.to_builtins(current), msgspec.to_builtins(wanted) if wanted is not None else {}
    if not isinstance(then, dict):
        return {}
    return {
        name: _difference(now.get(name), value) for name, value in then.items() if name in now and now[name] != value
    }


def _difference(now: Any, then: Any) -> dict[str, Any]:
    found = {"current": now, "wanted": then}
    if isinstance(now, str) and isinstance(then, str) and "\n" in now + then:
        found["unified"] = unified(now, then, "current", "wanted")
    return found
