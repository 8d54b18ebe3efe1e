"""Answers of models."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from promptcard_ext.client.noun import Noun, Ref
from promptcard_ext.core.contract.generations import GenerationHead, GenerationOut, GenerationQuery
from promptcard_ext.core.contract.page import Page


class Generations(Noun):
    """The answers that models gave to a workspace's runs."""

    def list(
        self,
        *,
        card: str | None = None,
        model: str | None = None,
        provider: str | None = None,
        request_hash: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
    ) -> Iterator[GenerationHead]:
        """Yield answers, newest first; the filters are those of `GenerationQuery`."""
        query = GenerationQuery(card, model, provider, request_hash, created_after, created_before, limit=200)
        return self._pages(Page[GenerationHead], "generations", query=query)

    def get(self, generation: Ref) -> GenerationOut:
        """Return an answer with what was asked, whose it is, and the ledger of its calls."""
        return self._read(GenerationOut, "GET", "generations", generation)
