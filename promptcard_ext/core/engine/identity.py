"""What a call asked, as a hash: the same question has the same one in every run."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec

from promptcard_ext.core.card import ModelSettings
from promptcard_ext.core.identity import canonical_json, digest
from promptcard_ext.core.ports import Provider, Request


def request_hash(provider: Provider, request: Request) -> str:
    """Return the identity of a call: endpoint, model, messages and settings."""
    messages = [(message.role, message.content) for message in request.messages]
    try:
        text = msgspec.json.encode(messages)
    except UnicodeEncodeError:
        # A lone surrogate has no UTF-8, and must have an identity too.
        text = canonical_json(messages).encode("utf-8", "surrogatepass")
    return hashlib.sha256(_head(provider, request) + text).hexdigest()


_heads: dict[tuple[str, str, str, int], tuple[ModelSettings, bytes]] = {}


def _head(provider: Provider, request: Request) -> bytes:
    settings = request.settings
    # By object: thousands of requests share the settings of one card.
    key = (provider.name, provider.endpoint, request.model, id(settings))
    found = _heads.get(key)
    if found is not None and found[0] is settings:
        return found[1]
    sent = {
        name: value for name in settings.__struct_fields__ if (value := getattr(settings, name)) not in (None, (), {})
    }
    text = canonical_json([provider.name, provider.endpoint, request.model, msgspec.to_builtins(sent)])
    if len(_heads) > 1000:
        _heads.clear()
    _heads[key] = (settings, text.encode("utf-8", "surrogatepass"))
    return _heads[key][1]


def embedding_hash(provider: Provider, model: str, texts: Sequence[str]) -> str:
    """Return the identity of a call for embeddings."""
    return digest([provider.name, provider.endpoint, model, "embeddings", list(texts)])


def stored_under(request: str, repeat: int) -> str:
    """Return the key of an answer in a store: repeats of one question are answers of their own."""
    return f"{request}:{repeat}"


def limit_key(provider: Any) -> str:
    """Return what shares a rate limit: the endpoint, with a hash of the credential where the provider tells one."""
    return str(getattr(provider, "limit_key", provider.endpoint))
