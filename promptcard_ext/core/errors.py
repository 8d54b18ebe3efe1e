"""Every error a user can meet.

    PromptCardError
    ├── CardError            a card, case or assertion that cannot be used
    │   └── TemplateError    with line and column
    ├── FileError            a file that cannot be read: name, line
    ├── ProviderError        a model call that failed, with the class of failure
    │   └── UnknownModel     a model or provider that does not exist
    ├── RunError             a run that cannot start or go on
    ├── OverBudget           a run that may cost more than the rules leave
    ├── NotFound             no such object (or not yours: the two look the same)
    ├── Conflict             somebody changed it first
    ├── Unauthenticated      who is asking?
    ├── Denied               not allowed
    ├── RateLimited          too many requests
    ├── Unavailable          a service we need does not answer
    │   └── StalePromptError what was kept of a prompt is too old to be used
    └── SetupError           this machine, home or database cannot be used as it is

Each carries a stable ``code`` for programs, a message that names the object, and a ``hint`` that says what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class PromptCardError(Exception):
    """Base of all errors of this package.

    Args:
        message: One sentence that names the object and what is wrong with it.
        hint: What to do about it; may be empty.
        code: Stable slug for programs; defaults to the class's.
    """

    code = "error"
    exit_code = 1
    retry_after_s: float | None = None

    def __init__(self, message: str, *, hint: str = "", code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()

    def _render_traceback_(self) -> list[str]:
        """Show a notebook the message and what to do, not twenty lines of our code (IPython asks for this)."""
        lines = [f"{type(self).__name__} [{self.code}]: {self.message}"]
        return [*lines, f"  {self.hint}"] if self.hint else lines

    def to_dict(self) -> dict[str, Any]:
        """Return ``{"code", "message", "hint"}``, the form the REST interface sends."""
        return {"code": self.code, "message": self.message, "hint": self.hint}


class CardError(PromptCardError):
    """A card, case or assertion that cannot be used as it stands."""

    code = "card_invalid"
    exit_code = 2


class TemplateError(CardError):
    """A template that does not parse or render; ``line`` and ``column`` count from 1 (0: unknown)."""

    code = "template_error"

    def __init__(
        self, message: str, *, line: int = 0, column: int = 0, hint: str = "", code: str | None = None
    ) -> None:
        super().__init__(message, hint=hint, code=code)
        self.line = line
        self.column = column

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "line": self.line, "column": self.column}


class FileError(PromptCardError):
    """A file that cannot be read as what it should be."""

    code = "file_invalid"
    exit_code = 2


class ProviderError(PromptCardError):
    """A model call that failed.

    Args:
        retryable: Whether the same call may succeed later (429, 5xx, broken connection).
        retry_after_s: Seconds the provider asked us to wait, when it did.
        sent: Whether the request may have reached the provider, and so may have been paid for.
        raw: What was received, when it could not be read as an answer; at most 1,000,000 characters.
        quota: What the provider said is left of its rate limit (`core.ports.Quota`), when it did.
    """

    code = "provider_error"

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        code: str | None = None,
        retryable: bool = False,
        retry_after_s: float | None = None,
        sent: bool = True,
        raw: str | None = None,
        quota: Any = None,
    ) -> None:
        super().__init__(message, hint=hint, code=code)
        self.retryable = retryable
        self.retry_after_s = retry_after_s
        self.sent = sent
        self.raw = raw
        self.quota = quota


class UnknownModel(ProviderError):
    """A model or provider that does not exist."""

    code = "unknown_model"
    exit_code = 2


class RunError(PromptCardError):
    """A run that cannot start or go on."""

    code = "run_error"


class OverBudget(PromptCardError):
    """A run that may cost more than the workspace's rules leave.

    Args:
        exceeds: The rules with their numbers, as plain values (`core.contract.budgets.Exceeded`).
    """

    code = "budget_exceeded"

    def __init__(self, message: str, *, exceeds: Sequence[Any] = (), hint: str = "", code: str | None = None) -> None:
        super().__init__(message, hint=hint, code=code)
        self.exceeds = list(exceeds)

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "exceeds": self.exceeds}


class NotFound(PromptCardError):
    """No such object, or none that this user may see: the two must look the same."""

    code = "not_found"


class Conflict(PromptCardError):
    """Somebody changed the object first.

    Args:
        current: The state that won.
        diff: By field, how it differs from what was wanted.
    """

    code = "conflict"

    def __init__(
        self, message: str, *, hint: str = "", code: str | None = None, current: Any = None, diff: Any = None
    ) -> None:
        super().__init__(message, hint=hint, code=code)
        self.current = current
        self.diff = diff


class Denied(PromptCardError):
    """The actor may not do this."""

    code = "denied"


class Unauthenticated(PromptCardError):
    """We do not know who asks, or what they showed is not good (any more)."""

    code = "unauthenticated"


class RateLimited(PromptCardError):
    """Too many requests; ``retry_after_s`` says when the next one is welcome."""

    code = "rate_limited"

    def __init__(self, message: str, *, retry_after_s: float = 1.0, hint: str = "", code: str | None = None) -> None:
        super().__init__(message, hint=hint, code=code)
        self.retry_after_s = retry_after_s


class Unavailable(PromptCardError):
    """A service we need (database, queue, server) does not answer."""

    code = "unavailable"
    retry_after_s = 2.0


class StalePromptError(Unavailable):
    """The server does not answer, and what was kept of the prompt is older than may be used."""

    code = "prompt_stale"


class SetupError(PromptCardError):
    """This machine, home or database cannot be used as it is."""

    code = "setup_error"
