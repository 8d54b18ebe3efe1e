"""Provider keys of a workspace, and the private hosts that they may be sent to."""

from __future__ import annotations

from collections.abc import Iterator

from promptcard_ext.client.noun import Noun, Ref, Tagged
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

_LONG = CredentialQuery(limit=200)


class ProviderKeys(Noun):
    """The credentials of a workspace for model providers, by id. Nothing here ever returns a key."""

    def list(self) -> Iterator[Credential]:
        """Yield them, by provider and name."""
        return self._pages(Page[Credential], "credentials", query=_LONG)

    def create(self, wanted: NewCredential) -> Tagged[Credential]:
        """Save one; its key is bound to scheme, host and port of its address."""
        return self._read_tagged(Credential, "POST", "credentials", body=wanted, once=True)

    def get(self, credential: Ref) -> Tagged[Credential]:
        """Return one."""
        return self._read_tagged(Credential, "GET", "credentials", credential)

    def update(self, credential: Ref, patch: CredentialPatch, *, etag: str) -> Tagged[Credential]:
        """Change one. Another scheme, host or port without a new key takes the stored key away."""
        return self._read_tagged(Credential, "PATCH", "credentials", credential, body=patch, etag=etag)

    def delete(self, credential: Ref, *, etag: str) -> None:
        """Delete one with its key."""
        self._ask("DELETE", "credentials", credential, etag=etag)

    def test(self, credential: Ref) -> CredentialTest:
        """Ask the provider for its models, at the saved address and with the saved key."""
        return self._read(CredentialTest, "POST", "credentials", credential, "test")


class NetworkRules(Noun):
    """The private hosts that a workspace's credentials may call, by id."""

    def list(self) -> Iterator[NetworkRule]:
        """Yield them, by host and port."""
        return self._pages(Page[NetworkRule], "network-rules", query=_LONG)

    def create(self, wanted: NewNetworkRule) -> NetworkRule:
        """Allow a private host at one port."""
        return self._read(NetworkRule, "POST", "network-rules", body=wanted, once=True)

    def get(self, rule: Ref) -> NetworkRule:
        """Return one."""
        return self._read(NetworkRule, "GET", "network-rules", rule)

    def delete(self, rule: Ref) -> None:
        """Take one back; credentials that need it are refused when they are used."""
        self._ask("DELETE", "network-rules", rule)
