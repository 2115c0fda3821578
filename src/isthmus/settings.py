"""Configuration: a data folder and a handful of environment variables, read once and passed on as one value.

| variable | meaning | default |
| --- | --- | --- |
| `ISTHMUS_HOME` | the data folder: embedded database, master key, logs | `.isthmus` in this folder |
| `ISTHMUS_DATABASE_URL` | any PostgreSQL instead of the embedded one | embedded |
| `ISTHMUS_MASTER_KEY` | 32 bytes in base64; instead of the key file | `master.key` in the data folder |
| `ISTHMUS_MASTER_KEY_NEXT` | the master key that is being rotated to | none |
| `ISTHMUS_MASTER_KEY_PREVIOUS` | earlier master keys, separated by commas | none |
| `ISTHMUS_PROJECT` | the project that commands work on | `default` |
| `ISTHMUS_DEVELOPMENT` | `1`: there may be development projects, whose webhooks lead to this machine too | `0` |
| `ISTHMUS_FILES` | where API and console may make destinations for files | `files` in the data folder |
| `ISTHMUS_REQUESTS_PER_S` | requests a second that a key may send to one server process | 500 |
| `ISTHMUS_WORKERS` | jobs that one worker process runs side by side | 8 |
| `ISTHMUS_SILENT_S` | seconds of silence after which a worker is taken for dead and its work resumed | 20 |
| `ISTHMUS_PUBLIC_URL` | where people and vendors reach `isthmus serve` | its own address |
| `ISTHMUS_TRUSTED_PROXIES` | networks whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed | none |
| `ISTHMUS_SMTP_HOST` | the mail server that carries notices to people; without it nobody is mailed | none |
| `ISTHMUS_SMTP_PORT` | its port | 587; 465 with `tls`, 25 with `none` |
| `ISTHMUS_SMTP_TLS` | `starttls`, `tls` (from the first byte) or `none` | `starttls` |
| `ISTHMUS_SMTP_USER` | the user name, where the server asks for one | none |
| `ISTHMUS_SMTP_PASSWORD` | the password | none |
| `ISTHMUS_SMTP_CA_FILE` | the authority that signed the server's certificate, if no public one did | the system's |
| `ISTHMUS_MAIL_FROM` | the address that notices come from | `isthmus@` and the mail server's name |
| `ISTHMUS_LOG_LEVEL` | `debug`, `info`, `warning`, `error` | `warning` |
| `ISTHMUS_LOG_FORMAT` | `plain` for people, `json` for programs (one object a line) | `plain` |
| `ISTHMUS_OIDC_…`, `ISTHMUS_PASSWORDS` | sign-in to the console through an identity provider: `settings_oidc` | none |

Where a value is secret (`SECRETS`), the same name with `_FILE` at its end names a file that holds it, as containers do:
`ISTHMUS_MASTER_KEY_FILE=/run/secrets/master_key`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from difflib import get_close_matches
from ipaddress import ip_network
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from isthmus.kernel.failures import InvalidInput
from isthmus.settings_oidc import VARIABLES as OIDC_VARIABLES
from isthmus.settings_oidc import OidcSettings, load_oidc

VARIABLES = {
    "ISTHMUS_HOME": "the data folder: embedded database, master key, logs (default: .isthmus in this folder)",
    "ISTHMUS_DATABASE_URL": "any PostgreSQL instead of the embedded one",
    "ISTHMUS_MASTER_KEY": "32 bytes in base64, instead of the key file in the data folder",
    "ISTHMUS_MASTER_KEY_NEXT": "the master key that `isthmus vault rotate master` rotates to, while that is under way",
    "ISTHMUS_MASTER_KEY_PREVIOUS": "earlier master keys, separated by commas, for restoring backups made under them",
    "ISTHMUS_PROJECT": "the project that commands work on; only in a new database is it made by being named "
    "(default: default)",
    "ISTHMUS_DEVELOPMENT": "1 allows development projects, whose webhooks may lead to this machine and private "
    "networks, and makes the first project of a new database one; 0 holds every project to the rules of production "
    "(default: 0)",
    "ISTHMUS_FILES": "the folder below which API and console may make destinations for files, each project in a "
    "folder of its own (default: files in the data folder)",
    "ISTHMUS_REQUESTS_PER_S": "requests a second that a key may send to one server process, and twice as many at once, "
    "unless the key has a limit of its own (default: 500)",
    "ISTHMUS_WORKERS": "jobs that one worker process runs side by side (default: 8)",
    "ISTHMUS_SILENT_S": "seconds of silence after which a worker is taken for dead and its work resumed (default: 20)",
    "ISTHMUS_PUBLIC_URL": "where people and vendors reach `isthmus serve` (default: its own address)",
    "ISTHMUS_TRUSTED_PROXIES": "reverse proxies whose X-Forwarded-For and X-Forwarded-Proto are believed: addresses or "
    "networks, separated by commas (default: none)",
    "ISTHMUS_SMTP_HOST": "the mail server that carries notices to people (default: none, nobody is mailed)",
    "ISTHMUS_SMTP_PORT": "its port (default: 587; 465 with tls, 25 with none)",
    "ISTHMUS_SMTP_TLS": "starttls, tls (from the first byte) or none (default: starttls)",
    "ISTHMUS_SMTP_USER": "the mail server's user name, where it asks for one",
    "ISTHMUS_SMTP_PASSWORD": "the mail server's password",
    "ISTHMUS_SMTP_CA_FILE": "the authority that signed the mail server's certificate, if no public one did",
    "ISTHMUS_MAIL_FROM": "the address that notices come from (default: isthmus@ and the mail server's name)",
    "ISTHMUS_LOG_LEVEL": "debug, info, warning or error (default: warning)",
    "ISTHMUS_LOG_FORMAT": "plain for people, or json for programs, one object a line (default: plain)",
    **OIDC_VARIABLES,
}
"""Every variable that is read, with its meaning; the settings reference is generated from it."""

SECRETS = (
    "ISTHMUS_DATABASE_URL",
    "ISTHMUS_MASTER_KEY",
    "ISTHMUS_MASTER_KEY_NEXT",
    "ISTHMUS_MASTER_KEY_PREVIOUS",
    "ISTHMUS_SMTP_PASSWORD",
    "ISTHMUS_OIDC_CLIENT_SECRET",
)
"""Variables that may stand in a file instead: NAME_FILE is its path."""

ELSEWHERE = ("ISTHMUS_CLIENT_SECRET", "ISTHMUS_CERTIFICATE_PASSWORD")
"""Variables that single commands read."""

_NEAR = 0.9
"""How much alike two names are when one is taken for a slip of the pen."""

_SECRET_BYTES_MAX = 64 * 1024
_PROXIES_MAX = 50
_FORMATS = ("plain", "json")
_LEVELS = ("debug", "info", "warning", "error")
_SMTP_PORTS = {"starttls": 587, "tls": 465, "none": 25}
_WORKERS_MAX = 64
REQUESTS_PER_S_MIN, REQUESTS_PER_S_MAX = 0.1, 100_000.0
"""Limits of a key's limit."""

