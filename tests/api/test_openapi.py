"""The OpenAPI document: valid, complete, and true."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from server_ext.api import examples
from server_ext.api.errors import STATUS, STATUS_OF_CODE
from server_ext.api.openapi import document
from server_ext.api.refusals import error_responses
from server_ext.api.routes import OPERATIONS, STREAMS
from tests.api.conftest import Api
from tests.api.declared import document_of, resolved, validator
from tests.support import Tenant

KEPT = Path(__file__).parents[2] / "docs" / "developers" / "openapi.json"
COMMAND = "jupyter promptcards openapi --out docs/developers/openapi.json"
DOCUMENT = document_of()
SCHEMAS = DOCUMENT["components"]["schemas"]


def declared() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def texts(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for name, value in node.items():
            if name in ("description", "summary") and isinstance(value, str):
                yield value
            else:
                yield from texts(value)
    elif isinstance(node, list):
        for value in node:
            yield from texts(value)


def test_the_document_is_openapi_3_1() -> None:
    assert [error.message for error in OPENAPI_31_VALIDATOR.iter_errors(DOCUMENT)] == []
    for schema in SCHEMAS.values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_the_document_in_the_repository_is_that_of_the_code() -> None:
    assert json.loads(KEPT.read_text("utf-8")) == document(), f"Write it anew: {COMMAND}"


def test_every_operation_is_declared_and_nothing_else() -> None:
    operations = {(one.method, "/" + one.path): one.id for one in OPERATIONS}
    streams = {("GET", "/" + path) for path, _, _ in STREAMS}
    found = {(method, path): operation["operationId"] for method, path, operation in declared()}
    assert {place: name for place, name in found.items() if place not in streams} == operations
    assert found.keys() - operations.keys() == streams
    assert len(set(found.values())) == len(found)


def test_every_operation_says_what_it_takes_and_gives() -> None:
    for method, path, operation in declared():
        where = f"{method} {path}"
        assert operation["summary"], where
        assert all(one.get("description") for one in operation.get("parameters", ())), where
        assert {one["name"] for one in operation.get("parameters", ()) if one["in"] == "path"} == set(
            re.findall(r"{(\w+)}", path)
        ), where
        for status, response in operation["responses"].items():
            has_content = bool(resolved(response).get("content"))
            assert has_content == (status not in ("101", "204", "304")), (where, status)


def test_every_reference_leads_somewhere_and_every_schema_is_used() -> None:
    used = set(re.findall(r'"\$ref": ?"#/components/schemas/(\w+)"', json.dumps(DOCUMENT)))
    assert used == SCHEMAS.keys()


def test_every_property_is_described() -> None:
    silent = [
        f"{name}.{field}"
        for name, schema in SCHEMAS.items()
        for field, one in schema.get("properties", {}).items()
        if not one.get("description")
    ]
    assert silent == []


def test_descriptions_are_for_readers_of_the_interface() -> None:
    for text in texts(DOCUMENT):
        assert not re.search(r"``|>>>|^ *(Args|Attributes|Raises|Example):|Traceback", text, re.MULTILINE), text


def test_the_declared_errors_are_those_that_the_table_of_errors_knows() -> None:
    known = {status for _, status in STATUS} | set(STATUS_OF_CODE.values())
    # Which methods there are, the document says itself; 426 is the websocket protocol's.
    assert {int(status) for _, _, one in declared() for status in one["responses"] if status >= "400"} - {426} == (
        known - {405}
    )
    assert error_responses().keys() == DOCUMENT["components"]["responses"].keys()


def test_examples_fit_their_schemas() -> None:
    shown = set()
    for _, _, operation in declared():
        for media, content in operation.get("requestBody", {}).get("content", {}).items():
            if "example" in content and media == "application/json":
                shown.add(operation["operationId"])
                assert [error.message for error in validator(content["schema"]).iter_errors(content["example"])] == []
    assert shown == examples.BODIES.keys()


def test_links_lead_to_operations_that_have_the_parameters() -> None:
    parameters = {one["operationId"]: {name["name"] for name in one.get("parameters", ())} for _, _, one in declared()}
    linked = 0
    for _, _, operation in declared():
        for response in operation["responses"].values():
            for link in response.get("links", {}).values():
                assert link["parameters"].keys() <= parameters[link["operationId"]]
                linked += 1
    assert linked > 50


# What a client does in a day; every answer of `Api` is compared with the document.
DAY: tuple[tuple[str, str, Any, int], ...] = (
    ("GET", "cards", None, 200),
    ("POST", "cards", examples.BODIES["save_card"], 201),
    ("POST", "cards", examples.BODIES["save_card"], 200),
    ("POST", "cards", {"name": "No slug"}, 422),
    ("GET", "cards/greet", None, 200),
    ("GET", "cards/nobody", None, 404),
    ("PATCH", "cards/greet", examples.BODIES["update_card"], 428),
    ("GET", "cards/greet/fetch", None, 200),
    ("GET", "cards/greet/draft", None, 200),
    ("PUT", "cards/greet/draft", examples.BODIES["save_draft"], 200),
    ("GET", "cards/greet/diff?base=1&other=draft", None, 200),
    ("GET", "cards/greet/versions", None, 200),
    ("GET", "cards/greet/versions/1", None, 200),
    ("PUT", "cards/greet/labels/production", {"version": 1}, 200),
    ("GET", "cards/greet/labels", None, 200),
    ("GET", "tags", None, 200),
    ("PATCH", "tags/demo", examples.BODIES["rename_tag"], 200),
    ("GET", "search?text=hello", None, 200),
    ("POST", "cards/greet/cases", examples.BODIES["add_case"], 201),
    ("POST", "cards/greet/cases/bulk", examples.BODIES["change_cases"], 200),
    ("PUT", "cards/greet/cases", examples.BODIES["replace_cases"], 200),
    ("POST", "cards/greet/cases/import?format=csv", examples.UPLOADS["text/csv"].encode(), 200),
    ("GET", "cards/greet/cases", None, 200),
    ("GET", "cards/greet/cases/export?format=jsonl", None, 200),
    ("GET", "cards/greet/cases?limit=0", None, 422),
    ("POST", "runs", examples.BODIES["create_run"], 201),
    ("GET", "runs", None, 200),
    ("GET", "generations", None, 200),
    ("GET", "usage", None, 200),
    ("GET", "analytics/cases", None, 200),
    ("GET", "analytics/latency", None, 200),
    ("GET", "analytics/executions", None, 200),
    ("GET", "analytics/executions/sums", None, 200),
    ("GET", "analytics/executions/cases", None, 200),
    ("GET", "queue", None, 200),
    ("GET", "prices", None, 200),
    ("POST", "price-overrides", examples.BODIES["create_price_override"], 201),
    ("GET", "price-overrides", None, 200),
    ("POST", "credentials", examples.BODIES["create_credential"], 201),
    ("GET", "credentials", None, 200),
    ("GET", "network-rules", None, 200),
    ("POST", "invitations", examples.BODIES["create_invitation"], 201),
    ("GET", "invitations", None, 200),
    ("POST", "tokens", examples.BODIES["create_token"], 201),
    ("GET", "tokens", None, 200),
    ("GET", "members", None, 200),
    ("GET", "audit", None, 200),
    ("GET", "audit/head", None, 200),
    ("GET", "audit/verify", None, 200),
    ("POST", "leave", None, 409),
)


async def test_the_answers_of_a_day_are_as_declared(api: Api) -> None:
    for method, path, body, status in DAY:
        headers = {"If-Match": "*"} if method == "PUT" else {}
        if method != "GET" and body is None:
            body = {}
        answer = await api.ask(method, f"{api.workspace}/{path}", body, headers=headers)
        assert answer.status == status, (method, path, answer.status, answer.json)


async def test_a_state_that_is_known_already_is_not_sent_again(api: Api, tenant: Tenant) -> None:
    tenant.fill(1)
    known = (await api.get("cards/greet")).headers["ETag"]
    answer = await api.get("cards/greet", headers={"If-None-Match": known})
    assert (answer.status, answer.raw, answer.headers["ETag"]) == (304, b"", known)


async def test_an_undeclared_answer_is_noticed(api: Api, tenant: Tenant) -> None:
    from tests.api.declared import check_declared

    head = {"Content-Type": "application/json", "ETag": "x"}
    path = f"workspaces/{tenant.slug}/cards/greet"
    with pytest.raises(AssertionError, match="does not declare"):
        check_declared("GET", path, 201, head, {})
    with pytest.raises(AssertionError, match="another form"):
        check_declared("GET", path, 200, head, {"name": "greet"})
    with pytest.raises(AssertionError, match="without ETag"):
        check_declared("GET", path, 200, {"Content-Type": "application/json"}, {})
