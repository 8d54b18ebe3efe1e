"""The audit trail of a workspace."""

from __future__ import annotations

from promptcard_ext.core.contract.audit import AuditCheck, AuditCheckQuery, AuditEntry, AuditHead, AuditQuery
from promptcard_ext.core.contract.page import Page
from server_ext.api.operation import Call, Operations
from server_ext.services import audit, audit_verify

operations = Operations("audit")


@operations.get("workspaces/{workspace}/audit", action="audit:read", query=AuditQuery, answer=Page[AuditEntry])
def list_audit(call: Call) -> Page[AuditEntry]:
    """List what was done in the workspace, and by whom, the latest first."""
    return audit.list_entries(call.scope, call.query)


@operations.get("workspaces/{workspace}/audit/head", action="audit:read", answer=AuditHead)
def get_audit_head(call: Call) -> AuditHead:
    """Return number, hash and seal of the last entry.

    Keep it elsewhere: a trail that was cut or written anew later does not fit it any more.
    """
    return audit.head(call.scope)


@operations.get(
    "workspaces/{workspace}/audit/verify", action="audit:read", query=AuditCheckQuery, answer=AuditCheck, limit="export"
)
def verify_audit(call: Call) -> AuditCheck:
    """Check a part of the trail: numbers, hashes and seals, up to the first problem.

    As long as the answer is not `complete`, ask again with its `checked_to` as `after`.
    """
    return audit_verify.verify(call.scope, call.query)
