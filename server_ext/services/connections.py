"""What a worker may connect to for a workspace."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from promptcard_ext.core.contract.credentials import CredentialTest
from promptcard_ext.core.errors import ProviderError, SetupError, UnknownModel
from promptcard_ext.core.per_minute import UNLIMITED, PerMinute
from promptcard_ext.providers.outbound import Guard
from promptcard_ext.providers.place import place_of
from promptcard_ext.providers.registry import Options, open_provider, takes_credentials
from server_ext.auth.sealing import Sealed, binding, unseal
from server_ext.db.engine import Database
from server_ext.db.tables import provider_credentials as table
from server_ext.keys import KeyRing
from server_ext.services import audit, network_rules
from server_ext.services.local_owner import is_local_owner
from server_ext.services.scope import Scope, as_uuid, missing

DEFAULT = "default"
MAX_MODELS = 1000
TEST_TIMEOUT_S = 15.0
# A run uses a credential thousands of times; to the hour is exact enough for whoever asks whether it is still in use.
USE_IS_EXACT_TO = timedelta(hours=1)


@dataclass(frozen=True)
class Connection:
    """One credential, opened.

    Attributes:
        options: What the provider's constructor takes, the key among it.
        problem: Why there are none.
        per_minute: How often it may be called.
    """

    id: UUID
    provider: str
    name: str
    enabled: bool
    options: Options = field(default_factory=dict, repr=False)
    problem: SetupError | None = None
    per_minute: PerMinute = UNLIMITED


class Connections:
    """The connections of one workspace; give `options` to `promptcard_ext.providers.Providers`.

    Args:
        environment: Whether a provider without any credential is called with what the environment says.

    Attributes:
        used: Ids of the credentials that were asked for.
    """

    def __init__(self, known: list[Connection], *, environment: bool) -> None:
        self._known, self._environment = known, environment
        self._by_id = {one.id: one for one in known}
        self.used: set[UUID] = set()

    def leads_as(self, other: Connections) -> bool:
        """Tell whether both lead to the same places with the same keys, and keep to the same rules."""
        return (self._environment, self._by_id) == (other._environment, other._by_id)

    def options(self, wanted: str) -> Options:
        """Return what the constructor of a provider takes.

        Args:
            wanted: ``openai``, or ``openai/eu`` for the credential of that name.

        Raises:
            UnknownModel: There is no credential for it (``credential_missing``).
            ProviderError: Its key cannot be opened (``credential_unreadable``).
        """
        provider, slash, _ = wanted.partition("/")
        known = self._of(provider)
        if not slash and not known and (self._environment or not takes_credentials(provider)):
            return {}
        chosen = self._chosen(wanted)
        if chosen is None:
            raise _missing(wanted, known)
        if (problem := chosen.problem) is not None:
            # To a run it is one of the ways in which a call fails.
            raise ProviderError(problem.message, hint=problem.hint, code=problem.code, sent=False)
        self.used.add(chosen.id)
        return chosen.options

    def per_minute(self, wanted: str) -> PerMinute | None:
        """Return how often a connection may be called; None for one that is not the workspace's own."""
        chosen = self._chosen(wanted)
        return None if chosen is None else chosen.per_minute

    def _of(self, provider: str) -> list[Connection]:
        return [one for one in self._known if one.provider == provider]

    def _chosen(self, wanted: str) -> Connection | None:
        provider, _, name = wanted.partition("/")
        return _chosen([one for one in self._of(provider) if one.enabled], name)


def load(scope: Scope, *, shared_keys: bool) -> Connections:
    """Return the connections of a workspace, for the user of the scope.

    Args:
        shared_keys: Whether the environment's keys are for everybody. Otherwise they are for the local owner only: the
            account of whoever works on this machine, and so the one whose environment it is.
    """
    rows = scope.connection.execute(sa.select(table).where(table.c.workspace_id == scope.workspace_id)).all()
    guard = Guard(network_rules.allowed(scope))
    # All at once: a key that is opened an hour later may have been sealed anew by then, and the old one dropped.
    known = [_opened(scope.keys, row, guard) for row in rows]
    return Connections(known, environment=shared_keys or is_local_owner(scope))


