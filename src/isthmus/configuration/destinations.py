"""Destinations: what the file asks for against what there is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from isthmus.configuration.ground import Ground
from isthmus.configuration.loading import Loaded
from isthmus.configuration.shape import DestinationPart
from isthmus.configuration.steps import Difference, Shown, Sign, Step, additions, counted, differences
from isthmus.delivery.registration import register_folder, register_webhook
from isthmus.delivery.signing import check_secret
from isthmus.delivery.stored import open_signing_secrets, seal_signing_secrets
from isthmus.delivery.target import check_target
from isthmus.kernel.failures import InvalidInput
from isthmus.kernel.limits import DELIVERY_BATCH_BYTES_MAX
from isthmus.store import destinations, feed
from isthmus.store.feed import FeedFilter
from isthmus.store.rows import ChangeKind, Destination
from isthmus.transport.redaction import redact_url

KIND = "destination"
PAUSED = "paused by isthmus.yaml"

_FILTERS = ("objects", "companies", "kinds", "events")


async def plan_destinations(ground: Ground, loaded: Loaded) -> list[Step]:
    """The steps for the section, or none when the file does not have it. Raises Mistaken."""
    wanted = loaded.configuration.destinations
    if not isinstance(wanted, dict):
        return []
    async with ground.db.project(ground.project.id) as tx:
        present = {each.name: each for each in await destinations.every(tx)}
        head = await feed.head(tx)
        letters = {each.id: len(await destinations.dead_letters(tx, each.id)) for each in present.values()}
    steps: list[Step] = []
    kept: set[UUID] = set()
    for name, part in wanted.items():
        _check_address(ground, loaded, name, part)
        row = present.get(name)
        if row is None and isinstance(part.was, str):
            row = present.get(part.was)
        if row is None:
            steps.append(_added(ground, loaded, name, part))
            continue
        kept.add(row.id)
        if row.kind != ("webhook" if isinstance(part.webhook, str) else "files"):
            raise loaded.refused(
                loaded.places.name("destinations", name),
                f"“{name}” is a {'webhook' if row.kind == 'webhook' else 'folder'} and cannot become the other kind.",
                "Give the new one another name; the old one goes with --destroy.",
            )
        step = _changed(ground, loaded, name, part, row)
        if step is not None:
            steps.append(step)
    gone = [row for row in present.values() if row.id not in kept]
    return steps + [_removed(ground, row, head, letters[row.id]) for row in gone]


def _check_address(ground: Ground, loaded: Loaded, name: str, part: DestinationPart) -> None:
    if isinstance(part.webhook, str):
        try:
            check_target(part.webhook, development=ground.development)
        except InvalidInput as failure:
            spot = loaded.places.value("destinations", name, "webhook")
            raise loaded.refused(spot, failure.message, failure.remedy) from failure
    elif isinstance(part.folder, str) and not (loaded.folder / part.folder).is_dir():
        spot = loaded.places.value("destinations", name, "folder")
        raise loaded.refused(spot, f"There is no folder {loaded.folder / part.folder}.", "Create it first.")


def _filter(part: DestinationPart) -> dict[str, Any]:
    """The filter as it is kept: only what was chosen."""
    wanted = {
        "objects": part.objects if isinstance(part.objects, list) else None,
        "companies": part.companies if isinstance(part.companies, list) else None,
        "kinds": part.kinds if isinstance(part.kinds, list) else None,
        "events": part.events if isinstance(part.events, list) else None,
    }
    return {name: value for name, value in wanted.items() if value}


def _address(loaded: Loaded, part: DestinationPart) -> str:
    if isinstance(part.webhook, str):
        return part.webhook
    return str((loaded.folder / str(part.folder)).resolve())


def _added(ground: Ground, loaded: Loaded, name: str, part: DestinationPart) -> Step:
    address = _address(loaded, part)
    kinds = tuple(ChangeKind(each) for each in part.kinds) if isinstance(part.kinds, list) else None
    chosen = FeedFilter(
        objects=tuple(part.objects) if isinstance(part.objects, list) else None,
        companies=tuple(part.companies) if isinstance(part.companies, list) else None,
        kinds=kinds,
        events=tuple(part.events) if isinstance(part.events, list) else None,
    )

    async def perform() -> Sequence[Shown]:
        after = 0
        if part.start == "now":
            async with ground.db.project(ground.project.id) as tx:
                after = await feed.head(tx)
        shown: list[Shown] = []
        if isinstance(part.webhook, str):
            registered = await register_webhook(
                ground.db,
                ground.project.id,
                ground.keyring,
                name=name,
                url=address,
                development=ground.development,
                wanted=chosen,
                after=after,
                secret=part.secret if isinstance(part.secret, str) else None,
                bytes_max=part.payload_bytes if isinstance(part.payload_bytes, int) else None,
            )
            made = registered.destination.id
            if not isinstance(part.secret, str):
                shown.append(Shown(label=f"Signing secret of {name}, shown only now", value=registered.secret))
        else:
            folder = await register_folder(
                ground.db, ground.project.id, name=name, folder=Path(address), wanted=chosen, after=after
            )
            made = folder.id
        if part.paused is True:
            async with ground.db.project(ground.project.id) as tx:
                await destinations.pause(tx, made, PAUSED)
        return shown

    what = "webhook" if isinstance(part.webhook, str) else "folder"
    listed = additions(
        [
            (what, _shown(address)),
            *_filter(part).items(),
            ("payload_bytes", part.payload_bytes if isinstance(part.payload_bytes, int) else None),
            ("start", part.start),
            ("paused", part.paused is True or None),
        ]
    )
    return Step(sign=Sign.ADD, kind=KIND, name=name, act="destination.create", perform=perform, differences=listed)


def _changed(ground: Ground, loaded: Loaded, name: str, part: DestinationPart, row: Destination) -> Step | None:
    address, wanted = _address(loaded, part), _filter(part)
    foreign = {key: value for key, value in row.filter.items() if key not in _FILTERS}
    secret_differs = isinstance(part.secret, str) and not _signs_with(ground, row, part.secret)
    pause_differs = isinstance(part.paused, bool) and bool(row.paused) != part.paused
    bytes_now = row.settings.get("bytes_max") or DELIVERY_BATCH_BYTES_MAX
    bytes_max = part.payload_bytes if isinstance(part.payload_bytes, int) else bytes_now
    found = differences(
        [
            ("name", row.name, name),
            ("webhook" if row.kind == "webhook" else "folder", _shown(row.url), _shown(address)),
            *((key, _plain(row.filter.get(key)), _plain(wanted.get(key))) for key in _FILTERS),
            ("payload_bytes", bytes_now, bytes_max),
        ]
    )
    if secret_differs:
        found += (Difference(name="secret", before="the one before", after="another one; both sign until it changes"),)
    if pause_differs:
        found += differences([("paused", bool(row.paused), part.paused)])
    if not found:
        return None

    async def perform() -> Sequence[Shown]:
        async with ground.db.project(ground.project.id) as tx:
            changed = {"bytes_max": bytes_max} if bytes_max != bytes_now else None
            await destinations.change(
                tx, row.id, name=name, url=address, filter={**foreign, **wanted}, settings=changed
            )
            if secret_differs and isinstance(part.secret, str):
                known = open_signing_secrets(ground.keyring, row.id, row.secret_sealed) if row.secret_sealed else ()
                sealed = seal_signing_secrets(ground.keyring, row.id, [check_secret(part.secret), *known[:1]])
                await destinations.set_secret(tx, row.id, sealed)
            if pause_differs and part.paused is True:
                await destinations.pause(tx, row.id, PAUSED)
            elif pause_differs:
                await destinations.resume(tx, row.id)
        return []

    return Step(sign=Sign.CHANGE, kind=KIND, name=name, act="destination.change", perform=perform, differences=found)


def _signs_with(ground: Ground, row: Destination, secret: str) -> bool:
    if row.secret_sealed is None:
        return False
    return open_signing_secrets(ground.keyring, row.id, row.secret_sealed)[:1] == (secret,)


def _shown(address: str) -> str:
    """An address without what may be secret in it."""
    return redact_url(address) if "://" in address else address


def _plain(value: Any) -> list[str] | None:
    return sorted(str(each) for each in value) if value else None


def _removed(ground: Ground, row: Destination, head: int, letters: int) -> Step:
    async def perform() -> Sequence[Shown]:
        async with ground.db.project(ground.project.id) as tx:
            await destinations.delete(tx, row.id)
        return []

    behind = max(0, head - row.cursor)
    parts = [f"{counted(behind, 'number')} of the feed not delivered yet"] if behind else []
    parts += [counted(letters, "dead letter")] if letters else []
    loses = " and ".join(parts) or "its place in the feed and its signing secret"
    return Step(
        sign=Sign.REMOVE,
        kind=KIND,
        name=row.name,
        act="destination.delete",
        perform=perform,
        loses=loses,
        unnamed=True,
    )
