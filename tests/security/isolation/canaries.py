"""Texts that say whose they are: wherever one of them is read, it can be told whether the reader may."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable

WORKSPACES = "abc"
_MARK = re.compile(rb"canary-(?:[nt]([abc])|(s))", re.IGNORECASE)
_CURSOR = re.compile(rb'"next":"([A-Za-z0-9_-]{8,2000})"')
_LOGGED = re.compile(r"canary-(?:t[abc]|s)", re.IGNORECASE)


def named(workspace: str, rest: object) -> str:
    """Return a canary that stands in addresses, and so in a log too: of names, labels and tags."""
    return f"canary-n{workspace}-{rest}"


def written(workspace: str, rest: object) -> str:
    """Return a canary that stands in nothing but what a workspace's members may read."""
    return f"canary-t{workspace}-{rest}"


def secret(rest: object) -> str:
    """Return a canary that nobody is ever shown, not even whoever gave it."""
    return f"canary-s-{rest}"


def foreign(data: bytes, allowed: Iterable[str], asked: Iterable[bytes] = ()) -> list[str]:
    """Return the canaries in an answer that its reader may not see, those in its cursors among them.

    Args:
        allowed: The workspaces that the reader belongs to.
        asked: What the reader has sent, which an answer may repeat.
    """
    for text in asked:
        data = data.replace(text, b"")
    found = _MARK.findall(data)
    for cursor in _CURSOR.findall(data):
        found += _MARK.findall(_decoded(cursor))
    own = {workspace.encode() for workspace in allowed}
    return sorted({(mark or b"secret").decode() for mark, _ in found if mark.lower() not in own})


def logged(text: str) -> list[str]:
    """Return the lines of a log that have what no log may have."""
    return [line[:500] for line in text.splitlines() if _LOGGED.search(line)]


def _decoded(cursor: bytes) -> bytes:
    try:
        return base64.urlsafe_b64decode(cursor + b"=" * (-len(cursor) % 4))
    except (binascii.Error, ValueError):
        return b""