_SILENT_S_MIN, _SILENT_S_MAX = 1.0, 3_600.0


class MailServer(msgspec.Struct, frozen=True, kw_only=True):
    """Where mails are handed in. Its repr hides the password."""

    host: str
    port: int
    tls: Literal["starttls", "tls", "none"] = "starttls"
    user: str | None = None
    password: str | None = None
    ca_file: str | None = None
    sender: str

    def __repr__(self) -> str:
        return f"MailServer(host={self.host!r}, port={self.port})"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a process needs to know before it opens anything."""

    home: Path
    database_url: str | None = None
    master_key: str | None = None
    master_key_next: str | None = None
    master_key_previous: str | None = None
    project: str = "default"
    development: bool = False
    files: Path | None = None
    requests_per_s: float = 500.0
    workers: int = 8
    silent_s: float = 20.0
    public_url: str | None = None
    trusted_proxies: tuple[str, ...] = ()
    log_level: str = "warning"
    log_format: str = "plain"
    oidc: OidcSettings | None = None
    mail: MailServer | None = None

    def __repr__(self) -> str:
        return f"Settings(home={str(self.home)!r}, project={self.project!r})"  # neither key nor database password

    @property
    def other_master_keys(self) -> dict[str, str]:
        """The master keys besides the current one, by the names of their variables."""
        given = {
            "ISTHMUS_MASTER_KEY_NEXT": self.master_key_next,
            "ISTHMUS_MASTER_KEY_PREVIOUS": self.master_key_previous,
        }
        return {name: text for name, text in given.items() if text}

    @property
    def postgres_dir(self) -> Path:
        """Where the embedded PostgreSQL keeps its files."""
        return self.home / "postgres"

    @property
    def files_dir(self) -> Path:
        """Below it every project has a folder, named by its id, for destinations that API and console make."""
        return self.files or self.home / "files"

    @property
    def master_key_file(self) -> Path:
        """The key file, mode 0600."""
        return self.home / "master.key"


def misspelt(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Variables that nobody reads, and what was perhaps meant: `ISTHMUS_OIDC_ISSUR` would silently change nothing."""
    known = {*VARIABLES, *(f"{name}_FILE" for name in SECRETS), *ELSEWHERE}
    found: dict[str, str] = {}
    for name in sorted(environ):
        if name.upper().startswith("ISTHMUS_") and name not in known:
            near = get_close_matches(name.upper(), known, n=1, cutoff=_NEAR)
            if near:
                found[name] = near[0]
    return found


