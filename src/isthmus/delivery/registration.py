"""Setting destinations up: checked before they are stored, secrets sealed and shown once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from isthmus.delivery.ports import Destination, DestinationKind
from isthmus.delivery.signing import new_secret
from isthmus.delivery.stored import Sealer, described, open_signing_secrets, seal_signing_secrets
from isthmus.delivery.target import check_target
from isthmus.kernel.event_types import EVENT_TYPES, RECORDS_CHANGED
from isthmus.kernel.failures import InvalidInput
from isthmus.kernel.ids import new_id
from isthmus.store import destinations
from isthmus.store.database import Database
from isthmus.store.feed import FeedFilter


class Registered(msgspec.Struct, frozen=True, kw_only=True):
    """A new webhook and its signing secret, which is shown this once."""

    destination: Destination
    secret: str

    def __repr__(self) -> str:
        return f"Registered({self.destination.id})"


async def register_webhook(
    db: Database,
    project_id: UUID,
    sealer: Sealer,
    *,
    name: str,
    url: str,
    development: bool = False,
    wanted: FeedFilter | None = None,
    after: int = 0,
    secret: str | None = None,
    bytes_max: int | None = None,
) -> Registered:
    """A webhook that gets what comes after number `after`. `secret` is the receiver's own, else one is made;
    `bytes_max` the largest body that it takes, when it is not the usual one.

    Raises InvalidInput for an address that must not be delivered to, an unusable secret, an unknown type of event, or a
    name that is taken.
    """
    check_target(url, development=development)
    check_wanted(wanted)
    kept = {"development": development}  # for code of schema 0013 and older, which looks for it here
    destination_id, chosen = new_id(), secret or new_secret()
    sealed = seal_signing_secrets(sealer, destination_id, [chosen])
    async with db.project(project_id) as tx:
        row = await destinations.create(
            tx,
            destination_id=destination_id,
            kind=DestinationKind.WEBHOOK.value,
            name=name,
            url=url,
            secret_sealed=sealed,
            filter=_stored(wanted),
            settings=kept if bytes_max is None else {**kept, "bytes_max": bytes_max},
            cursor=after,
        )
    return Registered(destination=described(row), secret=chosen)


def folder_below(files: Path, project_id: UUID, text: str) -> Path:
    """The folder that somebody without an account on the server may have written: below the project's own one in
    `files`. It is made when it is not there. Raises InvalidInput for any other.
    """
    own = files / str(project_id)
    try:
        place = (own / text.strip()).resolve()
        inside = bool(text.strip()) and text.isprintable() and place.is_relative_to(own.resolve())
        if inside:
            place.mkdir(parents=True, exist_ok=True, mode=0o750)
    except (OSError, ValueError) as error:
        raise _no_place(own, text) from error
    if not inside:
        raise _no_place(own, text)
    return place


def _no_place(own: Path, text: str) -> InvalidInput:
    return InvalidInput(
        f"Files cannot be written to “{text[:200]}”.",
        remedy=f"Name a folder below {own}, such as changes/customers.",
        subject="folder",
    )


async def register_folder(
    db: Database, project_id: UUID, *, name: str, folder: Path, wanted: FeedFilter | None = None, after: int = 0
) -> Destination:
    """A folder that gets the changes after number `after` as JSONL files. Raises InvalidInput when there is none."""
    check_wanted(wanted)
    place = _existing(folder)
    async with db.project(project_id) as tx:
        row = await destinations.create(
            tx, kind=DestinationKind.FILES.value, name=name, url=str(place), filter=_stored(wanted), cursor=after
        )
    return described(row)


def _existing(folder: Path) -> Path:
    place = folder.resolve()
    if not place.is_dir():
        raise InvalidInput(f"There is no folder {place}.", remedy="Create it first.", subject="folder")
    return place


def check_wanted(wanted: FeedFilter | None) -> None:
    """Raises InvalidInput for a type of event that does not exist."""
    known = [RECORDS_CHANGED, *EVENT_TYPES]
    for name in (wanted.events if wanted is not None else None) or ():
        if name not in known:
            nearest = get_close_matches(name, known, 3)
            raise InvalidInput(
                f"There is no type of event “{name[:100]}”.",
                remedy=f"Did you mean {' or '.join(nearest)}?" if nearest else f"Choose of: {', '.join(known)}.",
                subject="events",
            )


def adjusted_filter(stored: dict[str, Any], chosen: Mapping[str, Sequence[str] | None]) -> dict[str, Any]:
    """A destination's filter with other values for some of its members; None and nothing chosen mean all."""
    kept = {name: value for name, value in stored.items() if name not in chosen}
    kept |= {name: list(values) for name, values in chosen.items() if values}
    check_wanted(msgspec.convert(kept, FeedFilter))
    return kept


async def rotate_secret(db: Database, project_id: UUID, sealer: Sealer, destination_id: UUID) -> str:
    """A new signing secret beside the one in use; both sign until the next rotation. Shown this once."""
    fresh = new_secret()
    async with db.project(project_id) as tx:
        row = await destinations.get(tx, destination_id)
        in_use = open_signing_secrets(sealer, destination_id, row.secret_sealed) if row.secret_sealed else ()
        await destinations.set_secret(
            tx, destination_id, seal_signing_secrets(sealer, destination_id, [fresh, *in_use[:1]])
        )
    return fresh


def _stored(wanted: FeedFilter | None) -> dict[str, object]:
    """The filter as it is kept: only what was chosen."""
    chosen: dict[str, object] = msgspec.to_builtins(wanted or FeedFilter())
    return {name: value for name, value in chosen.items() if value is not None}
