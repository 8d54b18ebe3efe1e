"""From answers of HTTP to errors of ours."""

from __future__ import annotations

from typing import Any

import msgspec

from promptcard_ext.core import errors

_BY_STATUS: dict[int, type[errors.PromptCardError]] = {
    401: errors.Unauthenticated,
    403: errors.Denied,
    404: errors.NotFound,
    409: errors.Conflict,
    410: errors.NotFound,
    413: errors.CardError,
    422: errors.CardError,
    428: errors.CardError,
    502: errors.Unavailable,
    503: errors.Unavailable,
    504: errors.Unavailable,
    507: errors.Unavailable,
}
_BY_CODE: dict[str, type[errors.PromptCardError]] = {
    "unknown_model": errors.UnknownModel,
    "unknown_provider": errors.UnknownModel,
}
_PATIENCE_S = 1.0


def error_of(status: int, body: bytes, retry_after_s: float | None = None) -> errors.PromptCardError:
    """Return the error that an answer stands for; it repeats what the server says, and nothing that was sent.

    Args:
        retry_after_s: What ``Retry-After`` said.
    """
    try:
        value: Any = msgspec.json.decode(body)
        code, message, hint = str(value["code"]), str(value["message"]), str(value.get("hint") or "")
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError):
        error = _foreign(status)
    else:
        error = _ours(status, value, code, message, hint)
    if retry_after_s is not None:
        error.retry_after_s = retry_after_s
    return error


def not_json() -> errors.Unavailable:
    """Return the error for an answer that is not what this server would say."""
    return errors.Unavailable(
        "The server's answer is not JSON.", hint="Is this a Prompt Cards server?", code="answer_invalid"
    )


def _ours(status: int, value: dict[str, Any], code: str, message: str, hint: str) -> errors.PromptCardError:
    if status == 402 and isinstance(exceeds := value.get("exceeds"), list):
        return errors.OverBudget(message, exceeds=exceeds, hint=hint, code=code)
    if status == 412:
        current, diff = value.get("current"), value.get("diff")
        return errors.Conflict(message, hint=hint, code=code, current=current, diff=diff)
    if status == 429:
        return errors.RateLimited(message, retry_after_s=_PATIENCE_S, hint=hint, code=code)
    if status == 422 and isinstance(line := value.get("line"), int) and isinstance(value.get("column"), int):
        return errors.TemplateError(message, line=line, column=value["column"], hint=hint, code=code)
    kind = _BY_CODE.get(code) or _BY_STATUS.get(status, errors.PromptCardError)
    return kind(message, hint=hint, code=code)


def _foreign(status: int) -> errors.PromptCardError:
    """Return the error for an answer that has not our form: a proxy's, or another server's."""
    if status == 404:
        return errors.Unavailable(
            "This Jupyter server has no Prompt Cards.",
            hint="Install 'promptcards[server]' beside it.",
            code="no_extension",
        )
    message, hint = f"The server answered {status}.", "Is this a Prompt Cards server?"
    if status == 429:
        return errors.RateLimited(message, retry_after_s=_PATIENCE_S)
    return _BY_STATUS.get(status, errors.PromptCardError)(message, hint=hint, code="error")
