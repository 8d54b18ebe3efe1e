"""The run's money, as the engine handles it: reserved before a call, settled after it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal

from promptcard_ext.core.budget import upper_cost
from promptcard_ext.core.card import Message, ModelSettings
from promptcard_ext.core.errors import ProviderError
from promptcard_ext.core.ports import Budget, Request
from promptcard_ext.core.pricing import Price


class Purse:
    """A budget and the calls that hold a part of it.

    A reservation is an upper estimate, so a budget can look empty while much of it is about to come back: a call waits
    for those in flight before it is refused.
    """

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._held = 0
        self._settled = asyncio.Event()

    def for_request(self, price: Price | None, request: Request) -> Decimal:
        """Return what to reserve for a call."""
        return self.for_prompt(price, request.model, request.messages, request.settings)

    def for_prompt(
        self, price: Price | None, model: str, messages: Sequence[Message], settings: ModelSettings
    ) -> Decimal:
        """Return what to reserve for a prompt.

        Raises:
            ProviderError: There is no price, so nothing can be promised (``budget_unpriced``).
        """
        if price is None:
            raise ProviderError(
                f"The price of {model} is not known, so a budget cannot hold.",
                code="budget_unpriced",
                sent=False,
                hint="Give the model a price, or run without a budget.",
            )
        return upper_cost(price, messages, settings)

    async def reserve(self, usd: Decimal) -> None:
        """Set ``usd`` aside.

        Raises:
            ProviderError: Not that much is left, and nothing is about to come back (``budget_exhausted``).
        """
        while not await self._budget.reserve(usd):
            if self._held == 0:
                raise ProviderError(
                    f"The run's budget has less than ${usd:f} left, which this call may cost.",
                    code="budget_exhausted",
                    sent=False,
                    hint="Give the run a larger budget and resume it.",
                )
            self._settled.clear()
            await self._settled.wait()
        self._held += 1

    async def settle(self, reserved_usd: Decimal, spent_usd: Decimal) -> None:
        """Replace a reservation by what was spent."""
        self._held -= 1
        await self._budget.settle(reserved_usd, spent_usd)
        self._settled.set()
