"""Resets, windows and left-out slices. Adds columns with defaults and nothing else, so that older workers go on."""

from __future__ import annotations

from pathlib import Path

from isthmus.store.migrations.scripts import run_script

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    run_script(Path(__file__).with_name("0005_reading.sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    """Drop the columns."""
    run_script(
        "ALTER TABLE isthmus.streams DROP COLUMN resets, DROP COLUMN read_since;"
        "ALTER TABLE isthmus.checkpoints DROP COLUMN resets, DROP COLUMN left_out"
    )
