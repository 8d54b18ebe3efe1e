"""What makes two runs the same: content of the cards, models, cases, repeats, and who judges."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import msgspec

from promptcard_ext.core.case import Case
from promptcard_ext.core.identity import canonical_json

_VERSION = 1


def fingerprint(
    content_hashes: Sequence[str],
    models: Sequence[str],
    cases: Iterable[Case],
    *,
    repeats: int = 1,
    judges: Sequence[str] = (),
    embedder: str | None = None,
) -> str:
    """Return a SHA-256 that two runs share when they ask the same and judge it alike, 64 hexadecimal digits.

    How fast they are, what they may cost and what they are called makes no difference.

    Args:
        content_hashes: Of the card versions, in the order of the plan.
        cases: In the order of the plan.
    """
    sha = hashlib.sha256()
    sha.update(_encoded([_VERSION, list(content_hashes), list(models), repeats, list(judges), embedder]))
    for case in cases:
        sha.update(b"\n")
        parts = [case.name, case.variables, case.assertions, case.threshold, case.metadata]
        sha.update(_encoded(parts))
    return sha.hexdigest()


def _encoded(value: object) -> bytes:
    try:
        return msgspec.json.encode(value, order="sorted")
    except UnicodeEncodeError:
        # Half of a surrogate pair has no UTF-8, and yet must count.
        return canonical_json(msgspec.to_builtins(value)).encode("utf-8", "surrogatepass")
