"""The whole table of routes: every role at every operation, and every method at every path."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from promptcard_ext.core.contract.api_tokens import ApiTokenSpec
from server_ext.api.operation import Operation
from server_ext.api.routes import OPERATIONS, STREAMS, by_path
from server_ext.auth.actor import Actor
from server_ext.auth.permissions import ACTIONS, OUTSIDE_WORKSPACES, PUBLIC, ROLES, SIGNED_IN, allows
from server_ext.services import api_tokens
from tests.api.conftest import Api
from tests.support import Tenant

NewActor = Callable[..., Actor]
# TRACE stands for what tornado refuses by itself.
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "TRACE")
IN_WORKSPACES = [operation for operation in OPERATIONS if operation.in_workspace]
# What the reference grants, as it says it.
REFERENCE = {
    "owner": ["workspace:*", "user:*", "prompt:*", "test:*", "analytics:*", "billing:*", "settings:*"],
    "admin": ["user:read", "user:create", "user:update", "prompt:*", "test:*", "analytics:read"],
    "member": ["prompt:read", "prompt:create", "prompt:update", "test:read", "test:create", "test:execute"],
    "viewer": ["prompt:read", "test:read", "analytics:read"],
}
# Nobody may do this; asked for last, since it ends the workspace as the test has it.
LAST = ("workspace:leave", "workspace:transfer")


def address(operation: Operation, workspace: str) -> str:
    """Return a path of an operation in a workspace, at things that do not exist."""
    path = operation.path.replace("{workspace}", workspace)
    for name in operation.parameters:
        path = path.replace("{" + name + "}", str(uuid4()))
    return path


@pytest.fixture
def token_of(tenant: Tenant, new_actor: NewActor) -> Callable[..., dict[str, str]]:
    """A function that gives the credential of a new member of a role, or of the workspace's owner."""

    def make(role: str, scopes: list[str] | None = None, at: Tenant = tenant) -> dict[str, str]:
        actor = at.actor if role == "owner" else new_actor(at, role)
        spec = ApiTokenSpec(name="test", scopes=scopes) if scopes is not None else ApiTokenSpec(name="test")
        with Tenant(at.database, actor, at.id, at.slug).scope() as scope:
            return {"X-PromptCards-Token": api_tokens.create(scope, spec).token}

    return make


def test_the_roles_may_at_least_what_the_reference_grants() -> None:
    for role, granted in REFERENCE.items():
        for pattern in granted:
            family = pattern.removesuffix("*")
            matching = [
                action for action in ACTIONS if action == pattern or (pattern != family and action.startswith(family))
            ]
            assert matching, pattern
            assert all(allows(role, action) for action in matching), (role, pattern)


def test_every_operation_declares_an_action_that_goes_with_its_path() -> None:
    for operation in OPERATIONS:
        assert operation.action in (ACTIONS if operation.in_workspace else OUTSIDE_WORKSPACES), operation.name
        assert operation.use.__doc__, operation.name
    for _, _, action in STREAMS:
        assert action in ACTIONS


def test_only_few_operations_are_for_anybody() -> None:
    public = {operation.name for operation in OPERATIONS if operation.action == PUBLIC}
    assert public == {
        "POST auth/login",
        "POST auth/refresh",
        "POST auth/logout",
        "POST invitations/accept",
        "GET openapi.json",
        "GET ready",
    }


def test_no_two_operations_share_a_name() -> None:
    names = [operation.id for operation in OPERATIONS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_may_do_what_the_matrix_says_and_nothing_else(
    api: Api, role: str, token_of: Callable[..., dict[str, str]]
) -> None:
    headers = token_of(role)
    workspace = api.workspace.partition("/")[2]
    wrong = {}
    for operation in sorted(IN_WORKSPACES, key=lambda one: one.action in LAST):
        answer = await api.ask(
            operation.method, address(operation, workspace), None if operation.method == "GET" else {},
            headers=headers, login=False,
        )  # fmt: skip
        may = allows(role, operation.action)
        if (answer.status == 403) == may or answer.status in (401, 405) or answer.status >= 500:
            wrong[operation.name] = (answer.status, answer.json)
    assert wrong == {}


async def test_a_token_may_do_what_its_scopes_name_and_nothing_else(
    api: Api, token_of: Callable[..., dict[str, str]]
) -> None:
    workspace = api.workspace.partition("/")[2]
    for scopes in (["prompt:read"], ["test:read", "test:execute"]):
        headers = token_of("owner", scopes)
        for operation in IN_WORKSPACES:
            answer = await api.ask(
                operation.method, address(operation, workspace), None if operation.method == "GET" else {},
                headers=headers, login=False,
            )  # fmt: skip
            assert (answer.status == 403) == (operation.action not in scopes), (operation.name, answer.json)


async def test_a_pinned_token_opens_no_other_workspace_and_makes_none(
    api: Api, tenant: Tenant, token_of: Callable[..., dict[str, str]], me: Actor
) -> None:
    from tests.support import new_tenant

    other = new_tenant(tenant.database, me)
    headers = token_of("owner")
    for operation in IN_WORKSPACES:
        answer = await api.ask(
            operation.method, address(operation, other.slug), None if operation.method == "GET" else {},
            headers=headers, login=False,
        )  # fmt: skip
        assert answer.status == 404, operation.name
        assert answer.json["message"] == f"There is no workspace '{other.slug}' here."
    signed_in = [operation for operation in OPERATIONS if operation.action == SIGNED_IN]
    for operation in signed_in:
        answer = await api.ask(
            operation.method, address(operation, ""), None if operation.method == "GET" else {},
            headers=headers, login=False,
        )  # fmt: skip
        assert answer.status == 403, operation.name


async def test_every_other_method_of_a_path_is_refused_and_the_right_ones_are_named(api: Api) -> None:
    workspace = api.workspace.partition("/")[2]
    for path, operations in by_path().items():
        any_of_them = next(iter(operations.values()))
        for method in METHODS:
            if method not in operations:
                answer = await api.ask(method, address(any_of_them, workspace), b"")
                assert (answer.status, answer.json["code"]) == (405, "method_not_allowed"), (method, path)
                assert answer.headers["Allow"] == ", ".join(sorted(operations))


@pytest.mark.parametrize(
    "headers",
    [{}, {"X-PromptCards-Token": ""}, {"X-PromptCards-Token": "pct_x"}, {"X-PromptCards-Token": "a.b.c"},
     {"Authorization": "Bearer pct_x"}, {"Authorization": "token wrong"}],
    ids=["none", "empty", "bad API token", "bad access token", "bad bearer", "wrong Jupyter token"],
)  # fmt: skip
async def test_nobody_gets_past_any_operation_that_is_not_for_anybody(api: Api, headers: dict[str, str]) -> None:
    workspace = api.workspace.partition("/")[2]
    let_in: dict[str, Any] = {}
    for operation in OPERATIONS:
        if operation.action == PUBLIC:
            continue
        answer = await api.ask(
            operation.method, address(operation, workspace), None if operation.method == "GET" else {},
            headers=headers, login=False,
        )  # fmt: skip
        # 403 is Jupyter's answer to a change without its XSRF token; 429 ours to who has guessed too often.
        if answer.status not in (401, 403, 429):
            let_in[operation.name] = answer.status
    assert let_in == {}


async def test_a_bad_credential_of_ours_is_refused_even_beside_a_good_one_of_jupyter(api: Api) -> None:
    answer = await api.ask("GET", "workspaces", headers={"X-PromptCards-Token": "pct_x"})
    assert (answer.status, answer.json["code"]) == (401, "token_invalid")
