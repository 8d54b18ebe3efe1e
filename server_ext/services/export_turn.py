"""Whose turn it is to export: a workspace has one file made at a time, on whichever server."""

from __future__ import annotations

import hashlib

import sqlalchemy as sa

from promptcard_ext.core.errors import RateLimited
from server_ext.services.scope import Scope

RETRY_AFTER_S = 10.0


def take(scope: Scope) -> None:
    """Take the workspace's turn; it ends with the transaction, however that ends.

    Raises:
        RateLimited: Another export of the workspace goes on (``export_busy``).
    """
    digest = hashlib.sha256(b"export\0" + scope.workspace_id.bytes).digest()
    turn = sa.func.pg_try_advisory_xact_lock(int.from_bytes(digest[:8], "big", signed=True))
    if not scope.connection.execute(sa.select(turn)).scalar_one():
        raise RateLimited(
            "Another export of this workspace goes on.",
            hint="Wait until it has ended.",
            code="export_busy",
            retry_after_s=RETRY_AFTER_S,
        )
