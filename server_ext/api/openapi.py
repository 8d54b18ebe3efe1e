"""The OpenAPI 3.1 document, made from the operations themselves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from promptcard_ext._version import __version__
from server_ext.api import examples
from server_ext.api.changes_sse import ChangesHandler
from server_ext.api.dispatch import MAX_PARAMETER
from server_ext.api.docstrings import read_docstring
from server_ext.api.drafts import save_draft
from server_ext.api.events_ws import EventQuery, RunEventsHandler
from server_ext.api.operation import Operation
from server_ext.api.refusals import ERROR_SCHEMA, error_responses, responses_of, statuses_of
from server_ext.api.routes import OPERATIONS, PREFIX, STREAMS
from server_ext.api.schemas import Schemas, parameters_of, reference

_TOKEN_DOC = "An access token or API token of ours."  # noqa: S105
_SECURITY: dict[str, Any] = {
    "token": {"type": "apiKey", "in": "header", "name": "X-PromptCards-Token", "description": _TOKEN_DOC},
    "bearer": {"type": "http", "scheme": "bearer", "description": _TOKEN_DOC},
    "jupyter": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "Jupyter's own token, as `token …`. A browser that is logged in to Jupyter sends its cookie"
        " instead, and with changes the header `X-XSRFToken`.",
    },
}
_TEXT: dict[str, Any] = {"type": "string"}
_ANY_OF_THEM: list[dict[str, list[str]]] = [{name: []} for name in _SECURITY]
# What stands in paths, and whether it is an id and nothing else.
_PATH: dict[str, tuple[str, bool]] = {
    "workspace": ("Id, or slug of one of your workspaces.", False),
    "card": ("Name or id of the card.", False),
    "version": ("Number of the version, or a label.", False),
    "label": ("Name of the label: lower-case letters, digits, `.`, `_` and `-`.", False),
    "tag": ("The tag as it is now.", False),
    "case": ("Id of the case, or its `case_uid`.", False),
    "user": ("Id of the user.", True),
    "session": ("Id of the session.", True),
    "invitation": ("Id of the invitation.", True),
    "token": ("Id of the token; not the token itself.", True),
    "run": ("Id of the run.", True),
    "report": ("Id of the report.", True),
    "generation": ("Id of the answer.", True),
    "price": ("Id of the price.", True),
    "budget": ("Id of the spend rule.", True),
    "credential": ("Id of the credential.", True),
    "webhook": ("Id of the webhook.", True),
    "rule": ("Id of the rule.", True),
}
_LAST_EVENT = {
    "name": "Last-Event-ID",
    "in": "header",
    "required": False,
    "description": "`id` of the last event that was seen; browsers send it by themselves.",
    "schema": _TEXT,
}
# Name, summary, description, parameters and answer of what is no operation.
_STREAM: dict[Any, tuple[str, str, str, list[dict[str, Any]], dict[str, Any]]] = {
    RunEventsHandler: (
        "follow_run",
        "Follow a run over a websocket",
        """Each message is a JSON object with `seq`, `kind`, `status` of the run, `payload` and `items`, the results
that are new. Nothing is to be sent. The socket closes with 1000 when the run has ended, 1008 when one may not see it
any more, 1011 when the server cannot go on; the reason is a code. Whoever comes back says with `after` what they have
seen, and misses nothing.""",
        parameters_of(EventQuery),
        {"101": {"description": "The socket is open."}},
    ),
    ChangesHandler: (
        "follow_changes",
        "Follow the changes of a workspace as server-sent events",
        """Events are `card`, `label` and `run`, each with `{"key": …}` as data: what has changed, never its content.
