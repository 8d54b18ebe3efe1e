"""JSON schemas of what operations take and give, described by the docstrings of its types."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from server_ext.api.docstrings import Docstring, read_docstring

_REF = "#/components/schemas/{name}"
_PAGE = "Page_"


def reference(name: str) -> dict[str, Any]:
    """Return the schema that stands for a named one."""
    return {"$ref": _REF.format(name=name)}


class Schemas:
    """The schemas of some types.

    Attributes:
        components: Those that have a name, by it.

    Args:
        types: Everything that `of` will be asked for.
    """

    def __init__(self, types: Iterable[Any]) -> None:
        known = list(dict.fromkeys(types))
        schemas, components = msgspec.json.schema_components(known, ref_template=_REF)
        self._schema_of = {kind: _portable(schema) for kind, schema in zip(known, schemas, strict=True)}
        structs = {kind.__name__: kind for kind in known if isinstance(kind, type) and issubclass(kind, Struct)}
        self.components = {
            _name(name): _described(_portable(one), structs.get(name)) for name, one in sorted(components.items())
        }

    def of(self, kind: Any) -> dict[str, Any]:
        """Return the schema of a type, most often a reference."""
        schema: dict[str, Any] = self._schema_of[kind]
        return schema

    def required(self, schema: dict[str, Any]) -> list[str]:
        """Return the properties that an object must have, given its schema or a reference to it."""
        named = self.components.get(schema.get("$ref", "").rpartition("/")[2], schema)
        return list(named.get("required", ()))


def parameters_of(query: type[Struct]) -> list[dict[str, Any]]:
    """Return the query parameters that a struct stands for."""
    (schema,), components = msgspec.json.schema_components([query], ref_template=_REF)
    own = components[schema["$ref"].rpartition("/")[2]]
    about = _about(query)
    found = []
    for name, schema in own["properties"].items():
        parameter = {"name": name, "in": "query", "required": name in own.get("required", ())}
        if name in about:
            parameter["description"] = about[name]
        found.append({**parameter, "schema": _without_null(_portable(schema))})
    return found


def _about(kind: type[Struct]) -> dict[str, str]:
    """Return what is said about the fields of a type, in its own docstring or in those of its bases."""
    about: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if issubclass(base, Struct):
            about |= _encoded(base, read_docstring(base.__doc__))
    return about


def _encoded(kind: type[Struct], doc: Docstring) -> dict[str, str]:
    """Return what is said about fields by the names that they have on the wire."""
    names = dict(zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True))
    return {names.get(name, name): text for name, text in doc.fields.items()}


def _described(schema: dict[str, Any], kind: type[Struct] | None) -> dict[str, Any]:
    """Return a named schema with the docstring of its type shared out among its properties."""
    doc = read_docstring(schema.get("description"))
    about = doc.fields if kind is None else _about(kind)
    described = {**schema, "title": _name(schema.get("title", ""))}
    described.pop("description", None)
    if doc.text:
        described["description"] = doc.text
    if "properties" in schema:
        described["properties"] = {
            name: {**one, "description": about[name]} if name in about else one
            for name, one in schema["properties"].items()
        }
    return described


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a parameter, which is left out rather than null."""
    kinds = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    found = {name: value for name, value in schema.items() if not (name == "default" and value is None)}
    if kinds:
        found.pop("anyOf")
        found |= kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
    return found


def _portable(node: Any) -> Any:
    """Return a schema as other languages read it: names without underscores, patterns of ECMA-262."""
    if isinstance(node, list | tuple):
        return [_portable(one) for one in node]
    if not isinstance(node, dict):
        return node
    found = {name: _portable(value) for name, value in node.items()}
    if isinstance(values := found.get("enum"), list) and all(isinstance(one, str) for one in values):
        found["type"] = "string"
    if isinstance(link := found.get("$ref"), str):
        found |= reference(_name(link.rpartition("/")[2]))
    if isinstance(pattern := found.get("pattern"), str):
        # There '$' is the end of the text and nothing else, and there is no '\Z'. Half a surrogate pair, which no text
        # in UTF-8 has, many cannot read in a pattern.
        found["pattern"] = pattern.replace("$(?!\\n)", "$").replace("\\Z", "$").replace(r"\ud800-\udfff", "")
    return found


def _name(name: str) -> str:
    """Return the name of a component: ``CardHeadPage`` for a page of ``CardHead``."""
    name = name.replace("[", "_").replace("]", "_")
    return f"{name.removeprefix(_PAGE).strip('_')}Page" if name.startswith(_PAGE) else name
