"""`isthmus doctor`: what an installation needs, one finding each, with what to do about it."""

from __future__ import annotations

import platform
import shutil
import sys
from typing import TYPE_CHECKING

import msgspec

from isthmus.cli.remedies import remedy_of
from isthmus.kernel.failures import Failure
from isthmus.settings import Settings

if TYPE_CHECKING:
    from isthmus.app import Hub

FREE_BYTES_MIN = 1_000_000_000
"""Below a gigabyte a first load may fill the disk."""


class Examined(msgspec.Struct, frozen=True, kw_only=True):
    """One finding."""

    title: str
    passed: bool
    detail: str
    remedy: str = ""


async def examine(settings: Settings) -> list[Examined]:
    """All findings, those that need nothing first. Stops where the rest cannot be examined."""
    findings = [_python(), _folder(settings)]
    if not all(each.passed for each in findings):
        return findings
    return findings + await _hub(settings)


def _python() -> Examined:
    return Examined(
        title="Python is new enough",
        passed=sys.version_info >= (3, 11),
        detail=f"{platform.python_version()} on {platform.system()}",
        remedy="" if sys.version_info >= (3, 11) else "Install Python 3.11 or newer.",
    )


def _folder(settings: Settings) -> Examined:
    title = "The data folder can be used"
    try:
        settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe = settings.home / ".doctor"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        return Examined(
            title=title,
            passed=False,
            detail=f"{settings.home}: {error.strerror}",
            remedy="Set ISTHMUS_HOME to a folder that you may write to.",
        )
    free = shutil.disk_usage(settings.home).free
    enough = free >= FREE_BYTES_MIN
    return Examined(
        title=title,
        passed=enough,
        detail=f"{settings.home}, {free / 1e9:,.1f} GB free",
        remedy="" if enough else "Free some disk space, or set ISTHMUS_HOME to another disk.",
    )


async def _hub(settings: Settings) -> list[Examined]:
    from isthmus.app import Hub
    from isthmus.store import connections
    from isthmus.store.postmaster import died

    where = "given by ISTHMUS_DATABASE_URL" if settings.database_url else "embedded"
    findings: list[Examined] = []
    if settings.database_url is None and died(settings.postgres_dir):
        where += ". It had stopped; I started it"
    try:
        async with Hub.open(settings) as hub:
            async with hub.db.project(hub.project.id) as tx:
                version = await tx.value("SHOW server_version")
                every = await connections.every(tx)
            findings.append(
                Examined(title="The database answers", passed=True, detail=f"PostgreSQL {version}, {where}")
            )
            if settings.database_url is None:
                findings.append(_doors(settings))
            findings.append(Examined(title="The master key opens the project's secrets", passed=True, detail=""))
            findings += await _in_need(hub)
            findings += [
                Examined(title=f"Connection {each.name}", passed=True, detail=each.state)
                for each in every
                if each.state == "connected"
            ]
    except Failure as failure:
        title = _what_failed(failure, settings)
        findings.append(Examined(title=title, passed=False, detail=failure.message, remedy=remedy_of(failure)))
    return findings


def _what_failed(failure: Failure, settings: Settings) -> str:
    if "master" in failure.code:
        return "The master key opens the project's secrets"
    return "The project is there" if failure.subject == settings.project else "The database answers"


async def _in_need(hub: Hub) -> list[Examined]:
    """Every trouble of the project as a finding, with its command."""
    from isthmus.cli.troubles import troubles

    return [
        Examined(title=each.title, passed=False, detail=each.reason, remedy=f"{each.remedy}\n{each.command}".strip())
        for each in await troubles(hub)
    ]


def _doors(settings: Settings) -> Examined:
    from isthmus.store.local_access import open_doors

    found = open_doors(settings.postgres_dir)
    return Examined(
        title="The embedded database is closed to other users of this machine",
        passed=not found,
        detail="; ".join(found) or "only the user that runs isthmus may log in",
        remedy=""
        if not found
        else "Put the line `local all all peer map=isthmus` in its place; close the folder with "
        "chmod 700. A start of isthmus does both for files that it has written.",
    )
