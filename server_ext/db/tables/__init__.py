"""Every table, for SQLAlchemy Core. The migrations create them; a test holds the two together."""

from __future__ import annotations

import re

from server_ext.db.tables.accounts import memberships, user_identities, users, workspaces
from server_ext.db.tables.analytics import rollup_case_days, rollup_cases
from server_ext.db.tables.api_tokens import api_tokens
from server_ext.db.tables.batches import provider_batches
from server_ext.db.tables.budgets import run_purses, run_reservations, spend_rules, spending
from server_ext.db.tables.cards import card_labels, card_search, card_versions, prompt_cards, test_cases
from server_ext.db.tables.columns import SafeText, metadata
from server_ext.db.tables.credentials import network_rules, provider_credentials
from server_ext.db.tables.facts import analytics_events, audit_log, performance_metrics
from server_ext.db.tables.invitations import invitations
from server_ext.db.tables.requests import idempotency_keys
from server_ext.db.tables.results import (
    generations,
    price_book,
    price_overrides,
    rollup_histograms,
    rollup_hours,
    rollup_users,
    test_executions,
)
from server_ext.db.tables.runs import attempts, outbox, reports, run_cases, run_events, runs, tasks
from server_ext.db.tables.sessions import login_attempts, sessions
from server_ext.db.tables.webhooks import webhook_deliveries, webhooks
from server_ext.db.tables.workers import workers

__all__ = [
    "SafeText",
    "analytics_events",
    "api_tokens",
    "attempts",
    "audit_log",
    "card_labels",
    "card_search",
    "card_versions",
    "generations",
    "idempotency_keys",
    "invitations",
    "is_partition",
    "login_attempts",
    "memberships",
    "metadata",
    "network_rules",
    "outbox",
    "performance_metrics",
    "price_book",
    "price_overrides",
    "prompt_cards",
    "provider_batches",
    "provider_credentials",
    "reports",
    "rollup_case_days",
    "rollup_cases",
    "rollup_histograms",
    "rollup_hours",
    "rollup_users",
    "run_cases",
    "run_events",
    "run_purses",
    "run_reservations",
    "runs",
    "sessions",
    "spend_rules",
    "spending",
    "tasks",
    "test_cases",
    "test_executions",
    "user_identities",
    "users",
    "webhook_deliveries",
    "webhooks",
    "workers",
    "workspaces",
]

_PARTITION = re.compile(r"(test_executions|analytics_events|performance_metrics)_(y\d{4}m\d{2}|default)")


def is_partition(table: str) -> bool:
    """Tell whether ``table`` is a month of a fact table; those are made as time goes by, not by migrations."""
    return _PARTITION.fullmatch(table) is not None
