"""Scripts of plain SQL, and how a migration runs them."""

from __future__ import annotations

from importlib import resources

import psycopg
from alembic import op


def run_script(script: str) -> None:
    """Run several statements as they are, `%` and all, inside the migration's transaction."""
    driver = op.get_bind().connection.driver_connection
    if not isinstance(driver, psycopg.Connection):
        raise TypeError("migrations run on psycopg")
    driver.execute(script.encode())


def job_schema() -> str:
    """The job queue's tables, as the locked version of Procrastinate ships them.

    A later Procrastinate comes with its own migration scripts: take them over in a migration of ours in the same change
    that moves the lock file.
    """
    return (resources.files("procrastinate.sql") / "schema.sql").read_text(encoding="utf-8")
