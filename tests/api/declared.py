"""Whether an answer is one that the OpenAPI document declares."""

from __future__ import annotations

from functools import cache
from typing import Any

import jsonschema

from server_ext.api.openapi import document
from server_ext.api.routes import PREFIX

BASE = f"/{PREFIX}"


def check_declared(method: str, path: str, status: int, headers: Any, body: Any) -> None:
    """Assert that an answer has a declared status, media type, headers and form; of paths that are declared at all.

    Args:
        path: Below the interface's root, perhaps with a query.
        body: The JSON value, None for anything else.
    """
    if status == 500:
        return  # a bug, which no contract promises; whoever provokes one looks at it
    path, _, query = path.partition("?")
    template = template_of(path)
    operation = document_of()["paths"].get(template, {}).get(method.lower())
    if operation is None:
        assert status in (400, 401, 403, 404, 405, 503), (method, path, status)
        return
    where = f"{method} {template}"
    assert str(status) in operation["responses"], f"{where} answered {status}, which it does not declare"
    response = resolved(operation["responses"][str(status)])
    for name, header in response.get("headers", {}).items():
        assert name in headers or not header.get("required"), f"{where} answered {status} without {name}"
    content = response.get("content", {})
    if not content:
        return
    media = headers["Content-Type"].partition(";")[0]
    assert media in {name.partition(";")[0] for name in content}, f"{where} answered {media}"
    if media == "application/json" and "fields=" not in query:
        problems = [error.message for error in validator_of(where, status).iter_errors(body)]
        assert not problems, f"{where} answered {status} with another form: {problems[:3]}"


@cache
def document_of() -> dict[str, Any]:
    return document()


def template_of(path: str) -> str:
    """Return the declared path that fits best; as the server does, one without parameters first."""
    parts = path.strip("/").split("/")
    fitting = [
        template
        for template in document_of()["paths"]
        if len(pieces := template.strip("/").split("/")) == len(parts)
        and all(piece.startswith("{") or piece == part for piece, part in zip(pieces, parts, strict=True))
    ]
    return min(fitting, key=lambda one: [piece.startswith("{") for piece in one.split("/")], default="")


def resolved(node: dict[str, Any]) -> dict[str, Any]:
    """Return what a reference stands for."""
    if "$ref" not in node:
        return node
    found: Any = document_of()
    for name in node["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    return dict(found)


@cache
def validator_of(where: str, status: int) -> Any:
    method, _, template = where.partition(" ")
    operation = document_of()["paths"][template][method.lower()]
    return validator(resolved(operation["responses"][str(status)])["content"]["application/json"]["schema"])


def validator(schema: dict[str, Any]) -> Any:
    """Return a validator of a schema of the document."""
    kind = jsonschema.Draft202012Validator
    return kind({**schema, "components": document_of()["components"]}, format_checker=kind.FORMAT_CHECKER)
