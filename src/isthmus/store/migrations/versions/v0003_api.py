"""The API's own tables. Adds tables and one column that may be empty, so that older workers keep working."""

from __future__ import annotations

from pathlib import Path

from isthmus.store.migrations.scripts import run_script

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables with their rights."""
    run_script(Path(__file__).with_name("0003_api.sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    """Drop them; keys stop working."""
    run_script(
        "ALTER TABLE isthmus.connections DROP COLUMN consumer_id; "
        "DROP TABLE isthmus.audit_log, isthmus.api_keys, isthmus.consumers"
    )
