"""Whether what a customer agrees to binds. Older workers keep working; they do not look at it yet."""

from __future__ import annotations

from pathlib import Path

from isthmus.store.migrations.scripts import run_script

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the script beside this module."""
    run_script(Path(__file__).with_name("0017_binding.sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    """Going back is restoring a backup."""
