"""Provider keys of a workspace, and the private hosts that they may be sent to."""

from __future__ import annotations

from promptcard_ext.core.contract.credentials import (
    Credential,
    CredentialPatch,
    CredentialQuery,
    CredentialTest,
    NetworkRule,
    NewCredential,
    NewNetworkRule,
)
from promptcard_ext.core.contract.page import Page
from server_ext.api.operation import Call, Operations
from server_ext.services import connections, credentials, network_rules

operations = Operations("credentials")
CREDENTIALS = "workspaces/{workspace}/credentials"
CREDENTIAL = CREDENTIALS + "/{credential}"
RULES = "workspaces/{workspace}/network-rules"
RULE = RULES + "/{rule}"


@operations.get(CREDENTIALS, action="settings:read", query=CredentialQuery, answer=Page[Credential])
def list_credentials(call: Call) -> Page[Credential]:
    """List credentials, by provider and name; never with their keys."""
    return credentials.list_credentials(call.scope, call.query)


@operations.post(
    CREDENTIALS, action="settings:update", body=NewCredential, answer=Credential, status=201, idempotent=True, etag=True
)
def create_credential(call: Call) -> Credential:
    """Save a provider's key.

    It is sealed, bound to scheme, host and port of its address, and never shown again.
    """
    return credentials.create(call.scope, call.body)


@operations.get(CREDENTIAL, action="settings:read", answer=Credential, etag=True)
def get_credential(call: Call) -> Credential:
    """Return a credential without its key."""
    return credentials.get(call.scope, call.path["credential"])


@operations.patch(
    CREDENTIAL, action="settings:update", body=CredentialPatch, answer=Credential, conditional=True, etag=True
)
def update_credential(call: Call) -> Credential:
    """Change a credential.

    Another scheme, host or port without a new key takes the stored key away.
    """
    return credentials.update(call.scope, call.path["credential"], call.body, call.match)


@operations.delete(CREDENTIAL, action="settings:update", conditional=True)
def delete_credential(call: Call) -> None:
    """Delete a credential with its key."""
    credentials.delete(call.scope, call.path["credential"], call.match)


@operations.post(CREDENTIAL + "/test", action="settings:update", answer=CredentialTest, limit="key_test")
def test_credential(call: Call) -> CredentialTest:
    """Ask the provider for its models, at the saved address and with the saved key.

    What the provider refuses is part of the answer, which is 200 all the same.
    """
    return connections.check(call.scope, call.path["credential"])


@operations.get(RULES, action="settings:read", query=CredentialQuery, answer=Page[NetworkRule])
def list_network_rules(call: Call) -> Page[NetworkRule]:
    """List the private hosts that credentials may call, by host and port."""
    return network_rules.list_rules(call.scope, call.query)


@operations.post(RULES, action="settings:update", body=NewNetworkRule, answer=NetworkRule, status=201, idempotent=True)
def create_network_rule(call: Call) -> NetworkRule:
    """Allow a private host at one port; one that is allowed already is answered as it is."""
    return network_rules.create(call.scope, call.body, call.server.settings.private_hosts)


@operations.get(RULE, action="settings:read", answer=NetworkRule)
def get_network_rule(call: Call) -> NetworkRule:
    """Return a rule."""
    return network_rules.get(call.scope, call.path["rule"])


@operations.delete(RULE, action="settings:update")
def delete_network_rule(call: Call) -> None:
    """Take a rule back; credentials that need it stay, and are refused when they are used."""
    network_rules.delete(call.scope, call.path["rule"])
