"""Keys of model providers and private hosts, as the server takes and shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

Name = Annotated[str, Meta(pattern=r"^[a-z0-9]([a-z0-9._-]{0,48}[a-z0-9])?$", max_length=50)]
ProviderName = Annotated[str, Meta(min_length=1, max_length=100)]
Url = Annotated[str, Meta(min_length=1, max_length=2000)]
Key = Annotated[str, Meta(min_length=1, max_length=4000)]
Requests = Annotated[int, Meta(ge=1, le=1_000_000)]
TokenNumber = Annotated[int, Meta(ge=1, le=1_000_000_000)]


class CredentialQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which page of a list of credentials or network rules.

    Attributes:
        limit: Most entries of the page.
        cursor: ``next`` of the page before.
    """

    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    cursor: Annotated[str, Meta(max_length=2000)] | None = None


class Credential(Struct, frozen=True):
    """A connection to a model provider. Its key is never shown.

    Attributes:
        id: Its id.
        created_at, updated_at: When it was saved first, and changed last.
        provider: Name of the provider in model references, such as ``openai``.
        name: Name of the connection; ``openai/NAME:MODEL`` asks for it, and ``default`` is taken without a name.
        base_url: Where it calls; always in the same form.
        has_key: Whether a key is stored. A change of scheme, host or port without a key takes the old one away.
        last_four: The end of the key; null without a key, or with one shorter than twelve characters.
        revision: Goes up whenever the key changes or is taken away.
        enabled: Whether runs may use it.
        created_by: Who saved it first; null when that was the system.
        last_used_at: When a worker last used it, exact to an hour; null for never.
        requests_per_minute: Most calls that begin in a minute, of all workers together; null for no limit.
        tokens_per_minute: Most tokens of them, in and out; null for no limit.
    """

    id: UUID
    provider: str
    name: str
    base_url: str
    has_key: bool
    last_four: str | None
    revision: int
    enabled: bool
    created_by: UUID | None
    created_at: datetime
    updated_at: datetime
    last_used_at: datetime | None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


class NewCredential(Struct, frozen=True, forbid_unknown_fields=True):
    """What to save.

    Attributes:
        provider: Name of the provider in model references, such as ``openai``.
        name: Name of the connection; lower-case letters, digits, ``.``, ``_`` and ``-``.
        enabled: Whether runs may use it.
        base_url: Default: where everybody calls this provider, if there is such a place.
        key: Printable ASCII; blanks around it are taken off. None for a server that wants none.
        requests_per_minute: Most calls that begin in a minute; None for no limit.
        tokens_per_minute: Most tokens of them, in and out; None for no limit.
    """

    provider: ProviderName
    name: Name = "default"
    base_url: Url | None = None
    key: Key | None = None
    enabled: bool = True
    requests_per_minute: Requests | None = None
    tokens_per_minute: TokenNumber | None = None

    def __repr__(self) -> str:
        return f"NewCredential({self.provider!r}, {self.name!r})"


class CredentialPatch(Struct, frozen=True, forbid_unknown_fields=True):
    """What to change.

    Attributes:
        name: A new name.
        enabled: Whether runs may use it.
        base_url: A new scheme, host or port takes the stored key away unless ``key`` is given too.
        key: A new key; null takes the stored one away.
        requests_per_minute, tokens_per_minute: New limits; null takes one away.
    """

    name: Name | UnsetType = UNSET
    base_url: Url | UnsetType = UNSET
    key: Key | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET
    requests_per_minute: Requests | UnsetType | None = UNSET
    tokens_per_minute: TokenNumber | UnsetType | None = UNSET

    def __repr__(self) -> str:
        return "CredentialPatch(…)"


class CredentialTest(Struct, frozen=True):
    """What came of asking a provider for its models.

    Attributes:
        ok: Whether it answered with a list.
        models: At most 1,000 of them.
        code: Code of the error when it did not.
        message: What went wrong then.
        hint: What to do about it.
    """

    ok: bool
    models: list[str] = []
    code: str | None = None
    message: str = ""
    hint: str = ""


class NetworkRule(Struct, frozen=True):
    """A host and port that this workspace's credentials may call although it is private.

    Attributes:
        id: Its id.
        port: 1 to 65,535.
        created_at: When it was allowed.
        host: A name in lower case, or an IP address without brackets.
        note: What it is for.
        created_by: Who allowed it.
    """

    id: UUID
    host: str
    port: int
    note: str
    created_by: UUID | None
    created_at: datetime


class NewNetworkRule(Struct, frozen=True, forbid_unknown_fields=True):
    """What to allow.

    Attributes:
        host: A name, or an IP address in its usual form.
        port: 1 to 65,535.
        note: What it is for.
    """

    host: Annotated[str, Meta(min_length=1, max_length=253)]
    port: Annotated[int, Meta(ge=1, le=65535)]
    note: Annotated[str, Meta(max_length=500)] = ""
