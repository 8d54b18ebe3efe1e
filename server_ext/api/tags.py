"""Tags of cards."""

from __future__ import annotations

from promptcard_ext.core.contract.cards import TagCount, TagQuery, TagRename, TagRenamed
from promptcard_ext.core.contract.page import Page
from server_ext.api.operation import Call, Operations
from server_ext.services import tags

operations = Operations("tags")
TAGS = "workspaces/{workspace}/tags"


@operations.get(TAGS, action="prompt:read", query=TagQuery, answer=Page[TagCount])
def list_tags(call: Call) -> Page[TagCount]:
    """List the tags of cards in use, by name, with the number of cards that have each."""
    return tags.list_tags(call.scope, call.query)


@operations.patch(TAGS + "/{tag}", action="prompt:update", body=TagRename, answer=TagRenamed)
def rename_tag(call: Call) -> TagRenamed:
    """Give a tag another name on all cards that have it."""
    return tags.rename(call.scope, call.path["tag"], call.body)
