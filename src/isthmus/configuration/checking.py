"""What the types cannot tell: schedules that are none, a destination with two addresses, the same sync twice."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from urllib.parse import urlsplit

from isthmus.configuration.decoding import Places
from isthmus.configuration.document import Mistake, Spot, nearest
from isthmus.configuration.shape import (
    EVENT_NAMES,
    Configuration,
    DestinationPart,
    IntegrationPart,
    ProjectPart,
    SyncPart,
    given,
)
from isthmus.delivery.signing import check_secret
from isthmus.kernel.failures import InvalidInput
from isthmus.store.retention import KINDS
from isthmus.store.schedules import interval_s

Path = tuple[str | int, ...]


def check(configuration: Configuration, places: Places) -> list[Mistake]:
    """Every mistake of meaning."""
    found: list[Mistake] = []
    if isinstance(configuration.project, ProjectPart) and isinstance(configuration.project.retention, dict):
        found += _retention(configuration.project.retention, places)
    if isinstance(configuration.integrations, dict):
        for name, integration in configuration.integrations.items():
            found += _integration(integration, ("integrations", name), places)
        former = {name: integration.was for name, integration in configuration.integrations.items()}
        found += _renamings(former, ("integrations",), places)
    if isinstance(configuration.destinations, dict):
        for name, destination in configuration.destinations.items():
            found += _destination(destination, ("destinations", name), places)
        names = {name: destination.was for name, destination in configuration.destinations.items()}
        found += _renamings(names, ("destinations",), places)
    if isinstance(configuration.connections, dict):
        for name, connection in configuration.connections.items():
            if isinstance(connection.syncs, dict):
                found += _syncs(connection.syncs, ("connections", name, "syncs"), places)
    return found


def _retention(wanted: Mapping[str, int | str], places: Places) -> list[Mistake]:
    found = []
    known = {each.name: each for each in KINDS}
    for name, days in wanted.items():
        kind = known.get(name)
        path = ("project", "retention", name)
        if kind is None:
            near = nearest(name, list(known))
            message, remedy = f"There is nothing called “{name}” to keep.", f"Choose one of: {', '.join(known)}."
            found.append(Mistake(message=message, remedy=remedy, spot=places.name(*path), nearest=near))
        elif isinstance(days, int) and days < kind.days_min:
            message = f"“{name}” is kept for {kind.days_min} days at least."
            found.append(_mistake(places.value(*path), message, "Give more days."))
    return found


def _integration(part: IntegrationPart, path: Path, places: Places) -> list[Mistake]:
    found = []
    if given(part.client_secret) and given(part.certificate):
        words = "An app proves itself with a secret or with a certificate."
        found.append(_mistake(places.name(*path, "certificate"), words, "Give one of the two."))
    proof = next((name for name in ("client_secret", "certificate") if given(getattr(part, name))), None)
    if proof is not None and not part.client_id:
        words = f"“{proof}” without “client_id” proves nothing."
        found.append(_mistake(places.name(*path, proof), words, "Add `client_id: …`."))
    if isinstance(part.secret_expires, str):
        try:
            date.fromisoformat(part.secret_expires)
        except ValueError:
            words = f"“{part.secret_expires}” is no day."
            found.append(_mistake(places.value(*path, "secret_expires"), words, 'Write it as "2027-03-31".'))
        if proof is None:
            words = "There is no secret here that could end."
            found.append(_mistake(places.name(*path, "secret_expires"), words, "Add `client_secret: ${NAME}`."))
    if isinstance(part.syncs, dict):
        found += _syncs(part.syncs, (*path, "syncs"), places)
    return found


def _destination(part: DestinationPart, path: Path, places: Places) -> list[Mistake]:
    found = []
    if given(part.webhook) == given(part.folder):
        found.append(
            _mistake(places.name(*path), "A destination is a webhook or a folder.", "Give exactly one of the two.")
        )
    if isinstance(part.webhook, str) and "${" not in part.webhook:
        address = urlsplit(part.webhook)
        if address.scheme not in ("http", "https") or not address.hostname:
            found.append(
                _mistake(
                    places.value(*path, "webhook"),
                    f"“{part.webhook[:80]}” is no address.",
                    "Write an address such as https://app.example.com/hooks/isthmus.",
                )
            )
    for place, event in enumerate(part.events if isinstance(part.events, list) else []):
        if event not in EVENT_NAMES:
            near = nearest(event, EVENT_NAMES)
            remedy = f"Write {' or '.join(near)}." if near else f"Choose one of: {', '.join(EVENT_NAMES)}."
            spot = places.value(*path, "events", place)
            message = f"There is no type of event “{event}”."
            found.append(Mistake(message=message, remedy=remedy, spot=spot, nearest=near))
    if given(part.payload_bytes) and not given(part.webhook):
        words = "A folder takes records of any size."
        found.append(_mistake(places.name(*path, "payload_bytes"), words, "Remove `payload_bytes`."))
    if given(part.secret) and not given(part.webhook):
        found.append(_mistake(places.name(*path, "secret"), "A folder has no signing secret.", "Remove `secret`."))
    if isinstance(part.secret, str) and "${" not in part.secret and not part.secret.startswith("file:"):
        try:
            check_secret(part.secret)
        except InvalidInput as failure:
            found.append(_mistake(places.value(*path, "secret"), failure.message, failure.remedy))
    return found


def _renamings(was: Mapping[str, object], path: Path, places: Places) -> list[Mistake]:
    """An old name may not be another thing's name as well."""
    return [
        _mistake(
            places.value(*path, name, "was"),
            f"“{old}” is in this file under its own name.",
            "Remove `was`, or the other one.",
        )
        for name, old in was.items()
        if isinstance(old, str) and old in was
    ]


def _syncs(syncs: dict[str, SyncPart], path: Path, places: Places) -> list[Mistake]:
    found: list[Mistake] = []
    seen: dict[tuple[str, str], str] = {}
    for name, part in syncs.items():
        here = (*path, name)
        key = (object_of(name, part).casefold(), str(part.route) if given(part.route) else "")
        if key in seen:
            words = f"“{object_of(name, part)}” is read by “{seen[key]}” already."
            found.append(_mistake(places.name(*here), words, "Keep one of the two."))
        seen.setdefault(key, name)
        for field, text in (("schedule", part.schedule), ("deletions", part.deletions), ("refresh", part.refresh)):
            if isinstance(text, str) and text != "none":
                try:
                    interval_s(text)
                except InvalidInput as failure:
                    found.append(_mistake(places.value(*here, field), failure.message, failure.remedy))
    return found


def object_of(name: str, part: SyncPart) -> str:
    """The object that a sync reads."""
    return part.object if isinstance(part.object, str) else name


def _mistake(spot: Spot, message: str, remedy: str) -> Mistake:
    return Mistake(message=message, remedy=remedy, spot=spot)
