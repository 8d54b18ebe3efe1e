"""Labels of a card."""

from __future__ import annotations

from promptcard_ext.core.contract.cards import Label, LabelTarget
from promptcard_ext.core.contract.page import Page
from server_ext.api.cards import CARD
from server_ext.api.operation import Call, Operations
from server_ext.services import labels

operations = Operations("labels")
LABEL = CARD + "/labels/{label}"


@operations.get(CARD + "/labels", action="prompt:read", answer=Page[Label])
def list_labels(call: Call) -> Page[Label]:
    """List all labels of a card, by name; ``latest`` is not among them."""
    return labels.list_labels(call.scope, call.path["card"])


@operations.get(LABEL, action="prompt:read", answer=Label, etag=True)
def get_label(call: Call) -> Label:
    """Return where a label stands."""
    return labels.get(call.scope, call.path["card"], call.path["label"])


@operations.put(LABEL, action="prompt:update", body=LabelTarget, answer=Label, conditional=True, etag=True)
def put_label(call: Call) -> Label:
    """Put a label on a version, or move it there; only moving needs ``If-Match``."""
    return labels.put(call.scope, call.path["card"], call.path["label"], call.body, call.match)


@operations.delete(LABEL, action="prompt:update", conditional=True)
def delete_label(call: Call) -> None:
    """Take a label off."""
    labels.delete(call.scope, call.path["card"], call.path["label"], call.match)
