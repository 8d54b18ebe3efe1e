"""Keys of model providers: saved, changed and shown without ever showing the key."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from msgspec import UNSET, UnsetType
from sqlalchemy.exc import IntegrityError

from promptcard_ext.core.contract.credentials import Credential, CredentialPatch, CredentialQuery, NewCredential
from promptcard_ext.core.contract.page import Page
from promptcard_ext.core.errors import CardError
from promptcard_ext.providers.outbound import Guard
from promptcard_ext.providers.place import Place, place_of
from promptcard_ext.providers.registry import public_url, takes_credentials
from server_ext.auth.sealing import binding, seal
from server_ext.db.tables import provider_credentials as table
from server_ext.services import audit, changes, network_rules, paging
from server_ext.services.precondition import Match
from server_ext.services.scope import Scope, as_uuid, missing

# The end of a shorter key would be too much of it.
SHOWS_ITS_END = 12
_FIRST_PAGE = CredentialQuery()
_LIMITS = ("requests_per_minute", "tokens_per_minute")


def list_credentials(scope: Scope, query: CredentialQuery = _FIRST_PAGE) -> Page[Credential]:
    """Return the workspace's credentials, by provider and name.

    Raises:
        CardError: The cursor is none of this list (``cursor_invalid``).
    """
    scope.require("settings:read")
    statement = sa.select(*_SHOWN).where(table.c.workspace_id == scope.workspace_id)
    if query.cursor is not None:
        after = paging.decode_cursor(query.cursor, str, str)
        statement = statement.where(sa.tuple_(table.c.provider, table.c.name) > sa.tuple_(*after))
    rows = scope.connection.execute(statement.order_by(table.c.provider, table.c.name).limit(query.limit + 1)).all()
    return paging.page(rows, query.limit, lambda row: (row.provider, row.name), _built)


def get(scope: Scope, reference: str) -> Credential:
    """Return a credential.

    Args:
        reference: Its id.

    Raises:
        NotFound: There is none.
    """
    scope.require("settings:read")
    return _built(_row(scope, reference))


def create(scope: Scope, wanted: NewCredential) -> Credential:
    """Save a credential.

    Raises:
        CardError: Name or key cannot be used (``credential_invalid``), or the name is taken (``credential_exists``).
        UnknownModel: There is no such provider.
        ProviderError: The address must not be called (``address_refused``).
    """
    scope.require("settings:update")
    place = _place(scope, _address(wanted))
    key = None if wanted.key is None else _checked_key(wanted.key)
    credential_id = uuid4()
    values = {
        "workspace_id": scope.workspace_id,
        "id": credential_id,
        "provider": wanted.provider,
        "name": _checked_name(wanted.name),
        "base_url": place.url,
        "enabled": wanted.enabled,
        "requests_per_minute": wanted.requests_per_minute,
        "tokens_per_minute": wanted.tokens_per_minute,
        "created_by": None if scope.actor.via == "operator" else scope.actor.user_id,
        **_sealed(scope, credential_id, 1, place, key),
    }
    _write(scope, sa.insert(table).values(values), wanted.provider, wanted.name)
    detail = {"provider": wanted.provider, "name": wanted.name, "origin": place.origin, "has_key": key is not None}
    audit.record(scope, "credential.created", "credential", credential_id, **detail)
    changes.announce(scope, "credential", credential_id)
    return _built(_row(scope, str(credential_id)))


def update(scope: Scope, reference: str, patch: CredentialPatch, match: Match) -> Credential:
    """Change a credential. A stored key does not go to another scheme, host or port: it is dropped on the way.

    Raises:
        NotFound: There is none.
        CardError, Conflict: As ``match`` says; and as `create` does.
        ProviderError: The address must not be called (``address_refused``).
    """
    scope.require("settings:update")
    row = _row(scope, reference, lock=True)
    match(_built(row))
    place = place_of(row.base_url) if patch.base_url is UNSET else _place(scope, patch.base_url)
    name = row.name if patch.name is UNSET else _checked_name(patch.name)
    values: dict[str, Any] = {
        "name": name,
        "base_url": place.url,
        "enabled": row.enabled if patch.enabled is UNSET else patch.enabled,
        "updated_at": sa.func.clock_timestamp(),
    }
    limits = {one: getattr(patch, one) for one in _LIMITS if getattr(patch, one) is not UNSET}
    values |= limits
    fate = _fate_of_key(row, patch.key, place)
    if fate != "kept":
        key = _checked_key(patch.key) if isinstance(patch.key, str) else None
        values |= {"revision": row.revision + 1, **_sealed(scope, row.id, row.revision + 1, place, key)}
    _write(scope, sa.update(table).where(*_one(scope, row.id)).values(values), row.provider, name)
    detail = {"name": name, "enabled": values["enabled"], "origin": place.origin, "key": fate, **limits}
    if place.origin != (before := place_of(row.base_url).origin):
        detail["origin_before"] = before
    audit.record(scope, "credential.updated", "credential", row.id, **detail)
    changes.announce(scope, "credential", row.id)
    return _built(_row(scope, reference))


def delete(scope: Scope, reference: str, match: Match) -> None:
    """Delete a credential with its key. Runs that need it end with ``credential_missing``.

    Raises:
        NotFound: There is none.
        CardError, Conflict: As ``match`` says.
    """
    scope.require("settings:update")
    row = _row(scope, reference, lock=True)
    match(_built(row))
    scope.connection.execute(sa.delete(table).where(*_one(scope, row.id)))
    audit.record(scope, "credential.deleted", "credential", row.id, provider=row.provider, name=row.name)
    changes.announce(scope, "credential", row.id)


_SHOWN = [column for column in table.c if column.name not in ("sealed", "key_id")] + [
    table.c.sealed.is_not(None).label("has_key")
]


def _row(scope: Scope, reference: str, *, lock: bool = False) -> Any:
    credential_id = as_uuid(reference)
    if credential_id is None:
        raise missing("credential", reference)
    statement = sa.select(*_SHOWN).where(*_one(scope, credential_id))
    row = scope.connection.execute(statement.with_for_update() if lock else statement).one_or_none()
    if row is None:
        raise missing("credential", reference)
    return row


def _one(scope: Scope, credential_id: UUID) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return table.c.workspace_id == scope.workspace_id, table.c.id == credential_id


def _built(row: Any) -> Credential:
    return Credential(**{name: getattr(row, name) for name in Credential.__struct_fields__})


def _address(wanted: NewCredential) -> str:
    if not takes_credentials(wanted.provider):
        raise CardError(
            f"The provider '{wanted.provider}' takes no credentials.",
            hint="Its package must take base_url, api_key and guard; 'simulated' needs none.",
            code="credential_invalid",
        )
    address = wanted.base_url or public_url(wanted.provider)
    if address is None:
        raise CardError(
            f"A credential of '{wanted.provider}' needs an address.",
            hint="Give 'base_url', such as http://ollama.lan:11434.",
            code="credential_invalid",
        )
    return address


def _place(scope: Scope, url: str) -> Place:
    return Guard(network_rules.allowed(scope)).check(url)


def _checked_name(name: str) -> str:
    # In Python the end of a pattern also fits before a line break.
    if not name.isprintable():
        raise CardError("The name of a credential holds a line break.", code="credential_invalid")
    return name


def _checked_key(key: str) -> str:
    # A key that was read from a file tends to end with a line break, which no header may have.
    key = key.strip()
    if not key or not (key.isascii() and key.isprintable()):
        raise CardError(
            "The key is empty or holds a character that no key has.",
            hint="Copy it again, without quotation marks, spaces and line breaks.",
            code="credential_invalid",
        )
    return key


def _fate_of_key(row: Any, key: str | UnsetType | None, place: Place) -> str:
    if isinstance(key, str):
        return "replaced" if row.has_key else "set"
    moved = place.origin != place_of(row.base_url).origin
    return "dropped" if row.has_key and (key is None or moved) else "kept"


def _sealed(scope: Scope, credential_id: UUID, revision: int, place: Place, key: str | None) -> dict[str, Any]:
    if key is None:
        return {"key_id": None, "sealed": None, "last_four": None}
    sealed = seal(scope.keys, key, binding(scope.workspace_id, credential_id, revision, place.origin))
    return {
        "key_id": sealed.key_id,
        "sealed": sealed.data,
        "last_four": key[-4:] if len(key) >= SHOWS_ITS_END else None,
    }


def _write(scope: Scope, statement: sa.Insert | sa.Update, provider: str, name: str) -> None:
    try:
        with scope.connection.begin_nested():
            scope.connection.execute(statement)
    except IntegrityError:
        raise CardError(
            f"There is a credential '{provider}/{name}' already.",
            hint="Change that one, or choose another name.",
            code="credential_exists",
        ) from None
