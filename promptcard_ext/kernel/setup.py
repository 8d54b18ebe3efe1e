"""What a run in this process runs, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from msgspec import Struct

from promptcard_ext.core.assertions import python
from promptcard_ext.core.engine import EngineOptions, Mode
from promptcard_ext.core.matrix import Plan
from promptcard_ext.core.ports import GenerationStore
from promptcard_ext.core.pricing import PriceBook
from promptcard_ext.stats.derived import DerivedMetric


@dataclass(frozen=True)
class Setup:
    """A plan with everything that running it takes.

    Attributes:
        providers: Settings per provider, as `pc.run` takes them; may hold credentials.
        store: Where answers are taken from and kept.
        budget_usd: Most that the run may spend, judges included.
        derived: Formulas of derived metrics by name.
        key_names: By provider, the environment variable that has its key, where it is not the usual one.
        folder: What files of assertions in Python are relative to; default the current folder.
    """

    plan: Plan
    options: EngineOptions
    prices: PriceBook
    providers: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False)
    store: GenerationStore | None = None
    budget_usd: Decimal | None = None
    derived: Mapping[str, str] = field(default_factory=dict)
    key_names: Mapping[str, str] = field(default_factory=dict)
    folder: str | None = None

    @property
    def derived_metrics(self) -> tuple[DerivedMetric, ...]:
        """The derived metrics, in their order.

        Raises:
            CardError: A formula cannot be used (``derived_metric_invalid``).
        """
        return tuple(DerivedMetric(name, formula) for name, formula in self.derived.items())

    def to_keep(self) -> dict[str, Any]:
        """Return what it takes to go on with the run later, as JSON; no credential is in it."""
        options = self.options
        return {
            "concurrency": options.concurrency,
            "timeout_s": options.timeout_s,
            "deadline_s": options.deadline_s,
            "requests_per_minute": options.requests_per_minute,
            "tokens_per_minute": options.tokens_per_minute,
            "mode": str(options.mode),
            "judges": list(options.judges),
            "embedder": options.embedder,
            "budget_usd": None if self.budget_usd is None else str(self.budget_usd),
            "derived": dict(self.derived),
            "base_urls": {
                name: settings["base_url"] for name, settings in self.providers.items() if "base_url" in settings
            },
            "key_names": dict(self.key_names),
            "folder": self.folder,
            "distrusted": python.distrusted_in(self.plan.cases),
        }


class Kept(Struct, frozen=True):
    """What `Setup.to_keep` has written; a part that is missing has its default."""

    concurrency: int = 16
    timeout_s: float = 120.0
    deadline_s: float | None = None
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    mode: Mode = Mode.LIVE
    judges: tuple[str, ...] = ()
    embedder: str | None = None
    budget_usd: Decimal | None = None
    derived: dict[str, str] = {}
    base_urls: dict[str, str] = {}
    key_names: dict[str, str] = {}
    folder: str | None = None
    distrusted: tuple[str, ...] = ()

    def providers(self, environment: Mapping[str, str]) -> dict[str, dict[str, Any]]:
        """Return the settings per provider, with the keys from the environment."""
        found: dict[str, dict[str, Any]] = {name: {"base_url": url} for name, url in self.base_urls.items()}
        for name, variable in self.key_names.items():
            found.setdefault(name, {})["api_key"] = environment.get(variable, "")
        return found
