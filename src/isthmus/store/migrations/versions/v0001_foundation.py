"""The foundation: every table, the roles and their rights, and the job queue's own schema."""

from __future__ import annotations

from pathlib import Path

from isthmus.store.migrations.scripts import job_schema, run_script

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create everything. Queue first, so that the rights at the end of the file cover it too."""
    run_script(job_schema())
    run_script(Path(__file__).with_name("0001_foundation.sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    """Drop everything that the project owns; roles stay, as they belong to the whole server."""
    run_script("DROP SCHEMA isthmus CASCADE; CREATE SCHEMA isthmus")