def load_settings(environ: Mapping[str, str] = os.environ, *, home: Path | None = None) -> Settings:
    """Read the environment. `home` wins over `ISTHMUS_HOME`. Raises InvalidInput naming the variable."""
    environ = _with_files(environ)
    workers_text = environ.get("ISTHMUS_WORKERS", "8")
    if not workers_text.isdigit() or not 1 <= int(workers_text) <= _WORKERS_MAX:
        raise InvalidInput(
            f"ISTHMUS_WORKERS is “{workers_text}”.", remedy=f"Set it to a whole number from 1 to {_WORKERS_MAX}."
        )
    level = environ.get("ISTHMUS_LOG_LEVEL", "warning").lower()
    if level not in _LEVELS:
        raise InvalidInput(f"ISTHMUS_LOG_LEVEL is “{level}”.", remedy=f"Set it to one of {', '.join(_LEVELS)}.")
    development = environ.get("ISTHMUS_DEVELOPMENT", "0").lower() in ("1", "true", "yes")
    form = environ.get("ISTHMUS_LOG_FORMAT", "plain").lower()
    if form not in _FORMATS:
        raise InvalidInput(f"ISTHMUS_LOG_FORMAT is “{form}”.", remedy=f"Set it to one of {', '.join(_FORMATS)}.")
    return Settings(
        home=(home or Path(environ.get("ISTHMUS_HOME") or ".isthmus")).expanduser().resolve(),
        database_url=environ.get("ISTHMUS_DATABASE_URL") or None,
        master_key=environ.get("ISTHMUS_MASTER_KEY") or None,
        master_key_next=environ.get("ISTHMUS_MASTER_KEY_NEXT") or None,
        master_key_previous=environ.get("ISTHMUS_MASTER_KEY_PREVIOUS") or None,
        project=environ.get("ISTHMUS_PROJECT") or "default",
        development=development,
        files=_folder(environ.get("ISTHMUS_FILES") or ""),
        requests_per_s=_number(
            "ISTHMUS_REQUESTS_PER_S",
            environ.get("ISTHMUS_REQUESTS_PER_S") or "500",
            REQUESTS_PER_S_MIN,
            REQUESTS_PER_S_MAX,
        ),
        workers=int(workers_text),
        silent_s=_number("ISTHMUS_SILENT_S", environ.get("ISTHMUS_SILENT_S") or "20", _SILENT_S_MIN, _SILENT_S_MAX),
        public_url=_public_url(environ.get("ISTHMUS_PUBLIC_URL") or ""),
        trusted_proxies=_proxies(environ.get("ISTHMUS_TRUSTED_PROXIES") or ""),
        log_level=level,
        log_format=form,
        oidc=load_oidc(environ, development=development),
        mail=_mail_server(environ),
    )


