"""All routes, in one table: made from the operations, so that there is none that declares nothing."""

from __future__ import annotations

import re
from typing import Any

from jupyter_server.utils import url_path_join

from server_ext.api import (
    analytics,
    api_tokens,
    audit,
    auth,
    budgets,
    cards,
    cases,
    contract,
    credentials,
    drafts,
    generations,
    health,
    invitations,
    labels,
    members,
    prices,
    queue,
    reports,
    runs,
    tags,
    usage,
    versions,
    webhooks,
    workspaces,
)
from server_ext.api.changes_sse import ChangesHandler
from server_ext.api.events_ws import RunEventsHandler
from server_ext.api.handler import OperationHandler
from server_ext.api.nothing import NothingHereHandler
from server_ext.api.operation import Operation

PREFIX = "promptcards/api/v1"

OPERATIONS: tuple[Operation, ...] = (
    *health.operations.all,
    *contract.operations.all,
    *auth.operations.all,
    *workspaces.operations.all,
    *members.operations.all,
    *invitations.operations.all,
    *api_tokens.operations.all,
    *cards.operations.all,
    *drafts.operations.all,
    *versions.operations.all,
    *labels.operations.all,
    *tags.operations.all,
    *cases.operations.all,
    *runs.operations.all,
    *generations.operations.all,
    *prices.operations.all,
    *budgets.operations.all,
    *usage.operations.all,
    *analytics.operations.all,
    *queue.operations.all,
    *audit.operations.all,
    *reports.operations.all,
    *credentials.operations.all,
    *webhooks.operations.all,
)
# Paths that stay open, each with the action that it asks for.
STREAMS: tuple[tuple[str, type[Any], str], ...] = (
    ("workspaces/{workspace}/runs/{run}/events", RunEventsHandler, "test:read"),
    ("workspaces/{workspace}/events", ChangesHandler, "prompt:read"),
)


def pattern_of(path: str) -> str:
    """Return the regular expression of a path such as ``workspaces/{workspace}``."""
    return re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", path)


def by_path() -> dict[str, dict[str, Operation]]:
    """Return the operations by path and method; paths without parameters go first where both would fit."""
    found: dict[str, dict[str, Operation]] = {}
    for operation in sorted(OPERATIONS, key=lambda one: [part.startswith("{") for part in one.path.split("/")]):
        methods = found.setdefault(operation.path, {})
        if operation.method in methods:
            raise ValueError(f"{operation.name} is declared twice")
        methods[operation.method] = operation
    return found


def handlers(base_url: str = "/") -> list[tuple[Any, ...]]:
    """Return tornado's table of routes."""

    def below(pattern: str) -> str:
        return url_path_join(base_url, PREFIX, pattern)

    return [
        *((below(pattern_of(path)), handler) for path, handler, _ in STREAMS),
        *((below(pattern_of(path)), OperationHandler, {"operations": known}) for path, known in by_path().items()),
        # Last: what none of the others took is answered in JSON, like everything here.
        (below(".*"), NothingHereHandler),
    ]
