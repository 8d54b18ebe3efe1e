"""Validation of values built by hand, with the same rules as values read from a file or a request."""

from __future__ import annotations

from functools import cache
from typing import Any, get_type_hints

import msgspec
from msgspec import Struct

from promptcard_ext.core.errors import CardError


@cache
def _types(kind: type[Struct]) -> tuple[tuple[str, Any], ...]:
    hints = get_type_hints(kind, include_extras=True)
    return tuple((name, hints[name]) for name in kind.__struct_fields__)


def coerce_fields(value: Struct, what: str) -> None:
    """Check every field of ``value`` against its annotation and give it its proper type (list to tuple and so on).

    msgspec checks what it decodes, not what is constructed; a card typed into a notebook deserves the same check.

    Raises:
        CardError: A field does not fit; names the object (``what``) and the field.
    """
    for name, kind in _types(type(value)):
        given = getattr(value, name)
        try:
            fitted = msgspec.convert(given, kind)
        except msgspec.ValidationError as error:
            detail = str(error)[:1].lower() + str(error)[1:]
            raise CardError(f"Field '{name}' of {what}: {detail}.", code="field_invalid") from None
        if fitted is not given:
            msgspec.structs.force_setattr(value, name, fitted)