def _with_files(environ: Mapping[str, str]) -> Mapping[str, str]:
    """The environment with the secrets that stand in files. Raises InvalidInput naming the variable, never the text."""
    found = dict(environ)
    for name in SECRETS:
        path = environ.get(f"{name}_FILE")
        if not path:
            continue
        if environ.get(name):
            raise InvalidInput(f"{name} and {name}_FILE are both set.", remedy="Set one of the two.")
        try:
            with Path(path).open("rb") as file:
                text = file.read(_SECRET_BYTES_MAX + 1).decode().strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise InvalidInput(
                f"{name}_FILE: {path} cannot be read ({reason}).", remedy="Name a file that this user may read."
            ) from error
        if not text or len(text) > _SECRET_BYTES_MAX:
            raise InvalidInput(f"{name}_FILE: {path} is empty or too large.", remedy="Put the secret into it.")
        found[name] = text
    return found


def _proxies(text: str) -> tuple[str, ...]:
    """Networks in their canonical form."""
    given = [each.strip() for each in text.split(",") if each.strip()]
    try:
        networks = [str(ip_network(each, strict=False)) for each in given]
    except ValueError as error:
        raise InvalidInput(
            f"ISTHMUS_TRUSTED_PROXIES is “{text[:200]}”.",
            remedy="Name addresses or networks, such as 10.0.0.7 or 172.16.0.0/12, separated by commas.",
        ) from error
    if len(networks) > _PROXIES_MAX or any(each in ("0.0.0.0/0", "::/0") for each in networks):
        raise InvalidInput(
            "ISTHMUS_TRUSTED_PROXIES trusts everybody, or too many.",
            remedy="Name the proxies that stand in front of isthmus, and nothing else.",
        )
    return tuple(networks)


def _public_url(text: str) -> str | None:
    if not text:
        return None
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise InvalidInput(
            f"ISTHMUS_PUBLIC_URL is “{text}”.", remedy="Set it to an address such as https://hub.example.com."
        )
    return text.rstrip("/")


def _mail_server(environ: Mapping[str, str]) -> MailServer | None:
    host = environ.get("ISTHMUS_SMTP_HOST") or ""
    if not host:
        return None
    tls = (environ.get("ISTHMUS_SMTP_TLS") or "starttls").lower()
    if tls not in _SMTP_PORTS:
        raise InvalidInput(f"ISTHMUS_SMTP_TLS is “{tls}”.", remedy="Set it to starttls, tls or none.")
    port = environ.get("ISTHMUS_SMTP_PORT") or str(_SMTP_PORTS[tls])
    if not port.isdigit() or not 1 <= int(port) <= 65_535:
        raise InvalidInput(f"ISTHMUS_SMTP_PORT is “{port}”.", remedy="Set it to a number such as 587.")
    sender = environ.get("ISTHMUS_MAIL_FROM") or f"isthmus@{host}"
    if "@" not in sender or any(sign.isspace() for sign in sender):
        raise InvalidInput(f"ISTHMUS_MAIL_FROM is “{sender}”.", remedy="Set it to an address such as hub@example.com.")
    return MailServer(
        host=host,
        port=int(port),
        tls=msgspec.convert(tls, Literal["starttls", "tls", "none"]),
        user=environ.get("ISTHMUS_SMTP_USER") or None,
        password=environ.get("ISTHMUS_SMTP_PASSWORD") or None,
        ca_file=environ.get("ISTHMUS_SMTP_CA_FILE") or None,
        sender=sender,
    )


def _folder(text: str) -> Path | None:
    return Path(text).expanduser().resolve() if text else None


def _number(name: str, text: str, least: float, most: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not least <= number <= most:
        raise InvalidInput(f"{name} is “{text}”.", remedy=f"Set it to a number from {least:g} to {most:g}.")
    return number
