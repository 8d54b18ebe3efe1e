"""The OpenAPI 3.1 document, made from the operations themselves."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

import msgspec

from promptcard_ext._version import __version__
from server_ext.api.errors import STATUS, STATUS_OF_CODE
from server_ext.api.operation import Operation
from server_ext.api.routes import OPERATIONS, PREFIX, STREAMS

REF = "#/components/schemas/{name}"
_ERROR = {
    "type": "object",
    "required": ["code", "message", "hint", "request_id"],
    "properties": {
        "code": {"type": "string", "description": "Stable, for programs."},
        "message": {"type": "string"},
        "hint": {"type": "string", "description": "What to do; may be empty."},
        "request_id": {"type": "string"},
        "current": {"description": "With a conflict: the state that won."},
        "diff": {"description": "With a conflict: by field, how it differs from what was wanted."},
        "line": {"type": "integer"},
        "column": {"type": "integer"},
    },
}
_SUMMARY = {
    400: "The request is not understood.",
    401: "Nobody, or a credential that is not good.",
    403: "Role or credential do not allow it.",
    404: "There is none, or it is somebody else's.",
    405: "Not this method.",
    409: "It does not go with how things are.",
    412: "Somebody changed it first.",
    413: "The body is too large.",
    422: "What was sent does not fit.",
    428: "If-Match is missing.",
    429: "Too many requests.",
    503: "A service is away or starting; Retry-After says when to come back.",
    507: "The disk is full.",
}


def document() -> dict[str, Any]:
    """Return the document as JSON values; the same for the same program, so that it can be compared."""
    types = list(dict.fromkeys(_types()))
    schemas, components = msgspec.json.schema_components(types, ref_template=REF)
    schema_of = dict(zip(types, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault("/" + operation.path, {})[operation.method.lower()] = _operation(operation, schema_of)
    for path, handler, action in STREAMS:
        paths.setdefault("/" + path, {})["get"] = _stream(path, handler, action)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Prompt Cards",
            "version": __version__,
            "description": "Cards, cases, runs and results of a workspace. docs/developers/rest.md tells the rest.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": f"/{PREFIX}", "description": "Below the base URL of the Jupyter server."}],
        "security": [{"token": []}, {"bearer": []}, {"jupyter": []}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": {"Error": _ERROR, **dict(sorted(components.items()))},
            "securitySchemes": {
                "token": {"type": "apiKey", "in": "header", "name": "X-PromptCards-Token"},
                "bearer": {"type": "http", "scheme": "bearer"},
                "jupyter": {"type": "apiKey", "in": "header", "name": "Authorization"},
            },
        },
    }


def _types() -> Iterable[Any]:
    for operation in OPERATIONS:
        yield operation.query
        if operation.body is not None:
            yield operation.body
        if operation.answer is not None:
            yield operation.answer


def _operation(operation: Operation, schema_of: dict[Any, Any]) -> dict[str, Any]:
    summary, _, rest = inspect.getdoc(operation.use).partition("\n") if operation.use.__doc__ else ("", "", "")  # type: ignore[union-attr]
    found: dict[str, Any] = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": summary.rstrip("."),
        "x-action": operation.action,
        "x-rate-limit": operation.limit,
        "parameters": [*_path_parameters(operation.parameters), *_query(operation), *_headers(operation)],
        "responses": _responses(operation, schema_of),
    }
    if rest.strip():
        found["description"] = rest.strip()
    if operation.public:
        found["security"] = []
    if operation.body is not None:
        content = {"application/json": {"schema": schema_of[operation.body]}}
        found["requestBody"] = {"required": True, "content": content}
    elif operation.raw:
        found["requestBody"] = {"required": True, "content": _binary(operation.raw)}
    return found


def _path_parameters(names: Iterable[str]) -> list[dict[str, Any]]:
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def _query(operation: Operation) -> list[dict[str, Any]]:
    (schema,), components = msgspec.json.schema_components([operation.query], ref_template=REF)
    own = components[schema["$ref"].rpartition("/")[2]]
    found = [
        {"name": name, "in": "query", "required": name in own.get("required", ()), "schema": kind}
        for name, kind in own["properties"].items()
    ]
    if operation.method == "GET" and not operation.media:
        about = "Names of the fields to be sent, separated by commas."
        found.append({"name": "fields", "in": "query", "schema": {"type": "string"}, "description": about})
    return found


def _headers(operation: Operation) -> list[dict[str, Any]]:
    found = []
    if operation.idempotent:
        about = "A repeated request with the same key gets the first one's answer, for 24 hours."
        found.append(("Idempotency-Key", False, about))
    if operation.conditional:
        found.append(("If-Match", True, "ETag of the state that the change is based on."))
    return [
        {"name": name, "in": "header", "required": required, "schema": {"type": "string"}, "description": about}
        for name, required, about in found
    ]


def _responses(operation: Operation, schema_of: dict[Any, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if operation.media:
        content = _binary(operation.media)
    elif operation.answer is not None:
        content = {"application/json": {"schema": schema_of[operation.answer]}}
    found: dict[str, Any] = {}
    for status in sorted({operation.status, *operation.also}):
        found[str(status)] = {"description": "Done."} if status == 204 else {"description": "Done.", "content": content}
    if operation.etag:
        for answer in found.values():
            answer["headers"] = {"ETag": {"schema": {"type": "string"}}}
    error = {"application/json": {"schema": {"$ref": REF.format(name="Error")}}}
    for status in _errors(operation):
        found[str(status)] = {"description": _SUMMARY[status], "content": error}
    return found


def _binary(media_types: Iterable[str]) -> dict[str, Any]:
    return {name: {"schema": {"type": "string", "format": "binary"}} for name in media_types}


def _errors(operation: Operation) -> list[int]:
    """Return the statuses of the errors that an operation may answer with."""
    always = {status for _, status in STATUS} | set(STATUS_OF_CODE.values())
    never = set() if operation.conditional else {412, 428}
    if operation.method == "GET":
        never |= {409, 507}
    return sorted((always | {413}) - never - {405})


def _stream(path: str, handler: Any, action: str) -> dict[str, Any]:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    return {
        "operationId": handler.__name__,
        "tags": ["events"],
        "summary": (handler.__doc__ or "").partition("\n")[0].rstrip("."),
        "x-action": action,
        "parameters": _path_parameters(names),
        "responses": {"default": {"description": "A stream; see docs/developers/rest.md."}},
    }
