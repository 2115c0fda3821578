"""The console's people, sessions and invitations. Adds tables and nothing else, so that older workers keep working."""

from __future__ import annotations

from pathlib import Path

from isthmus.store.migrations.scripts import run_script

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables with their rights."""
    run_script(Path(__file__).with_name("0004_console.sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    """Drop the tables: everybody has to be invited again."""
    run_script(
        "DROP TABLE isthmus.console_sessions, isthmus.console_invitations, isthmus.console_throttles, "
        "isthmus.console_people"
    )
