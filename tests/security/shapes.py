"""What every operation takes, read from its declaration: bodies and queries that fit, and where texts stand in them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec.inspect as shape

from promptcard_ext.core.assertions import Assertion
from server_ext.api.operation import Operation

Place = tuple[str | int, ...]
"""Where something stands in a JSON value: names, and 0 for the only entry of a list."""
NameOf = Callable[[str], Any]
"""Gives a text for a field of a name, or None."""

# What a field must be for the whole to make sense; by the name of the field, or of its struct and it.
_SENSIBLE: dict[str, Any] = {
    "Assertion.type": "contains", "Assertion.value": "x", "Message.role": "user", "Message.content": "x",
    "Variable.name": "who", "Variable.type": "string", "Example.user": "x", "Example.assistant": "x",
    "RunSpec.models": ["simulated:echo"], "InvitationSpec.email": "guest@example.com",
    "NewNetworkRule.host": "lan.example.com", "LoginSpec.email": "nobody@example.com",
    "WebhookSpec.url": "https://hooks.example.com/x",
    "ExchangeSpec.purpose": "kernel", "NewCredential.provider": "openai",
    "Tier.above_tokens": 1000, "PriceOverrideSpec.valid_from": "2027-01-01", "ImportQuery.format": "csv",
    "PasswordChange.new": "another correct horse", "CaseAssertions.assertions": [],
}  # fmt: skip
# What a struct does not ask for but is nothing without; a chat stands in place of a template.
_NEEDED: dict[str, dict[str, Any]] = {
    "Card": {"template": "Hi"}, "CardToSave": {"template": "Hi"}, "Assertion": {"value": "x"},
}  # fmt: skip
_INSTEAD = {"messages": "template"}
_NESTED = 3


@dataclass(frozen=True)
class TextField:
    """A text somewhere in a body or query.

    Attributes:
        place: Where it stands; a trailing ``{}`` stands for the name of an entry.
        body: The least body that has it; the text itself is still to be set.
        stored: Whether it is a text and nothing else: not a number, time or choice in the form of one.
    """

    place: Place
    body: Any
    stored: bool = True

    def filled(self, text: str) -> Any:
        """Return the body with a text in this place."""
        return _with(self.body, self.place, text)


def _with(value: Any, place: Place, text: str) -> Any:
    if not place:
        return text
    first, rest = place[0], place[1:]
    if first == "{}":
        return {text: "x"}
    if isinstance(first, int):
        return [_with(value[0], rest, text)]
    return {**value, first: _with(value.get(first), rest, text)}


def text_fields(kind: Any) -> list[TextField]:
    """Return every text that a type takes, each in the least value that has it."""
    info = shape.type_info(kind)
    return [TextField(place, _least(info, place), _is_text(info, place)) for place in _places(info, 0)]


def _is_text(info: shape.Type, place: Place) -> bool:
    if isinstance(info, shape.UnionType):
        return any(_is_text(one, place) for one in info.types)
    if not place:
        return isinstance(info, shape.StrType | shape.AnyType)
    if isinstance(info, shape.StructType):
        return any(field.encode_name == place[0] and _is_text(field.type, place[1:]) for field in info.fields)
    if isinstance(info, shape.ListType | shape.VarTupleType):
        return _is_text(info.item_type, place[1:])
    return isinstance(info, shape.DictType) and (place[0] == "{}" or _is_text(info.value_type, place[1:]))


def _places(info: shape.Type, depth: int) -> Iterator[Place]:
    """Yield where texts stand in a value of a type, and the names of fields on the way."""
    if depth > _NESTED:
        return
    if isinstance(info, shape.StrType | shape.AnyType | shape.LiteralType | shape.UUIDType | shape.DateTimeType
                  | shape.DateType | shape.DecimalType | shape.RawType):  # fmt: skip
        yield ()
    elif isinstance(info, shape.UnionType):
        yield from dict.fromkeys(place for one in info.types for place in _places(one, depth))
    elif isinstance(info, shape.ListType | shape.VarTupleType):
        yield from ((0, *place) for place in _places(info.item_type, depth))
    elif isinstance(info, shape.DictType):
        yield ("{}",)
        yield from (("x", *place) for place in _places(info.value_type, depth))
    elif isinstance(info, shape.StructType):
        for field in info.fields:
            yield from ((field.encode_name, *place) for place in _places(field.type, depth + 1))


def _least(info: shape.Type, place: Place = ()) -> Any:
    """Return the least value of a type that has something at ``place``."""
    if isinstance(info, shape.StructType):
        body = dict(_NEEDED.get(info.cls.__name__, {}))
        body |= {field.encode_name: _field(info, field) for field in info.fields if field.required}
        if place:
            body.pop(_INSTEAD.get(str(place[0]), ""), None)
        for field in info.fields:
            if place and field.encode_name == place[0]:
                body[field.encode_name] = _least(field.type, place[1:])
        return body
    if isinstance(info, shape.UnionType):
        fitting = [one for one in info.types if place in _places(one, 0)] if place else []
        return _least((fitting or [one for one in info.types if not isinstance(one, shape.NoneType)])[0], place)
    if isinstance(info, shape.ListType | shape.VarTupleType):
        return [_least(info.item_type, place[1:])] if place or info.min_length else []
    if isinstance(info, shape.DictType):
        return {"x": _least(info.value_type, place[1:])} if place and place[0] != "{}" else {}
    return _plain(info)


def _field(struct: shape.StructType, field: shape.Field) -> Any:
    sensible = _SENSIBLE.get(f"{struct.cls.__name__}.{field.name}")
    return sensible if sensible is not None else _least(field.type)


def _plain(info: shape.Type) -> Any:
    if isinstance(info, shape.LiteralType):
        return info.values[0]
    if isinstance(info, shape.UUIDType):
        return str(UUID(int=7))
    if isinstance(info, shape.IntType | shape.FloatType):
        return info.ge if info.ge is not None else 1
    if isinstance(info, shape.BoolType):
        return False
    if isinstance(info, shape.DecimalType):
        return "1"
    if isinstance(info, shape.DateType):
        return "2027-01-01"
    if isinstance(info, shape.DateTimeType):
        return "2027-01-01T00:00:00Z"
    return "x"


def made_up(kind: Any, rng: random.Random, name_of: NameOf) -> Any:
    """Return a value of a type, with some of what it may leave out; texts come from ``name_of`` where it has one."""
    return _made(shape.type_info(kind), "", rng, name_of)


def _made(info: shape.Type, name: str, rng: random.Random, name_of: NameOf) -> Any:
    if isinstance(info, shape.StructType) and info.cls is Assertion:
        return {"type": "contains", "value": name_of("value") or "x"}  # few combinations of its fields make sense
    if isinstance(info, shape.StructType):
        return {
            field.encode_name: _made_field(info, field, rng, name_of)
            for field in info.fields
            if field.required or rng.random() < 0.3
        }
    if isinstance(info, shape.UnionType):
        return _made(rng.choice([one for one in info.types if not isinstance(one, shape.NoneType)]), name, rng, name_of)
    if isinstance(info, shape.ListType | shape.VarTupleType):
        count = rng.randint(max(1, info.min_length or 0), 2)
        return [_made(info.item_type, name, rng, name_of) for _ in range(count)]
    if isinstance(info, shape.DictType | shape.AnyType):
        return {"who": name_of("value")}
    if isinstance(info, shape.LiteralType):
        return rng.choice(info.values)
    if isinstance(info, shape.BoolType):
        return rng.random() < 0.5
    if isinstance(info, shape.StrType | shape.UUIDType) and (text := name_of(name)) is not None:
        return text
    return _plain(info)


def _made_field(struct: shape.StructType, field: shape.Field, rng: random.Random, name_of: NameOf) -> Any:
    sensible = _SENSIBLE.get(f"{struct.cls.__name__}.{field.name}")
    return sensible if sensible is not None else _made(field.type, field.name, rng, name_of)


def query_fields(operation: Operation) -> list[str]:
    """Return the names of an operation's query parameters."""
    info = shape.type_info(operation.query)
    assert isinstance(info, shape.StructType)
    return [field.encode_name for field in info.fields]


def required_query(operation: Operation) -> dict[str, Any]:
    """Return the least query of an operation."""
    return dict(_least(shape.type_info(operation.query)))
