"""Migrations: one Python file each, and its SQL beside it, one concept a file."""

from __future__ import annotations

from pathlib import Path

from alembic import op

_SQL = Path(__file__).parent / "sql"


def run_sql_files(number: str) -> None:
    """Run ``sql/<number>/*.sql`` in the order of their names. A file that has been released is never edited."""
    for file in sorted((_SQL / number).glob("*.sql")):
        # Without parameters the driver takes several statements at once, and a percent sign is a percent sign.
        op.get_bind().exec_driver_sql(file.read_text("utf-8"), execution_options={"no_parameters": True})
