"""Who carries out a run, and what can be asked of them: this process, or a server."""

from __future__ import annotations

from collections.abc import Callable, Collection
from decimal import Decimal
from typing import NamedTuple, Protocol

from promptcard_ext.core.case import Case
from promptcard_ext.core.results import ItemResult
from promptcard_ext.kernel.handle import RunHandle

ACTIONS = ("pause", "resume", "retry", "budget", "again", "requeue", "promote")
"""What may be possible with a run, or not; cancelling is the handle's own."""


class Money(NamedTuple):
    """How things stand with a budget, in USD.

    Attributes:
        limit: What may be spent; None is no limit.
        spent: What was spent.
        held: What is set aside for calls in flight.
    """

    limit: Decimal | None
    spent: Decimal
    held: Decimal


class Story(NamedTuple):
    """What of an item is not in its result.

    Attributes:
        messages: What was asked: role and text.
        attempts: One text for each call that was announced; empty when nobody keeps them.
        note: What a reader has to know about the messages.
    """

    messages: list[tuple[str, str]]
    attempts: tuple[str, ...] = ()
    note: str = ""


class RunKeeper(Protocol):
    """What a run can be asked for beside its results.

    Unless ``quick``, every method but `reasons` and `money` may take a network call: it is to be called on a thread
    that may wait. All raise errors of our tree.

    Attributes:
        quick: Whether nothing has to be waited for.
    """

    quick: bool

    def reasons(self, status: str) -> dict[str, str]:
        """Return for each of `ACTIONS` why it is not possible now; an empty text when it is."""

    def money(self) -> Money | None:
        """Return how things stand with its budget, as far as is known; None when there is nothing to tell."""

    def refresh(self, told: Callable[[], None]) -> None:
        """Look whether what `money` and `reasons` say has changed, and call ``told`` then; returns at once."""

    def pause(self) -> None:
        """Start no further calls."""

    def resume(self) -> None:
        """Go on after `pause`."""

    def requeue(self) -> None:
        """Call again what waits because an earlier call may have been paid for."""

    def set_budget(self, limit: Decimal | None) -> None:
        """Let it spend another amount from its beginning to its end; None takes the limit away."""

    def retry_errors(self, budget: Decimal | None) -> RunHandle | None:
        """Ask what ended as an error again; return the new run, or None when it is this one that goes on."""

    def ask_again(self, result: ItemResult) -> RunHandle | None:
        """Ask one item again; return as `retry_errors` does."""

    def story(self, result: ItemResult) -> Story:
        """Return what of an item is not in its result."""

    def case(self, result: ItemResult) -> Case:
        """Return the case of an item."""

    def promote(self, result: ItemResult) -> str:
        """Keep the case of an item on the server with this answer as the expected one; return what was done."""

    def others(self) -> list[tuple[str, str]]:
        """Return runs to compare with: id and name, newest first."""

    def changed_since(self, other: str) -> Collection[int]:
        """Return the ordinals of items that have another outcome in another run."""
