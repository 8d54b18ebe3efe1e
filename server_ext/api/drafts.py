"""The draft of a card."""

from __future__ import annotations

from typing import Any

from promptcard_ext.core.contract.cards import Draft
from server_ext.api.cards import CARD
from server_ext.api.operation import Call, Operations
from server_ext.services import drafts

operations = Operations("cards")
DRAFT = CARD + "/draft"


@operations.get(DRAFT, action="prompt:read", answer=Draft, etag=True)
def get_draft(call: Call) -> Draft:
    """Return the draft; its content is null when there is none."""
    return drafts.get(call.scope, call.path["card"])


@operations.put(DRAFT, action="prompt:update", body=dict[str, Any], answer=Draft, conditional=True, etag=True)
def save_draft(call: Call) -> Draft:
    """Replace the draft by these fields of a card, all but name and version.

    When somebody saved a draft or a version meanwhile, 412 carries that draft and how it differs from this one.
    """
    return drafts.save(call.scope, call.path["card"], call.body, call.match)


@operations.delete(DRAFT, action="prompt:update", conditional=True)
def delete_draft(call: Call) -> None:
    """Throw the draft away."""
    drafts.delete(call.scope, call.path["card"], call.match)
