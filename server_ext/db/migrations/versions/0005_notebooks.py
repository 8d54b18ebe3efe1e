"""What notebooks need: where versions and runs came from."""

from __future__ import annotations

from server_ext.db.migrations import run_sql_files

revision = "0005_notebooks"
down_revision = "0004_batches"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the SQL files of this migration."""
    run_sql_files(revision[:4])


def downgrade() -> None:
    """Not offered: restore a backup instead."""
    raise NotImplementedError("There is no way back from a migration: restore a backup.")
