"""Money that may be spent: set aside before a call, settled after it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

from promptcard_ext.core.card import Message, ModelSettings
from promptcard_ext.core.errors import RunError
from promptcard_ext.core.pricing import Price
from promptcard_ext.core.token_range import most_prompt_tokens

# Output tokens that 99 of 100 answers stay below when nothing limits them; an assumption, see `stats.estimate`.
UNLIMITED_OUTPUT = 4096


def upper_cost(price: Price, messages: Sequence[Message], settings: ModelSettings) -> Decimal:
    """Return what a call may cost in USD at the most.

    Input is bounded by the text. Output is bounded by ``max_tokens``; without it by an assumption (4,096 tokens), which
    an answer can exceed.
    """
    most = UNLIMITED_OUTPUT if settings.max_tokens is None else settings.max_tokens
    return price.most(most_prompt_tokens(messages, settings), most)


class SpendLimit:
    """A budget in this process; see `core.ports.Budget`. It may be shared by several runs and threads.

    What is spent and what is set aside never exceed the limit at the moment of setting aside. A call that then costs
    more than was set aside for it is recorded as it was: the limit is exceeded by that, and nothing more is granted.
    A call that costs nothing is always granted.

    Args:
        limit_usd: 0 or more.
        spent_usd: What was spent before, of the same limit.

    Raises:
        RunError: A number is negative or none (``budget_invalid``).

    Example:
        >>> SpendLimit("1.50").left_usd
        Decimal('1.50')
    """

    def __init__(self, limit_usd: Decimal | str | float, spent_usd: Decimal | str | float = 0) -> None:
        self.limit_usd = _amount(limit_usd, "limit")
        self._spent = _amount(spent_usd, "earlier spending")
        self._held: Counter[Decimal] = Counter()
        self._reserved = Decimal(0)
        self._lock = threading.Lock()

    @property
    def spent_usd(self) -> Decimal:
        """What was spent, exactly."""
        return self._spent

    @property
    def reserved_usd(self) -> Decimal:
        """What is set aside for calls in flight."""
        return self._reserved

    @property
    def left_usd(self) -> Decimal:
        """What may still be set aside; never negative."""
        with self._lock:
            return max(Decimal(0), self.limit_usd - self._spent - self._reserved)

    async def reserve(self, usd: Decimal) -> bool:
        """Set ``usd`` aside; False when not that much is left.

        Raises:
            ValueError: ``usd`` is negative or no number.
        """
        _check(usd)
        with self._lock:
            if usd and self._spent + self._reserved + usd > self.limit_usd:
                return False
            self._reserved += usd
            self._held[usd] += 1
            return True

    async def settle(self, reserved_usd: Decimal, spent_usd: Decimal) -> None:
        """Replace a reservation by what was really spent (0 when the call was not made).

        Raises:
            ValueError: Nothing of this amount is set aside (it was settled before), or ``spent_usd`` is negative.
        """
        _check(spent_usd)
        with self._lock:
            if not self._held[reserved_usd]:
                raise ValueError(f"no reservation of {reserved_usd} is open: it was settled before, or never made")
            self._held[reserved_usd] -= 1
            if not self._held[reserved_usd]:
                del self._held[reserved_usd]
            self._reserved -= reserved_usd
            self._spent += spent_usd


def _check(usd: Decimal) -> None:
    if not (usd.is_finite() and usd >= 0):
        raise ValueError(f"{usd} is not an amount of 0 or more")


def _amount(value: Decimal | str | float, what: str) -> Decimal:
    try:
        # By way of text: 0.1 means a tenth, and not the binary number next to it.
        usd = Decimal(str(value))
        _check(usd)
    except (InvalidOperation, ValueError):
        raise RunError(
            f"The budget's {what} is {value!r:.60}; it must be a number of 0 or more.",
            hint="Give USD, such as 1.50.",
            code="budget_invalid",
        ) from None
    return usd
