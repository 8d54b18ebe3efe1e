"""Cards, their versions, drafts and cases."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from promptcard_ext.core.card import Card
from promptcard_ext.core.case import Case
from promptcard_ext.core.errors import CardError
from server_ext.api.operation import UPLOAD_BYTES, Call, Operations
from server_ext.services import cards, cases

operations = Operations("cards")
C = "workspaces/{workspace}/cards"


class CardQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of the list of cards."""

    after: str = ""
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class CaseQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of the list of cases."""

    after: Annotated[int, Meta(ge=-1, le=10**9)] = -1
    limit: Annotated[int, Meta(ge=1, le=1000)] = 200


class Cases(Struct, forbid_unknown_fields=True):
    """All cases of a card."""

    cases: list[Case]


@operations.get(C, action="prompt:read", query=CardQuery)
def list_cards(call: Call) -> Any:
    """List cards, by name."""
    found = cards.list_cards(call.scope, call.query.after, call.query.limit)
    return {"cards": found, "next": found[-1]["name"] if len(found) == call.query.limit else None}


@operations.post(C, action="prompt:create", body=Card, status=201, also=(200,), idempotent=True)
def save_card(call: Call) -> Any:
    """Save a card as its next version.

    201 when there is a new version, 200 when one had this content already.
    """
    saved = cards.save_version(call.scope, call.body)
    call.status = 201 if saved.created else 200
    return saved


@operations.get(C + "/{card}", action="prompt:read")
def get_card(call: Call) -> Any:
    """Return the head of a card; its revision is the ETag."""
    head = cards.get(call.scope, call.path["card"])
    call.header("ETag", f'"{head["revision"]}"')
    return head


@operations.put(C + "/{card}/draft", action="prompt:update", body=dict[str, Any], conditional=True)
def save_draft(call: Call) -> Any:
    """Replace the draft; ``If-Match`` names the revision it is based on."""
    match = call.if_match.strip().strip('"')
    if not match.isdecimal() or len(match) > 18:
        raise CardError(
            "A draft is saved with 'If-Match' naming the revision it is based on.",
            hint="Read the card first; its ETag is the revision.",
            code="if_match_missing",
        )
    head = cards.save_draft(call.scope, call.path["card"], call.body, int(match))
    call.header("ETag", f'"{head["revision"]}"')
    return head


@operations.get(C + "/{card}/versions", action="prompt:read")
def list_versions(call: Call) -> Any:
    """List all versions, oldest first."""
    return {"versions": cards.versions(call.scope, call.path["card"])}


@operations.get(C + "/{card}/cases", action="test:read", query=CaseQuery)
def list_cases(call: Call) -> Any:
    """List cases, in order."""
    found = cases.list_cases(call.scope, call.path["card"], call.query.after, call.query.limit)
    return {"cases": found, "next": found[-1]["position"] if len(found) == call.query.limit else None}


@operations.put(C + "/{card}/cases", action="test:create", body=Cases, max_body=UPLOAD_BYTES)
def replace_cases(call: Call) -> Any:
    """Replace all cases."""
    return {"count": cases.replace_all(call.scope, call.path["card"], call.body.cases)}
