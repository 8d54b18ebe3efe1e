"""What an output says about itself in its metadata, so that it can be held against the store later.

A manifest is small: ids, numbers, and a hash of what is shown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from promptcard_ext.core.results import Counts

if TYPE_CHECKING:
    from promptcard_ext.kernel.handle import RunHandle

KEY = "promptcards"
# What a reader sees of an output; the view of a widget is drawn anew each time.
_SHOWN = ("text/plain", "text/html")


def run_manifest(run: RunHandle, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest of a run's output.

    Args:
        data: What the output shows, by media type.
    """
    return {
        "run": run.id,
        "workspace": run.workspace_id,
        "versions": dict(run.card_versions),
        "numbers": numbers(run.status, run.counts),
        "shown": shown_hash(data),
    }


def card_manifest(workspace_id: str | None, version_id: str, label: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest of an output that tells of a card version."""
    return {"workspace": workspace_id, "versions": {version_id: label}, "shown": shown_hash(data)}


def numbers(status: str, counts: Counts) -> dict[str, Any]:
    """Return what a run's output says in numbers."""
    return {
        "status": status,
        "total": counts.total,
        "done": counts.done,
        "passed": counts.passed,
        "failed": counts.failed,
        "errored": counts.errored,
        "unscored": counts.unscored,
        "cost_usd": f"{counts.cost_usd.quantize(Decimal('0.000001')):f}",
    }


def shown_hash(data: Mapping[str, Any]) -> str:
    """Return the SHA-256 of what is shown, 64 hexadecimal digits."""
    sha = hashlib.sha256()
    for kind in _SHOWN:
        if kind in data:
            sha.update(f"{kind}\n{_text(data[kind])}\n".encode("utf-8", "surrogatepass"))
    return sha.hexdigest()


def _text(value: Any) -> str:
    """Return the text of a value as a notebook file has it: in one piece, or as a list of lines."""
    return "".join(map(str, value)) if isinstance(value, list) else str(value)
