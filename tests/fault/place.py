"""A workspace whose runs call a referee."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from promptcard_ext.core.contract.credentials import NewCredential, NewNetworkRule
from promptcard_ext.core.contract.prices import PriceOverrideSpec
from server_ext.services import credentials, network_rules, price_overrides
from tests.fault.referee import Referee
from tests.support import Tenant

MODEL = "openai:refereed"


def lead_to(tenant: Tenant, referee: Referee) -> None:
    """Let a workspace call a referee, and give its model a price."""
    price = PriceOverrideSpec(
        f"openai@{referee.host}:{referee.port}", "refereed", Decimal(2), Decimal(8), date(2020, 1, 1), "test"
    )
    with tenant.scope() as scope:
        network_rules.create(scope, NewNetworkRule(referee.host, referee.port), "*")
        credentials.create(scope, NewCredential("openai", base_url=referee.url, key="sk-referee"))
        price_overrides.create(scope, price)
