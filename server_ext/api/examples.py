"""Examples in the OpenAPI document: requests that fit each other, and where the ids in answers lead to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from server_ext.api.operation import Operation

# By name of the operation. Together they are a tour: what one makes, another uses.
BODIES: dict[str, Any] = {
    "create_workspace": {"name": "Support"},
    "update_workspace": {"name": "Support, second line"},
    "create_token": {"name": "nightly", "scopes": ["prompt:read", "test:read"]},
    "create_invitation": {"email": "ada@example.com", "role": "member"},
    "exchange_token": {"purpose": "kernel"},
    "save_card": {
        "name": "greet",
        "template": "Say hello to {{ who }}.",
        "tags": ["demo"],
        "provenance": {"notebook": "notebooks/greetings.ipynb", "cell_id": "a1b2c3d4"},
    },
    "update_card": {"title": "A greeting"},
    "save_draft": {"template": "Say good morning to {{ who }}."},
    "put_label": {"version": 1},
    "rename_tag": {"tag": "samples"},
    "add_case": {
        "variables": {"who": "Grace"},
        "assertions": [{"type": "contains", "value": "Grace"}],
        "priority": "high",
    },
    "update_case": {"threshold": 0.5},
    "replace_cases": {"cases": [{"variables": {"who": "Ada"}, "assertions": [{"type": "contains", "value": "Ada"}]}]},
    "change_cases": {"save": [{"variables": {"who": "Alan"}, "assertions": [{"type": "contains", "value": "Alan"}]}]},
    "create_run": {
        "card": "greet",
        "models": ["simulated:echo"],
        "provenance": {"notebook": "notebooks/greetings.ipynb", "git_dirty": False},
    },
    "update_run": {"name": "before the release"},
    "requeue_items": {"ordinals": [0]},
    "retry_errors": {"unscored": True},
    "regrade_run": {"assertions": [{"type": "icontains", "value": "hello"}]},
    "create_price_override": {
        "provider": "openai",
        "model": "*",
        "input_per_mtok": "1.25",
        "output_per_mtok": "10",
        "valid_from": "2026-01-01",
        "source": "our contract",
    },
    "set_budget": {"scope": "workspace", "span": "month", "limit_usd": "100", "hard": False},
    "update_price_override": {"valid_to": "2027-01-01"},
    "create_credential": {
        "provider": "openai",
        "name": "team",
        "key": "the provider's key",
        "requests_per_minute": 500,
        "tokens_per_minute": 200_000,
    },
    "update_credential": {"requests_per_minute": 1000},
    "create_network_rule": {"host": "models.example.com", "port": 8000, "note": "our own models"},
    "create_webhook": {"url": "https://hooks.example.com/promptcards", "note": "tells the team"},
    "update_webhook": {"enabled": False},
}
UPLOADS = {"text/csv": "who,__expected\nAda,contains:Ada\n"}
PATH = {"workspace": "personal", "card": "greet", "version": "1", "label": "production", "tag": "demo"}
QUERY = {
    "search_cards": {"text": "hello"},
    "diff_versions": {"base": "1", "other": "draft"},
    "import_cases": {"format": "csv"},
}
# What an operation makes: the parameter in other paths that means it, and where its id stands in the answer.
_MADE = {
    "save_card": ("card", "/card_id"),
    "restore_card": ("card", "/id"),
    "add_case": ("case", "/id"),
    "create_run": ("run", "/id"),
    "retry_errors": ("run", "/id"),
    "create_report": ("report", "/id"),
    "create_invitation": ("invitation", "/invitation/id"),
    "create_token": ("token", "/api_token/id"),
    "create_price_override": ("price", "/id"),
    "set_budget": ("budget", "/id"),
    "create_credential": ("credential", "/id"),
    "create_network_rule": ("rule", "/id"),
    "create_webhook": ("webhook", "/webhook/id"),
}


def links_of(operation: Operation, others: Iterable[Operation]) -> dict[str, Any]:
    """Return links from what an operation makes to all operations on it."""
    if operation.id not in _MADE:
        return {}
    name, pointer = _MADE[operation.id]
    known = {one: f"$request.path.{one}" for one in operation.parameters}
    # What lies deeper has a parameter more, of which nothing is told here.
    return {
        other.id: {"operationId": other.id, "parameters": {**known, name: f"$response.body#{pointer}"}}
        for other in others
        if name in other.parameters and {*other.parameters} == {*operation.parameters, name}
    }
