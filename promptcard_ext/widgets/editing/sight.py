"""What is seen of a draft: marks, uses of variables, and a preview with tokens and cost, for a case and a model."""

from __future__ import annotations

import threading
from typing import Any

from promptcard_ext.core.case import Case
from promptcard_ext.core.errors import PromptCardError
from promptcard_ext.core.pricing import PriceBook, shipped_prices
from promptcard_ext.kernel.safe_text import harmless
from promptcard_ext.widgets.editing.draft import Now
from promptcard_ext.widgets.editing.marks import Checked, Mark, checked
from promptcard_ext.widgets.editing.places import Place
from promptcard_ext.widgets.editing.preview import previewed

MAX_MODEL_CHARS = 300


class Sight:
    """Looks at drafts of one card.

    Args:
        store: Held while the place is asked.
    """

    def __init__(self, place: Place, store: threading.Lock) -> None:
        self._place, self._store = place, store
        # Guards the rest; never held while waiting.
        self._lock = threading.Lock()
        self._cases: dict[str, Case] = {}
        self._case: Case | None = None
        self._model = ""
        self._prices: PriceBook | None = None

    @property
    def chosen(self) -> tuple[str, str]:
        """Uid of the case, or nothing for sample values; and model, or nothing."""
        with self._lock:
            return self._case.uid if self._case else "", self._model

    def choose(self, case: str, model: str) -> None:
        """Choose a case of those that `cases` has returned, by its uid, and a model."""
        with self._lock:
            self._case, self._model = self._cases.get(case), model[:MAX_MODEL_CHARS]

    def cases(self, text: str) -> list[dict[str, str]]:
        """Return cases to choose from, those with this text somewhere."""
        with self._store:
            found = self._place.cases(text)
        with self._lock:
            self._cases |= {case.uid: case for case in found}
        return [{"uid": case.uid, "name": harmless(case.name)} for case in found]

    def models(self) -> list[str]:
        """Return references of models that have a price."""
        return sorted({f"{price.provider}:{price.model}" for price in self._price_book() if "*" not in price.model})

    def look(self, now: Now) -> dict[str, Any]:
        """Return what there is to see, as a browser gets it."""
        found = checked(now.base.name, now.form, now.base.includes)
        with self._lock:
            case, model = self._case, self._model
        return {
            "kind": "seen",
            "revision": now.revision,
            "marks": [_outline(mark) for mark in found.marks],
            "uses": found.uses,
            "valid": found.card is not None,
            "preview": self._preview(found, case, model),
        }

    def _preview(self, found: Checked, case: Case | None, model: str) -> dict[str, Any] | None:
        card = found.card
        if card is None:
            return None
        try:
            if any(one.unresolved for one in card.templates):
                with self._store:
                    card = self._place.compose(card)
            return previewed(card, case, model, self._price_book() if model else shipped_prices())
        except PromptCardError as error:
            return {"problem": harmless(str(error)), "messages": []}

    def _price_book(self) -> PriceBook:
        if self._prices is None:
            try:
                with self._store:
                    self._prices = self._place.prices()
            except PromptCardError:
                self._prices = shipped_prices()
        return self._prices


def _outline(mark: Mark) -> list[Any]:
    return [mark.where, mark.start, mark.end, mark.kind, harmless(mark.message), mark.line]
