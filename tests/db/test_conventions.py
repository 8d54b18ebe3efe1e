"""Habits that would make holes in the wall between workspaces, looked for in the source."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import server_ext

ROOT = Path(server_ext.__file__).parent
FILES = [path for path in sorted(ROOT.rglob("*.py")) if "migrations" not in path.parts]
# There it means that the one statement that begins a transaction is `Database.transaction`'s own.
ALLOWED = {("db/engine.py", r"\bAUTOCOMMIT\b")}

FORBIDDEN = {
    # Without a transaction the setting is lost at once, and every query sees nothing.
    r"\bAUTOCOMMIT\b": "use Database.transaction()",
    # A setting of the session is carried to the next user of a pooled connection.
    r"(?i)\bset\s+(session\s+)?app\.": "settings are made by Database.transaction()",
    r"(?is)set_config\(\s*'app\.[a-z_]+'\s*,[^()]*,\s*false\s*\)": "settings are local to a transaction",
    r"(?i)security\s+definer": "such functions are made by migrations and listed in db/catalog.py",
    r"(?i)create\s+(materialized\s+)?view": "views are made by migrations, with security_invoker",
}


@pytest.mark.parametrize("pattern", FORBIDDEN)
def test_the_server_has_no_habit_that_opens_workspaces(pattern: str) -> None:
    found = {str(path.relative_to(ROOT)) for path in FILES if re.search(pattern, path.read_text("utf-8"))}
    found -= {path for path, allowed in ALLOWED if allowed == pattern}
    assert found == set(), FORBIDDEN[pattern]


@pytest.mark.parametrize(
    "source",
    [
        'engine.connect().execution_options(isolation_level="AUTOCOMMIT")',
        "SET app.workspace_id = 'x'",
        "set session app.user_id to 'x'",
        "select set_config('app.workspace_id', :w, false)",
        "create materialized view v as select 1",
    ],
)
def test_such_a_habit_would_be_found(source: str) -> None:
    assert any(re.search(pattern, source) for pattern in FORBIDDEN)


def test_engines_are_made_in_one_place() -> None:
    makers = [path.name for path in FILES if "create_engine(" in path.read_text("utf-8")]
    assert makers == ["engine.py"]
