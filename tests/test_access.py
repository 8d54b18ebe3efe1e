"""The table of rights in the documents is the one in the code."""

from __future__ import annotations

import re
from pathlib import Path

from server_ext.auth.permissions import ACTIONS, ROLES, allows

PAGE = Path(__file__).parent.parent / "docs" / "operators" / "access.md"


def test_the_documented_rights_are_those_that_hold() -> None:
    header, *rows = re.findall(r"^\| (.*) \|$", PAGE.read_text("utf-8").partition("## Invitations")[0], re.MULTILINE)
    assert header.split(" | ")[1:-1] == list(ROLES)
    documented = {}
    for row in rows:
        action, *cells, _ = row.split(" | ")
        documented[action.strip("`")] = cells
    assert documented == {action: ["yes" if allows(role, action) else "–" for role in ROLES] for action in ACTIONS}
