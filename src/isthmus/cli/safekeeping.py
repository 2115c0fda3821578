"""What keeps the house safe: keys, backups, what is forgotten, and upgrades; each in a module of its own."""

from __future__ import annotations

import typer

from isthmus.cli import backups, forgetting, migrating, restored, vault


def register(app: typer.Typer) -> None:
    """Add the commands."""
    vault.register(app)
    backups.register(app)
    restored.register(app)
    migrating.register(app)
    forgetting.register(app)
