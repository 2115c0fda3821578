"""Records that a deletion has left behind go. Changes no table, so that older workers keep working."""

from __future__ import annotations

from pathlib import Path

from isthmus.store.migrations.scripts import run_script

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Delete what belongs to nothing."""
    run_script(Path(__file__).with_name("0006_orphans.sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    """Nothing to take back: the script changes no table."""
