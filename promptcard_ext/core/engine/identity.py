"""What a call asked, as a hash: the same question has the same one in every run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from promptcard_ext.core.identity import digest
from promptcard_ext.core.ports import Provider, Request


def request_hash(provider: Provider, request: Request) -> str:
    """Return the identity of a call: endpoint, model, messages and settings."""
    settings = request.settings
    sent = {
        name: value for name in settings.__struct_fields__ if (value := getattr(settings, name)) not in (None, (), {})
    }
    return digest(
        [provider.name, provider.endpoint, request.model, [[m.role, m.content] for m in request.messages], sent]
    )


def embedding_hash(provider: Provider, model: str, texts: Sequence[str]) -> str:
    """Return the identity of a call for embeddings."""
    return digest([provider.name, provider.endpoint, model, "embeddings", list(texts)])


def stored_under(request: str, repeat: int) -> str:
    """Return the key of an answer in a store: repeats of one question are answers of their own."""
    return f"{request}:{repeat}"


def limit_key(provider: Any) -> str:
    """Return what shares a rate limit: the endpoint, with a hash of the credential where the provider tells one."""
    return str(getattr(provider, "limit_key", provider.endpoint))
