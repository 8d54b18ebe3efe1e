"""From a status and an error text to the error that says what kind of failure it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from promptcard_ext.core.errors import ProviderError, UnknownModel
from promptcard_ext.providers.json_text import decode
from promptcard_ext.providers.rate_limit import quota, retry_after

MAX_RAW = 1_000_000
# "Later" in another way than 429: request timeout, conflict, too early.
_TRY_AGAIN = frozenset({408, 409, 425})
# What the server cannot do it cannot do later either: not implemented, HTTP version.
_FOR_GOOD = frozenset({501, 505})
# OpenAI's words, then those of Moonshot and of a gateway.
_USED_UP = frozenset(
    {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "exceeded_current_quota_error",
     "insufficient_user_quota"}
)  # fmt: skip
_SHORT_SECRET = 8


class Refusal:
    """The errors of one endpoint.

    Args:
        name: The provider's name for a person.
        address: Where it is, without credentials.
        secrets: What must be in no error, even when the server repeats it. Those below eight characters are not looked
            for: they are words, such as the ``none`` that servers without keys are given.
    """

    def __init__(self, name: str, address: str, secrets: Iterable[str] = ()) -> None:
        self.name, self.where = name, f"{name} at {address:.300}"
        self._secrets = [secret for secret in secrets if len(secret) >= _SHORT_SECRET]

    def of_status(self, status: int, raw: bytes, headers: Mapping[str, str]) -> ProviderError:
        """Return the error for a reply whose status is no success."""
        value = _value(raw)
        return self._of(status, value, self.words(value) if isinstance(value, dict) else _nothing(raw), headers)

    def in_reply(self, value: dict[str, Any], raw: bytes | str) -> ProviderError:
        """Return the error for one that came with a success status; gateways put the real status into it."""
        error = value.get("error")
        status = error.get("code") if isinstance(error, dict) else None
        if isinstance(status, int) and 400 <= status < 600:
            found = self._of(status, value, self.words(value), {})
        else:
            message = f"{self.where} answered with an error: {self.words(value)}."
            found = ProviderError(message, code="provider_quota" if _is_used_up(value) else "provider_refused")
        found.raw = self.excerpt(raw)
        return found

    def _of(self, status: int, value: Any, detail: str, headers: Mapping[str, str]) -> ProviderError:
        if status == 402 or (status < 500 and _is_used_up(value)):
            return ProviderError(
                f"{self.where} refuses, for the account's quota or credit is used up ({status}): {detail}.",
                code="provider_quota",
                hint="Check plan, credit and spending limit at the provider.",
                quota=quota(headers),
            )
        if status == 429 or status in _TRY_AGAIN or status >= 500:
            return self._for_now(status, detail, headers)
        return self._for_good(status, detail)

    def _for_now(self, status: int, detail: str, headers: Mapping[str, str]) -> ProviderError:
        if status == 429:
            code = "provider_429"
            does = "refuses for now"
        elif status >= 500:
            code = "provider_5xx"
            does = "failed"
        else:
            code = "provider_try_again"
            does = "asks to try again"
        return ProviderError(
            f"{self.where} {does} ({status}): {detail}.",
            code=code,
            hint="Lower the concurrency, or ask for a higher rate limit." if status == 429 else "",
            retryable=status not in _FOR_GOOD,
            retry_after_s=retry_after(headers),
            quota=quota(headers),
        )

    def _for_good(self, status: int, detail: str) -> ProviderError:
        if status == 404:
            return UnknownModel(
                f"{self.where} does not know this (404): {detail}.", hint="Check the model's name and the address."
            )
        if status in (401, 403):
            return ProviderError(
                f"{self.where} refuses the credential ({status}): {detail}.",
                code="provider_auth",
                hint="Check the API key.",
            )
        hint = ""
        if 300 <= status < 400:
            hint = "Redirects are not followed, since they would take the key along: give the final address."
        elif "max_completion_tokens" in detail:
            hint = "Give the provider the option max_tokens_field='max_completion_tokens'."
        return ProviderError(
            f"{self.where} refuses the request ({status}): {detail}.", code="provider_refused", hint=hint
        )

    def broken(self, what: str, raw: bytes | str = b"") -> ProviderError:
        """Return the error for a reply that did not arrive whole or cannot be read; it may have been paid for."""
        return ProviderError(f"{self.where}: {what}.", code="broken_reply", retryable=True, raw=self.excerpt(raw))

    def too_long(self, limit: int, raw: bytes | str) -> ProviderError:
        """Return the error for a reply above the limit; what was read of it is kept."""
        return ProviderError(
            f"The reply of {self.name} is longer than {limit:,} bytes.",
            code="reply_too_long",
            hint="Set max_tokens.",
            raw=self.excerpt(raw),
        )

    def unreachable(self, error: Exception) -> ProviderError:
        """Return the error for an endpoint that takes no connection."""
        return ProviderError(
            f"{self.where} takes no connection ({error.__class__.__name__}).",
            code="provider_unreachable",
            retryable=True,
            sent=False,
            hint="Is it running, and is the address right?",
        )

    def bad_address(self) -> ProviderError:
        """Return the error for an address that is none."""
        return ProviderError(
            f"The address of {self.where} is no web address.",
            code="provider_address",
            sent=False,
            hint="Write it as http://HOST:PORT/….",
        )

    def excerpt(self, raw: bytes | str) -> str | None:
        """Return what was received as text, at most 1,000,000 characters of it, or None when nothing was."""
        text = raw[:MAX_RAW].decode("utf-8", "replace") if isinstance(raw, bytes) else raw[:MAX_RAW]
        return self._without_secrets(text) or None

    def words(self, value: dict[str, Any]) -> str:
        """Return the provider's own words, without secrets and at most 300 characters."""
        # Cut afterwards, or half of a secret might be left at the end.
        return self._without_secrets(error_text(value))[:300].rstrip(".")

    def _without_secrets(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "[secret]")
        return text


def error_text(value: dict[str, Any]) -> str:
    """Return the provider's own words, printable and on one line: they go to logs and terminals."""
    error = value.get("error")
    text = error.get("message") if isinstance(error, dict) else error
    printable = "".join(sign if sign.isprintable() else " " for sign in str(text or "no explanation")[:2000])
    return " ".join(printable.split())


def _value(raw: bytes) -> Any:
    try:
        value = decode(raw)
    except (ValueError, RecursionError):
        return None
    # Google's OpenAI endpoint puts the error into a list.
    return value[0] if isinstance(value, list) and value else value


def _nothing(raw: bytes) -> str:
    return "an answer that is not JSON" if raw and _value(raw) is None else "no explanation"


def _is_used_up(value: Any) -> bool:
    error = value.get("error") if isinstance(value, dict) else None
    return isinstance(error, dict) and any(
        isinstance(word := error.get(key), str) and word in _USED_UP for key in ("code", "type")
    )