`start` comes first. `reset` says that changes may have been missed: drop all that is known. `end` has the code of why
the stream ends. A comment comes every 15 seconds.""",
        [_LAST_EVENT],
        {"200": {"description": "The stream.", "content": {"text/event-stream": {"schema": _TEXT}}}},
    ),
}


def document() -> dict[str, Any]:
    """Return the document as JSON values; the same for the same program, so that it can be compared."""
    schemas = Schemas(
        kind for operation in OPERATIONS for kind in (operation.body, operation.answer) if kind is not None
    )
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault("/" + operation.path, {})[operation.method.lower()] = _operation(operation, schemas)
    for path, handler, action in STREAMS:
        paths.setdefault("/" + path, {})["get"] = _stream(path, handler, action)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Prompt Cards",
            "version": __version__,
            "description": "Cards, cases, runs and results of a workspace. docs/developers/rest.md tells what holds for"
            " all operations: credentials, pages, changes on condition, repeating, rates.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": f"/{PREFIX}", "description": "Below the base URL of the Jupyter server."}],
        "security": _ANY_OF_THEM,
        "tags": [{"name": tag} for tag in sorted({*(one.tag for one in OPERATIONS), "events"})],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": {"Error": ERROR_SCHEMA, "DraftContent": _draft(schemas), **schemas.components},
            "responses": error_responses(),
            "securitySchemes": _SECURITY,
        },
    }


def _operation(operation: Operation, schemas: Schemas) -> dict[str, Any]:
    doc = read_docstring(operation.use.__doc__)
    found: dict[str, Any] = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": doc.summary.rstrip("."),
        "description": doc.rest,
        "x-action": operation.action,
        "x-rate-limit": operation.limit,
        "parameters": [*_path_parameters(operation.parameters), *_query(operation), *_headers(operation)],
        "requestBody": _body(operation, schemas),
        "responses": {**_successes(operation, schemas), **responses_of(statuses_of(operation))},
    }
    if operation.public:
        # Who shows a credential all the same must show a good one.
        found["security"] = [{}, *_ANY_OF_THEM]
    return {name: value for name, value in found.items() if value or name == "security"}


def _path_parameters(names: Iterable[str]) -> list[dict[str, Any]]:
    found = []
    for name in names:
        about, is_id = _PATH[name]
        schema = {"type": "string", "format": "uuid"} if is_id else {"type": "string", "maxLength": MAX_PARAMETER}
        parameter = {"name": name, "in": "path", "required": True, "description": about, "schema": schema}
        found.append({**parameter, "example": examples.PATH[name]} if name in examples.PATH else parameter)
    return found


def _query(operation: Operation) -> list[dict[str, Any]]:
    shown = examples.QUERY.get(operation.id, {})
    found = [
        {**one, "example": shown[one["name"]]} if one["name"] in shown else one
        for one in parameters_of(operation.query)
    ]
    if operation.answer is not None and operation.answer != dict[str, Any]:
        about = "Names of the fields to be sent, separated by commas; without it, all."
        found.append({"name": "fields", "in": "query", "required": False, "description": about, "schema": _TEXT})
    return found


def _headers(operation: Operation) -> list[dict[str, Any]]:
    found: list[tuple[str, bool, str, dict[str, Any]]] = []
    if operation.idempotent:
        about = "A repeated request with the same key gets the first one's answer, for 24 hours."
        found.append(("Idempotency-Key", False, about, {"type": "string", "minLength": 1, "maxLength": 255}))
    if operation.conditional:
        about = "ETag of the state that the change is based on; `*` for any."
        found.append(("If-Match", True, about, _TEXT))
    if operation.etag and operation.method == "GET":
        about = "ETag of the state that is known already; 304 when it is still that one."
        found.append(("If-None-Match", False, about, _TEXT))
    return [
        {"name": name, "in": "header", "required": required, "description": about, "schema": schema}
        for name, required, about, schema in found
    ]


def _body(operation: Operation, schemas: Schemas) -> dict[str, Any]:
    if operation.body is not None:
        schema = reference("DraftContent") if operation.use is save_draft else schemas.of(operation.body)
        content = {"application/json": {"schema": schema, **_example(examples.BODIES, operation.id)}}
        needed = bool(schemas.required(schema))
        return {"description": f"At most {operation.max_body:,} bytes.", "required": needed, "content": content}
    if operation.raw:
        about = f"The file, at most {operation.max_body:,} bytes; `format` says what it is."
        return {"description": about, "required": True, "content": _binary(operation.raw, examples.UPLOADS)}
    return {}


def _successes(operation: Operation, schemas: Schemas) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if operation.media:
        content = _binary(operation.media)
    elif operation.answer is not None:
        content = {"application/json": {"schema": schemas.of(operation.answer)}}
    found: dict[str, Any] = {}
    for status in sorted({operation.status, *operation.also}):
        found[str(status)] = {"description": "Done."} if status == 204 else {"description": "Done.", "content": content}
    if links := examples.links_of(operation, OPERATIONS):
        for answer in found.values():
            answer["links"] = links
    if operation.etag:
        about = "Of this state; for `If-Match` and `If-None-Match`."
        for answer in found.values():
            answer["headers"] = {"ETag": {"description": about, "required": True, "schema": _TEXT}}
        if operation.method == "GET":
            found["304"] = {"description": "The state is the one that `If-None-Match` names."}
    return found


def _draft(schemas: Schemas) -> dict[str, Any]:
    """Return the schema of a draft: a card that may lack anything, and has neither name nor version."""
    card = schemas.components["Card"]
    own = {name: one for name, one in card["properties"].items() if name not in ("name", "version")}
    about = "A draft: fields of a card, all but name and version. Together with the name they must make a card."
    return {**card, "title": "DraftContent", "description": about, "properties": own, "required": []}


def _binary(media_types: Iterable[str], shown: dict[str, Any] | None = None) -> dict[str, Any]:
    schema = {"type": "string", "format": "binary"}
    return {name: {"schema": schema, **_example(shown or {}, name)} for name in media_types}


def _example(shown: dict[str, Any], name: str) -> dict[str, Any]:
    return {"example": shown[name]} if name in shown else {}


def _stream(path: str, handler: Any, action: str) -> dict[str, Any]:
    name, summary, description, query, success = _STREAM[handler]
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    refused = {400, 401, 403, 404, 422, 426 if "101" in success else 429, 503}
    return {
        "operationId": name,
        "tags": ["events"],
        "summary": summary,
        "description": description,
        "x-action": action,
        "parameters": [*_path_parameters(names), *query],
        "responses": {**success, **responses_of(refused)},
    }
