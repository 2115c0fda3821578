"""Configuration: a data folder and a handful of environment variables, read once and passed on as one value.

| variable | meaning | default |
| --- | --- | --- |
| `ISTHMUS_HOME` | the data folder: embedded database, master key, logs | `.isthmus` in this folder |
| `ISTHMUS_DATABASE_URL` | any PostgreSQL instead of the embedded one | embedded |
| `ISTHMUS_MASTER_KEY` | 32 bytes in base64; instead of the key file | `master.key` in the data folder |
| `ISTHMUS_PROJECT` | the project that commands work on | `default` |
| `ISTHMUS_DEVELOPMENT` | `1`: webhooks may lead to this machine and private networks | `0` |
| `ISTHMUS_WORKERS` | jobs that one worker process runs side by side | 8 |
| `ISTHMUS_SILENT_S` | seconds of silence after which a worker is taken for dead and its work resumed | 20 |
| `ISTHMUS_PUBLIC_URL` | where people and vendors reach `isthmus serve` | its own address |
| `ISTHMUS_LOG_LEVEL` | `debug`, `info`, `warning`, `error` | `warning` |
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from isthmus.kernel.failures import InvalidInput

VARIABLES = {
    "ISTHMUS_HOME": "the data folder: embedded database, master key, logs (default: .isthmus in this folder)",
    "ISTHMUS_DATABASE_URL": "any PostgreSQL instead of the embedded one",
    "ISTHMUS_MASTER_KEY": "32 bytes in base64, instead of the key file in the data folder",
    "ISTHMUS_PROJECT": "the project that commands work on (default: default)",
    "ISTHMUS_DEVELOPMENT": "1 lets webhooks lead to this machine and private networks (default: 0)",
    "ISTHMUS_WORKERS": "jobs that one worker process runs side by side (default: 8)",
    "ISTHMUS_SILENT_S": "seconds of silence after which a worker is taken for dead and its work resumed (default: 20)",
    "ISTHMUS_PUBLIC_URL": "where people and vendors reach `isthmus serve` (default: its own address)",
    "ISTHMUS_LOG_LEVEL": "debug, info, warning or error (default: warning)",
}
"""Every variable that is read, with its meaning; the settings reference is generated from it."""

_LEVELS = ("debug", "info", "warning", "error")
_WORKERS_MAX = 64
_SILENT_S_MIN, _SILENT_S_MAX = 1.0, 3_600.0


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a process needs to know before it opens anything."""

    home: Path
    database_url: str | None = None
    master_key: str | None = None
    project: str = "default"
    development: bool = False
    workers: int = 8
    silent_s: float = 20.0
    public_url: str | None = None
    log_level: str = "warning"

    def __repr__(self) -> str:
        return f"Settings(home={str(self.home)!r}, project={self.project!r})"  # neither key nor database password

    @property
    def postgres_dir(self) -> Path:
        """Where the embedded PostgreSQL keeps its files."""
        return self.home / "postgres"

    @property
    def master_key_file(self) -> Path:
        """The key file, mode 0600."""
        return self.home / "master.key"


def load_settings(environ: Mapping[str, str] = os.environ, *, home: Path | None = None) -> Settings:
    """Read the environment. `home` wins over `ISTHMUS_HOME`. Raises InvalidInput naming the variable."""
    workers_text = environ.get("ISTHMUS_WORKERS", "8")
    if not workers_text.isdigit() or not 1 <= int(workers_text) <= _WORKERS_MAX:
        raise InvalidInput(
            f"ISTHMUS_WORKERS is “{workers_text}”.", remedy=f"Set it to a whole number from 1 to {_WORKERS_MAX}."
        )
    level = environ.get("ISTHMUS_LOG_LEVEL", "warning").lower()
    if level not in _LEVELS:
        raise InvalidInput(f"ISTHMUS_LOG_LEVEL is “{level}”.", remedy=f"Set it to one of {', '.join(_LEVELS)}.")
    return Settings(
        home=(home or Path(environ.get("ISTHMUS_HOME") or ".isthmus")).expanduser().resolve(),
        database_url=environ.get("ISTHMUS_DATABASE_URL") or None,
        master_key=environ.get("ISTHMUS_MASTER_KEY") or None,
        project=environ.get("ISTHMUS_PROJECT") or "default",
        development=environ.get("ISTHMUS_DEVELOPMENT", "0").lower() in ("1", "true", "yes"),
        workers=int(workers_text),
        silent_s=_silent_s(environ.get("ISTHMUS_SILENT_S") or "20"),
        public_url=_public_url(environ.get("ISTHMUS_PUBLIC_URL") or ""),
        log_level=level,
    )


def _public_url(text: str) -> str | None:
    if not text:
        return None
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise InvalidInput(
            f"ISTHMUS_PUBLIC_URL is “{text}”.", remedy="Set it to an address such as https://hub.example.com."
        )
    return text.rstrip("/")


def _silent_s(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not _SILENT_S_MIN <= seconds <= _SILENT_S_MAX:
        raise InvalidInput(
            f"ISTHMUS_SILENT_S is “{text}”.",
            remedy=f"Set it to a number of seconds from {_SILENT_S_MIN:g} to {_SILENT_S_MAX:g}.",
        )
    return seconds
