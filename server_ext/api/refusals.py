"""Which errors an operation may answer with, for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from server_ext.api.operation import Operation
from server_ext.api.schemas import reference

ERROR_SCHEMA: dict[str, Any] = {
    "title": "Error",
    "description": "What every error looks like.",
    "type": "object",
    "required": ["code", "message", "hint", "request_id"],
    "properties": {
        "code": {"type": "string", "description": "Stable, for programs."},
        "message": {"type": "string", "description": "What is wrong, for people."},
        "hint": {"type": "string", "description": "What to do; may be empty."},
        "request_id": {"type": "string", "description": "As in the header `X-Request-Id` and in the server's log."},
        "current": {"description": "With 412: the state that won."},
        "diff": {"description": "With 412: by field, how it differs from what was wanted."},
        "exceeds": {"description": "With 402: the spend rules, with `limit_usd`, `spent_usd` and so on."},
        "line": {"type": "integer", "description": "Of a template that does not parse, from 1."},
        "column": {"type": "integer", "description": "Of a template that does not parse, from 1."},
    },
}
# Under which name an operation refers to it, and what it means.
_MEANING = {
    400: ("BadRequest", "The request is not HTTP as it should be."),
    401: ("Unauthorized", "Nobody, or a credential that is not good."),
    402: ("PaymentRequired", "A spend rule leaves less than it may cost; `exceeds` has the numbers."),
    403: ("Forbidden", "Role or credential do not allow it."),
    404: ("NotFound", "There is none, or it is somebody else's."),
    409: ("Conflict", "It does not go with how things are."),
    412: ("PreconditionFailed", "Somebody changed it first; `current` and `diff` say how."),
    413: ("ContentTooLarge", "The body is too large."),
    422: ("UnprocessableContent", "What was sent does not fit."),
    426: ("UpgradeRequired", "Not a version of the WebSocket protocol that the server speaks."),
    428: ("PreconditionRequired", "`If-Match` is missing."),
    429: ("TooManyRequests", "Too many requests."),
    503: ("ServiceUnavailable", "A service is away, busy or starting."),
    507: ("InsufficientStorage", "The disk is full."),
}
_RETRY_AFTER = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}}
_HEADERS: dict[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": {"description": "`Bearer`.", "schema": {"type": "string"}}},
    429: _RETRY_AFTER,
    503: _RETRY_AFTER,
}


def error_responses() -> dict[str, Any]:
    """Return the answers with an error, by the names under which operations refer to them."""
    content = {"application/json": {"schema": reference("Error")}}
    return {
        name: {"description": about, "headers": _HEADERS.get(status, {}), "content": content}
        for status, (name, about) in _MEANING.items()
    }


def responses_of(statuses: set[int]) -> dict[str, Any]:
    """Return the part of an operation's responses that is about errors."""
    return {str(status): {"$ref": f"#/components/responses/{_MEANING[status][0]}"} for status in sorted(statuses)}


def statuses_of(operation: Operation) -> set[int]:
    """Return the statuses of the errors that an operation may answer with."""
    # Nothing to be found, a bad credential even where none is needed, another site's page, an unknown parameter.
    found = {400, 401, 403, 422, 429, 503, *operation.refuses}
    if operation.parameters:
        found.add(404)
    if operation.method != "GET":
        # Every change is written down; what only reads needs no room.
        found |= {413, 507}
    if operation.idempotent:
        found.add(409)
    if operation.conditional:
        found |= {412, 428}
    return found
