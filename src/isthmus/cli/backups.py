"""`backup` and `restore`: the whole database in one file, and back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from isthmus.cli.options import Home, Json
from isthmus.cli.output import ago, counted, print_json, say
from isthmus.cli.progress import counting
from isthmus.cli.running import confirm, run, settings
from isthmus.kernel.failures import InvalidInput

if TYPE_CHECKING:
    from isthmus.settings import Settings
    from isthmus.store.backup import Manifest

_MEGABYTE = 1024 * 1024

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("backup")(backup)
    app.command("restore")(restore)


def backup(
    file: Annotated[Path, typer.Argument(help="Where to write it; never over a file that is there.")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Write everything into one file while all goes on working. The master key is not in it: keep that apart."""

    async def work() -> None:
        from isthmus.store.backup import write_backup

        loaded = settings(home)
        if loaded.database_url is None and not loaded.postgres_dir.exists():
            raise InvalidInput(f"There is nothing to back up in {loaded.home}.", remedy="Give its folder with --home.")
        async with database_url(loaded) as url:
            with counting("Writing", None) as advance:
                manifest = await write_backup(url, file.expanduser().absolute(), advance)
        if as_json:
            print_json(_plain(manifest, file))
            return
        size = manifest.dump_bytes / _MEGABYTE
        say(f"[green]✓[/] {counted(len(manifest.projects), 'project')} in {escape(str(file))} ({size:,.1f} MB).")
        say("[yellow]![/] The master key is not in it, and without it no stored secret can be opened again.")
        where = "The value of ISTHMUS_MASTER_KEY" if loaded.master_key else str(loaded.master_key_file)
        say(f"  {escape(where)} (id {', '.join(manifest.master_keys) or 'none'}) belongs in another safe place:")
        say("  a password manager or a key store, never beside the backup.")
        say("  Records and names are in the file in the clear: keep it as carefully as the database.")

    run(work)


def restore(
    file: Annotated[Path, typer.Argument(help="A file that `isthmus backup` made.")],
    replace: Annotated[bool, typer.Option("--replace", help="Throw away what the database holds now.")] = False,
    yes: Yes = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Bring a backup back, into an empty database. Writes, sign-ins and deliveries begin paused."""

    async def work() -> None:
        from isthmus.store import restoring
        from isthmus.store.backup import read_manifest

        loaded = settings(home)
        manifest = read_manifest(file)
        async with database_url(loaded) as url:
            if replace:
                present = await restoring.present(url)
                if not present.empty:
                    name = present.projects[0]
                    confirm(
                        f"The database holds {', '.join(present.projects[:5])}; all of it will be gone.", name, yes=yes
                    )
            with counting("Restoring", manifest.dump_bytes) as advance:
                await restoring.restore(url, file, datetime.now(UTC), replace=replace, on_bytes=advance)
        if as_json:
            print_json(_plain(manifest, file))
            return
        say(f"[green]✓[/] Restored what was backed up {ago(manifest.made_at)} ({manifest.made_at:%Y-%m-%d %H:%M} UTC).")
        _tell_of_keys(loaded, manifest)
        say("[yellow]![/] Writes, the renewal of sign-ins and deliveries are paused. Reading goes on.")
        say("  isthmus restored status      what may have happened since the backup")
        say("  isthmus restored reconcile   look it up, then be asked what may go on")

    run(work)


@asynccontextmanager
async def database_url(loaded: Settings) -> AsyncIterator[str]:
    """The address of the owner's login, with the embedded server started where it is used."""
    from isthmus.store.embedded import EmbeddedPostgres

    if loaded.database_url is not None:
        yield loaded.database_url
        return
    loaded.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    async with EmbeddedPostgres(loaded.postgres_dir) as server:
        yield server.url


def _tell_of_keys(loaded: Settings, manifest: Manifest) -> None:
    from isthmus.kernel.failures import MasterKeyMissing
    from isthmus.vault.masters import load_master_keys

    environment = loaded.other_master_keys
    if loaded.master_key:
        environment["ISTHMUS_MASTER_KEY"] = loaded.master_key
    try:
        known = set(load_master_keys(loaded.home, wrapped_keys_exist=True, environment=environment).ids)
    except MasterKeyMissing:
        known = set()
    for missing in sorted(set(manifest.master_keys) - known):
        say(f"[yellow]![/] Its secrets need master key {missing}, which is not here yet:")
        say(f"  put it into {escape(str(loaded.master_key_file))} (mode 600), or set ISTHMUS_MASTER_KEY.")


def _plain(manifest: Manifest, file: Path) -> dict[str, object]:
    return {
        "file": str(file),
        "backup_id": manifest.backup_id,
        "made_at": manifest.made_at,
        "schema": manifest.schema,
        "isthmus": manifest.isthmus,
        "bytes": manifest.dump_bytes,
        "sha256": manifest.dump_sha256,
        "master_keys": manifest.master_keys,
        "projects": [each.name for each in manifest.projects],
    }
