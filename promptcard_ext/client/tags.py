"""Tags of cards."""

from __future__ import annotations

from collections.abc import Iterator

from promptcard_ext.client.noun import Noun
from promptcard_ext.core.contract.cards import TagCount, TagQuery, TagRename, TagRenamed
from promptcard_ext.core.contract.page import Page


class Tags(Noun):
    """The tags of a workspace's cards."""

    def list(self) -> Iterator[TagCount]:
        """Yield the tags of cards in use, by name, with the number of cards that have each."""
        return self._pages(Page[TagCount], "tags", query=TagQuery(limit=200))

    def rename(self, tag: str, to: str) -> TagRenamed:
        """Give a tag another name on all cards that have it."""
        return self._read(TagRenamed, "PATCH", "tags", tag, body=TagRename(to))
