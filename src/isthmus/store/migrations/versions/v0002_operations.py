"""Operations: one row per intended write. Adds a table and nothing else, so that older workers keep working."""

from __future__ import annotations

from pathlib import Path

from isthmus.store.migrations.scripts import run_script

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table with its rights."""
    run_script(Path(__file__).with_name("0002_operations.sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    """Drop the table; what was written to vendors stays there."""
    run_script("DROP TABLE isthmus.operations")
