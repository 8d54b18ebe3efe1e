"""Private hosts that a workspace's credentials may call.

Whoever makes a workspace is its owner, so what owners may allow is bounded by the operator; or everybody who may log in
could reach the inner network from where the workers run.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from promptcard_ext.core.contract.credentials import CredentialQuery, NetworkRule, NewNetworkRule
from promptcard_ext.core.contract.page import Page
from promptcard_ext.core.errors import CardError, ProviderError, SetupError
from promptcard_ext.providers.address_ranges import Reach, reach_of
from promptcard_ext.providers.outbound import HostPort
from promptcard_ext.providers.place import host_of, is_address, port_of
from server_ext.db.tables import network_rules as table
from server_ext.services import audit, changes, paging
from server_ext.services.local_owner import is_local_owner
from server_ext.services.scope import Scope, as_uuid, missing

_FIRST_PAGE = CredentialQuery()


def list_rules(scope: Scope, query: CredentialQuery = _FIRST_PAGE) -> Page[NetworkRule]:
    """Return the workspace's rules, by host and port.

    Raises:
        CardError: The cursor is none of this list (``cursor_invalid``).
    """
    scope.require("settings:read")
    statement = sa.select(table).where(table.c.workspace_id == scope.workspace_id)
    if query.cursor is not None:
        after = paging.decode_cursor(query.cursor, str, int)
        statement = statement.where(sa.tuple_(table.c.host, table.c.port) > sa.tuple_(*after))
    rows = scope.connection.execute(statement.order_by(table.c.host, table.c.port).limit(query.limit + 1)).all()
    return paging.page(rows, query.limit, lambda row: (row.host, row.port), _built)


def create(scope: Scope, wanted: NewNetworkRule, offered: str = "") -> NetworkRule:
    """Allow a host and port; one that is allowed already stays as it is.

    Args:
        offered: What the operator lets owners allow: ``HOST:PORT``, separated by commas, or ``*``. The local owner and
            the command line may allow everything, for that is the operator.

    Raises:
        ProviderError: The host is neither a name nor an address in its usual form (``address_refused``).
        CardError: It is an address that no rule can allow (``rule_useless``), or the operator does not offer it
            (``rule_not_offered``).
    """
    scope.require("settings:update")
    host = host_of(wanted.host)
    if not (_is_operator(scope) or is_offered(offered, (host, wanted.port))):
        raise CardError(
            f"The operator of this server does not let workspaces call '{host}', port {wanted.port}.",
            hint="Ask for it to be put into PROMPTCARDS_PRIVATE_HOSTS.",
            code="rule_not_offered",
        )
    if is_address(host) and reach_of(host) is Reach.FORBIDDEN:
        raise CardError(
            f"No rule can allow '{host}'.",
            hint="Link-local addresses, metadata services, tunnels and reserved blocks are never called.",
            code="rule_useless",
        )
    values = {
        "workspace_id": scope.workspace_id,
        "host": host,
        "port": wanted.port,
        "note": wanted.note,
        "created_by": None if scope.actor.via == "operator" else scope.actor.user_id,
    }
    made = scope.connection.execute(
        insert(table).values(values).on_conflict_do_nothing().returning(table)
    ).one_or_none()
    if made is not None:
        audit.record(scope, "network_rule.created", "network_rule", made.id, host=host, port=wanted.port)
        changes.announce(scope, "credential", made.id)
        return _built(made)
    known = sa.select(table).where(
        table.c.workspace_id == scope.workspace_id, table.c.host == host, table.c.port == wanted.port
    )
    return _built(scope.connection.execute(known).one())


def is_offered(offered: str, wanted: HostPort) -> bool:
    """Tell whether a list of the operator's has a host and port.

    Raises:
        SetupError: An entry is not ``HOST:PORT`` (``private_hosts_invalid``).

    Example:
        >>> is_offered("ollama.lan:11434, [fd00::5]:8000", ("fd00::5", 8000))
        True
    """
    entries = [entry.strip() for entry in offered.split(",") if entry.strip()]
    return "*" in entries or wanted in [_host_port(entry) for entry in entries if entry != "*"]


def _host_port(entry: str) -> HostPort:
    host, _, port = entry.rpartition(":")
    try:
        return host_of(host), port_of(port)
    except (ProviderError, ValueError):
        raise SetupError(
            f"PROMPTCARDS_PRIVATE_HOSTS: {entry!r:.100} is not HOST:PORT.",
            hint="Write ollama.lan:11434 or [fd00::5]:11434, separated by commas.",
            code="private_hosts_invalid",
        ) from None


def _is_operator(scope: Scope) -> bool:
    return scope.actor.via == "operator" or is_local_owner(scope)


def get(scope: Scope, reference: str) -> NetworkRule:
    """Return a rule by its id.

    Raises:
        NotFound: There is none.
    """
    scope.require("settings:read")
    return _find(scope, reference)


def delete(scope: Scope, reference: str) -> None:
    """Take a rule back. Credentials that need it stay, and are refused when they are used.

    Raises:
        NotFound: There is none.
    """
    scope.require("settings:update")
    rule = _find(scope, reference)
    scope.connection.execute(sa.delete(table).where(table.c.workspace_id == scope.workspace_id, table.c.id == rule.id))
    audit.record(scope, "network_rule.deleted", "network_rule", rule.id, host=rule.host, port=rule.port)
    changes.announce(scope, "credential", rule.id)


def allowed(scope: Scope) -> frozenset[HostPort]:
    """Return hosts and ports of all rules, for `providers.outbound.Guard`."""
    statement = sa.select(table.c.host, table.c.port).where(table.c.workspace_id == scope.workspace_id)
    return frozenset((row.host, row.port) for row in scope.connection.execute(statement))


def _find(scope: Scope, reference: str) -> NetworkRule:
    statement = sa.select(table).where(table.c.workspace_id == scope.workspace_id, table.c.id == as_uuid(reference))
    row = scope.connection.execute(statement).one_or_none()
    if row is None:
        raise missing("network rule", reference)
    return _built(row)


def _built(row: Any) -> NetworkRule:
    return NetworkRule(**{name: getattr(row, name) for name in NetworkRule.__struct_fields__})