def mark_used(database: Database, workspace_id: UUID, used: set[UUID]) -> None:
    """Note that credentials were used, at most once an hour."""
    if not used:
        return
    now = sa.func.clock_timestamp()
    lately = sa.func.coalesce(table.c.last_used_at > now - USE_IS_EXACT_TO, sa.false())
    statement = sa.update(table).where(table.c.workspace_id == workspace_id, table.c.id.in_(used), sa.not_(lately))
    with database.transaction(workspace_id) as connection:
        connection.execute(statement.values(last_used_at=now))


def check(scope: Scope, reference: str) -> CredentialTest:
    """Ask a provider for its models, at the saved address and with the saved key: there is no other way to test.

    Raises:
        NotFound: There is no such credential.
        SetupError: Its key cannot be opened (``credential_unreadable``).
    """
    scope.require("settings:update")
    query = sa.select(table).where(table.c.workspace_id == scope.workspace_id, table.c.id == as_uuid(reference))
    row = scope.connection.execute(query).one_or_none()
    if row is None:
        raise missing("credential", reference)
    options = options_of(scope.keys, row, Guard(network_rules.allowed(scope)))
    found = asyncio.run(_tested(row.provider, options))
    audit.record(scope, "credential.tested", "credential", row.id, ok=found.ok, code=found.code)
    return found


def options_of(keys: KeyRing, row: Any, guard: Guard) -> Options:
    """Return what a provider's constructor takes for a row, the key among it.

    Raises:
        SetupError: The key cannot be opened (``credential_unreadable``).
    """
    key = ""
    if row.sealed is not None:
        bound_to = binding(row.workspace_id, row.id, row.revision, place_of(row.base_url).origin)
        key = unseal(keys, Sealed(row.key_id, row.sealed), bound_to)
    # An empty key is a key too: without one the provider would take that of the environment.
    return {"base_url": row.base_url, "api_key": key, "guard": guard}


def _opened(keys: KeyRing, row: Any, guard: Guard) -> Connection:
    per_minute = PerMinute(row.requests_per_minute, row.tokens_per_minute)
    try:
        options = options_of(keys, row, guard) if row.enabled else {}
    except SetupError as problem:
        return Connection(row.id, row.provider, row.name, row.enabled, problem=problem)
    return Connection(row.id, row.provider, row.name, row.enabled, options, per_minute=per_minute)


async def _tested(name: str, options: Options) -> CredentialTest:
    provider = open_provider(name, options)
    try:
        async with asyncio.timeout(TEST_TIMEOUT_S):
            models = await provider.list_models()
    except ProviderError as error:
        return CredentialTest(False, code=error.code, message=error.message, hint=error.hint)
    except TimeoutError:
        return CredentialTest(False, code="timeout", message=f"{name} did not answer within {TEST_TIMEOUT_S:g} s.")
    except Exception as error:  # noqa: BLE001  A provider may come from anybody; its words may hold the key.
        return CredentialTest(False, code="provider_crashed", message=f"{name} broke: {type(error).__name__}.")
    finally:
        await provider.close()
    return CredentialTest(True, models[:MAX_MODELS])


def _chosen(enabled: list[Connection], name: str) -> Connection | None:
    named = [one for one in enabled if one.name == (name or DEFAULT)]
    if named:
        return named[0]
    return enabled[0] if not name and len(enabled) == 1 else None


def _missing(wanted: str, known: list[Connection]) -> UnknownModel:
    provider, slash, _ = wanted.partition("/")
    on = ", ".join(f"{provider}/{one.name}" for one in known if one.enabled)
    if not slash and on:
        message, hint = f"There are several credentials of '{provider}', and none is the default.", f"Name one: {on}."
    else:
        message = f"This workspace has no credential '{wanted:.100}' that is switched on."
        hint = f"There are: {on}." if on else "An owner can save one; keys of the environment are the operator's own."
    return UnknownModel(message, hint=hint, code="credential_missing", sent=False)
