"""From errors of ours to answers of HTTP: the one table."""

from __future__ import annotations

import http
from typing import Any

from tornado import web

from promptcard_ext.core.errors import (
    CardError,
    Conflict,
    Denied,
    FileError,
    NotFound,
    OverBudget,
    PromptCardError,
    RateLimited,
    SetupError,
    Unauthenticated,
    Unavailable,
    UnknownModel,
)

# The first that fits counts.
STATUS: tuple[tuple[type[PromptCardError], int], ...] = (
    (Unauthenticated, 401),
    (OverBudget, 402),
    (Denied, 403),
    (NotFound, 404),
    (Conflict, 412),
    (CardError, 422),
    (FileError, 422),
    (UnknownModel, 422),
    (RateLimited, 429),
    (Unavailable, 503),
    (SetupError, 503),
    (PromptCardError, 400),
)
# Where HTTP is finer than our classes.
STATUS_OF_CODE = {
    "account_exists": 409,
    "address_refused": 422,
    "already_member": 409,
    "disk_full": 507,
    "idempotency_busy": 409,
    "if_match_missing": 428,
    "last_owner": 409,
    "member_synced": 409,
    "method_not_allowed": 405,
    "request_too_large": 413,
    "run_state": 409,
}
_CODE_OF_STATUS = {
    400: "request_invalid",
    401: "unauthenticated",
    403: "denied",
    404: "not_found",
    405: "method_not_allowed",
    413: "request_too_large",
}


def status_of(error: PromptCardError) -> int:
    """Return the HTTP status of an error of ours."""
    if error.code in STATUS_OF_CODE:
        return STATUS_OF_CODE[error.code]
    return next(status for kind, status in STATUS if isinstance(error, kind))


def answer_of(status: int, error: BaseException | None) -> tuple[int, dict[str, Any]]:
    """Return status and ``{"code", "message", "hint", …}`` for whatever went wrong; never a traceback.

    Args:
        status: What tornado takes it for, used when the error is none of ours.
    """
    if not isinstance(error, PromptCardError):
        return status, _plain(status, error)
    answer = error.to_dict()
    if isinstance(error, Conflict):
        answer |= {name: value for name in ("current", "diff") if (value := getattr(error, name)) is not None}
    return status_of(error), answer


def _plain(status: int, error: BaseException | None) -> dict[str, Any]:
    phrase = http.HTTPStatus(status).phrase if status in http.HTTPStatus._value2member_map_ else "Error"
    message = phrase
    if isinstance(error, web.HTTPError) and status < 500 and error.log_message:
        message = error.log_message % error.args if error.args else error.log_message
    code = _CODE_OF_STATUS.get(status, "internal_error" if status >= 500 else "error")
    hint = "The server's log has the details under this request id." if status >= 500 else ""
    return {"code": code, "message": message, "hint": hint}
