"""A database that refuses one kind of statement of one project, as if the process had died just before it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import psycopg


@contextmanager
def refusing(database_url: str, project_id: UUID, table: str, operation: str, condition: str) -> Iterator[None]:
    """Inside, an `operation` (INSERT, UPDATE, DELETE) on `table` fails where `condition` holds of `NEW` or `OLD`."""
    row = "OLD" if operation == "DELETE" else "NEW"
    name = f"refusing_{project_id.hex[-12:]}"
    with psycopg.connect(database_url, autocommit=True, options="-c search_path=isthmus") as connection:
        connection.execute(
            f"""CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN
                    IF {row}.project_id = '{project_id}' AND ({condition}) THEN
                        RAISE EXCEPTION 'refused by a test';
                    END IF;
                    RETURN {row};
                END $$""".encode()
        )
        connection.execute(
            f"CREATE TRIGGER {name} BEFORE {operation} ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()".encode()
        )
        try:
            yield
        finally:
            connection.execute(f"DROP FUNCTION {name} CASCADE".encode())
