"""What a promptfoo configuration becomes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from promptcard_ext.core.card import Card
from promptcard_ext.core.case import Case
from promptcard_ext.interchange.notices import Notice, Severity

UNSUPPORTED = "unsupported"


class Endpoint(Struct, frozen=True, omit_defaults=True):
    """Where a provider is to call, when it is not its usual address.

    Attributes:
        api_key_env: Name of the environment variable that has the key; keys themselves are never taken over.
    """

    base_url: str | None = None
    api_key_env: str | None = None

    def options(self, environment: Mapping[str, str]) -> dict[str, Any]:
        """Return what the provider's constructor takes."""
        found: dict[str, Any] = {"base_url": self.base_url} if self.base_url else {}
        if self.api_key_env:
            found["api_key"] = environment.get(self.api_key_env, "")
        return found


class Batch(Struct, frozen=True):
    """Cards and models that run with each other, every card with every model.

    Most configurations are one batch; one that gives its models different settings, addresses or prompts is several.

    Attributes:
        cards: With the settings of the models in them.
        endpoints: By provider, where it is not the usual one.
    """

    cards: tuple[Card, ...]
    models: tuple[str, ...]
    endpoints: dict[str, Endpoint] = {}

    def providers(self, environment: Mapping[str, str]) -> dict[str, dict[str, Any]]:
        """Return the provider options that ``pc.run(providers=…)`` takes, with the keys from ``environment``."""
        return {name: endpoint.options(environment) for name, endpoint in self.endpoints.items()}


class Imported(Struct, frozen=True):
    """A promptfoo configuration in our terms.

    Attributes:
        path: The file.
        description: As the file gives it.
        batches: What runs with what; empty when no prompt or no model could be taken over.
        cases: For all batches.
        judges: Model references for assertions that need a judge and name none.
        embedder: Model reference for assertions that need embeddings and name none.
        derived: Formulas of derived metrics by name, in their order.
        repeats: How often each case is asked.
        concurrency, timeout_s, deadline_s: As the file gives them; None where it does not.
        mode: ``live`` when the file turns its cache off, else None.
        notices: What was not taken over as it stood; what matters most first.
    """

    path: str
    description: str
    batches: tuple[Batch, ...]
    cases: tuple[Case, ...]
    judges: tuple[str, ...] = ()
    embedder: str | None = None
    derived: dict[str, str] = {}
    repeats: int = 1
    concurrency: int | None = None
    timeout_s: float | None = None
    deadline_s: float | None = None
    mode: str | None = None
    notices: tuple[Notice, ...] = ()

    @property
    def cards(self) -> tuple[Card, ...]:
        """All cards of all batches, each once."""
        return tuple({(card.name, card.content_hash): card for batch in self.batches for card in batch.cards}.values())

    @property
    def card_files(self) -> dict[str, tuple[Card, ...]]:
        """The cards by name: a prompt with several settings is one card with a version for each."""
        found: dict[str, tuple[Card, ...]] = {}
        for card in self.cards:
            found[card.name] = (*found.get(card.name, ()), card)
        return found

    @property
    def models(self) -> tuple[str, ...]:
        """All models of all batches, each once."""
        return tuple(dict.fromkeys(model for batch in self.batches for model in batch.models))

    @property
    def not_carried_over(self) -> int:
        """Number of things that do not run here: assertions, prompts, models, options."""
        return sum(notice.count for notice in self.notices if notice.severity is Severity.LOST)
