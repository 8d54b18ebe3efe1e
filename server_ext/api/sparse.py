"""Answers with only the fields that were asked for: ``?fields=id,name``."""

from __future__ import annotations

from typing import Any

import msgspec

from promptcard_ext.core.errors import CardError

MAX_FIELDS = 50


def only_fields(body: bytes, fields: bytes) -> bytes:
    """Return an answer whose object, or whose list's entries, have only the named fields.

    Raises:
        CardError: A name is none of theirs (``request_invalid``).
    """
    wanted = [name.strip() for name in fields.decode("utf-8", "replace").split(",")][:MAX_FIELDS]
    value = msgspec.json.decode(body)
    if isinstance(value, dict) and value.keys() == {"items", "next"}:
        value["items"] = [_cut(entry, wanted) for entry in value["items"]]
    else:
        value = _cut(value, wanted)
    return msgspec.json.encode(value)


def _cut(entry: Any, wanted: list[str]) -> Any:
    if not isinstance(entry, dict):
        return entry
    for name in wanted:
        if name not in entry:
            raise CardError(
                f"'{name:.60}' is not a field of this answer.",
                hint=f"Its fields are: {', '.join(sorted(entry))}.",
                code="request_invalid",
            )
    return {name: entry[name] for name in wanted}
