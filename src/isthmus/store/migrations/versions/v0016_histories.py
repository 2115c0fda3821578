"""Indexes for what pages ask of long histories. Older workers keep working."""

from __future__ import annotations

from pathlib import Path

from isthmus.store.migrations.scripts import run_script

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the script beside this module."""
    run_script(Path(__file__).with_name("0016_histories.sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    """Going back is restoring a backup."""
