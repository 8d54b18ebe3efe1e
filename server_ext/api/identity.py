"""Who asks: what a request shows of a credential of ours, before Jupyter's own identity is looked at."""

from __future__ import annotations

from typing import Literal, NamedTuple

from tornado.httputil import HTTPHeaders

from server_ext.auth import tokens

HEADER = "X-PromptCards-Token"
API_TOKEN = "pct_"  # noqa: S105  what such tokens begin with


class Credential(NamedTuple):
    """A credential of ours. Its repr does not show it.

    Attributes:
        kind: An access token that we signed, or an API token.
    """

    kind: Literal["access", "api"]
    text: str

    def __repr__(self) -> str:
        return f"<Credential {self.kind}>"


def own_credential(headers: HTTPHeaders) -> Credential | None:
    """Return the credential of ours that a request shows, good or bad; None when it shows none.

    It is in ``X-PromptCards-Token``, or is a bearer token that says of itself that it is ours. Never in the URL.
    """
    if HEADER in headers:
        return _kind(headers[HEADER].strip())
    scheme, _, text = headers.get("Authorization", "").strip().partition(" ")
    text = text.strip()
    if scheme.lower() == "bearer" and (text.startswith(API_TOKEN) or tokens.looks_like_ours(text)):
        return _kind(text)
    return None


def _kind(text: str) -> Credential:
    return Credential("api" if text.startswith(API_TOKEN) else "access", text)
