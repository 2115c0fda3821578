"""Integrations: providers as the file sets them up, against what there is. Secrets are compared, never shown."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from isthmus.auth.entra.clouds import SHARED_TENANTS, Cloud
from isthmus.configuration.ground import Ground, NoJournal
from isthmus.configuration.loading import Loaded
from isthmus.configuration.shape import IntegrationPart
from isthmus.configuration.steps import AUTHOR, Difference, Shown, Sign, Step, additions, counted, differences
from isthmus.connections.credentials import CertificateFile, NewSecret
from isthmus.connections.given import cloud_named, given_secret
from isthmus.connections.host_app import in_use
from isthmus.connections.integrations import (
    IntegrationWish,
    SharedObject,
    cloud_of_integration,
    remarks_of,
    remarks_on_objects,
    shared_objects,
    usual_modes,
)
from isthmus.kernel.failures import CredentialFailure, Failure, InvalidInput
from isthmus.store import default_syncs, integrations
from isthmus.store.integrations import Integration

KIND: Final = "integration"


async def plan_integrations(ground: Ground, loaded: Loaded, remarks: list[str]) -> list[Step]:
    """The steps for the section, or none when the file does not have it. Raises Mistaken.

    `remarks` grows by what is allowed and yet leads customers nowhere.
    """
    wanted = loaded.configuration.integrations
    if not isinstance(wanted, dict):
        return []
    async with ground.db.project(ground.project.id) as tx:
        present = {each.name: each for each in await integrations.every(tx)}
        defaults = {each.id: await default_syncs.get(tx, each.id) for each in present.values()}
        used = await integrations.connections_by_integration(tx)
    steps: list[Step] = []
    left = dict(present)
    for name, part in wanted.items():
        one = _One(ground, loaded, name, part)
        remarks += [f"integration {name}: {each}" for each in one.remarks()]
        row = left.pop(name, None)
        if row is None and isinstance(part.was, str):
            row = left.pop(part.was, None)
        step = one.added() if row is None else one.changed(row, defaults[row.id])
        if step is not None:
            steps.append(step)
    return steps + [_removed(ground, row, used.get(row.id, 0)) for row in left.values()]


class _One:
    """The step for one integration of the file."""

    def __init__(self, ground: Ground, loaded: Loaded, name: str, part: IntegrationPart) -> None:
        self._ground = ground
        self._loaded = loaded
        self._name = name
        self._part = part
        self._desk = ground.connect
        self._expires = _day(part.secret_expires)
        self._defaults: dict[str, Any] = msgspec.to_builtins(part.syncs) if isinstance(part.syncs, dict) else {}

    def remarks(self) -> list[str]:
        """What is allowed and yet leads customers nowhere."""
        wish = self._wish()
        return [
            *remarks_of(wish.tenant, list(wish.modes) or usual_modes(wish.client_id)),
            *remarks_on_objects(wish.provider, [each.object for each in wish.objects]),
        ]

    def added(self) -> Step:
        """It is not there yet."""
        wish, app = self._wish(), self._credentials()

        async def perform() -> Sequence[Shown]:
            try:
                made = await self._desk.integrations.create(wish, app, by=AUTHOR)
            except InvalidInput as failure:
                raise self._mistaken(failure) from failure
            await self._keep_defaults(made.id)
            return []

        listed = additions(
            [
                ("provider", wish.provider),
                ("client_id", wish.client_id),
                ("cloud", wish.cloud.name),
                ("tenant", wish.tenant or None),
                ("scopes", wish.scopes),
                ("modes", wish.modes or usual_modes(wish.client_id)),
                ("shares", [each.object for each in wish.objects]),
                ("secret", "as the file refers to it" if app is not None else None),
                ("reads by default", list(self._defaults)),
            ]
        )
        return Step(
            sign=Sign.ADD,
            kind=KIND,
            name=self._name,
            act="integration.create",
            perform=perform,
            differences=listed,
            noted=True,
        )

    def changed(self, row: Integration, defaults: dict[str, Any]) -> Step | None:
        """It is there; None when it is as asked for."""
        wish, app = self._wish(), self._credentials()
        found = differences(
            [
                ("name", row.name, self._name),
                ("provider", row.provider, wish.provider),
                ("client_id", row.client_id or None, wish.client_id or None),
                ("cloud", _cloud_words(cloud_of_integration(row)), _cloud_words(wish.cloud)),
                ("tenant", row.tenant or None, wish.tenant or None),
                ("scopes", sorted(row.scopes), sorted(wish.scopes)),
                ("modes", sorted(row.modes), sorted(wish.modes or usual_modes(wish.client_id))),
                ("shares", _shares(shared_objects(row)), _shares(wish.objects)),
            ]
        )
        if defaults != self._defaults:
            before, after = (", ".join(sorted(each)) or None for each in (defaults, self._defaults))
            found += (Difference(name="reads by default", before=before, after=after),)
        fresh = app is not None and not self._proves(row, app)
        if fresh:
            found += (Difference(name="secret", before="the one before", after="another one"),)
        dated = self._expires is not None and not isinstance(self._part.certificate, str)  # which says so itself
        redated = dated and row.secret_expires_at != self._expires
        if redated and not fresh:
            found += differences([("secret_expires", _date(row.secret_expires_at), _date(self._expires))])
        if not found:
            return None

        async def perform() -> Sequence[Shown]:
            try:
                another_app = row.client_id != wish.client_id
                if app is not None and fresh and not another_app:  # tried first: what is refused changes nothing
                    await self._desk.app_secrets.replace(row.id, app, NoJournal(), by=AUTHOR)
                await self._desk.integrations.replace(row.id, wish, by=AUTHOR)
                if app is not None and another_app:
                    await self._desk.app_secrets.replace(row.id, app, NoJournal(), by=AUTHOR)
                elif redated and not fresh:
                    await self._desk.app_secrets.set_expiry(row.id, self._expires, by=AUTHOR)
                if defaults != self._defaults:
                    await self._keep_defaults(row.id)
            except InvalidInput as failure:
                raise self._mistaken(failure) from failure
            except CredentialFailure as failure:
                raise self._mistaken(failure, "client_secret" if app and app.secret else "certificate") from failure
            return []

        return Step(
            sign=Sign.CHANGE,
            kind=KIND,
            name=self._name,
            act="integration.change",
            perform=perform,
            differences=found,
            noted=True,
        )

    async def _keep_defaults(self, integration_id: UUID) -> None:
        """What connections read that are made later; the steps for syncs look after those that are there."""
        async with self._ground.db.project(self._ground.project.id) as tx:
            await default_syncs.replace(tx, integration_id, self._defaults)

    def _wish(self) -> IntegrationWish:
        part = self._part
        shared = part.objects if isinstance(part.objects, dict) else {}
        return IntegrationWish(
            name=self._name,
            cloud=self._cloud(),
            provider=part.provider,
            client_id=part.client_id,
            scopes=part.scopes if isinstance(part.scopes, list) else (),
            objects=[
                SharedObject(object=name, reason=each.reason, access=each.access, title=each.title)
                for name, each in shared.items()
            ],
            modes=part.modes if isinstance(part.modes, list) else (),
            tenant="" if part.tenant in SHARED_TENANTS else part.tenant.strip(),
        )

    def _cloud(self) -> Cloud:
        try:
            return cloud_named(self._part.cloud, self._ground.settings.home)
        except InvalidInput as failure:
            raise self._mistaken(failure, "cloud") from failure

    def _credentials(self) -> NewSecret | None:
        """What the file refers to; None when it refers to nothing, and what is there stays."""
        part = self._part
        if isinstance(part.client_secret, str):
            return NewSecret(secret=given_secret(part.client_secret), ends_at=self._expires)
        if isinstance(part.certificate, str):
            return NewSecret(certificate=CertificateFile(content=part.certificate.encode(), password=None))
        return None

    def _proves(self, row: Integration, app: NewSecret) -> bool:
        """Whether the app's secret is the one that is kept."""
        kept = in_use(self._ground.keyring, row)
        if kept is None or row.client_id != self._part.client_id:
            return False
        if app.secret is not None and kept.secret is not None:
            return app.secret == kept.secret
        if app.certificate is not None and kept.certificate is not None:
            return app.certificate.content == kept.certificate.content
        return False

    def _mistaken(self, failure: Failure, field: str = "") -> Exception:
        path: tuple[str | int, ...] = ("integrations", self._name)
        named = field or failure.subject or ""
        spot = self._loaded.places.name(*path)
        if named in IntegrationPart.__struct_fields__:
            spot = self._loaded.places.value(*path, named)
        return self._loaded.refused(spot, failure.message, failure.remedy, tuple(failure.nearest))


def _removed(ground: Ground, row: Integration, used: int) -> Step:
    async def perform() -> Sequence[Shown]:
        async with ground.db.project(ground.project.id) as tx:
            await integrations.delete(tx, row.id)
        return []

    loses = "its secret and its connect sessions"
    if used:
        loses += f"; {counted(used, 'connection')} made through it stay, but nobody can connect anew"
    return Step(
        sign=Sign.REMOVE,
        kind=KIND,
        name=row.name,
        act="integration.delete",
        perform=perform,
        loses=loses,
        unnamed=True,
    )


def _shares(objects: Sequence[SharedObject]) -> list[str]:
    return sorted(
        f"{each.object} ({each.access}{': ' + each.title if each.title else ''}; {each.reason})" for each in objects
    )


def _cloud_words(cloud: Cloud) -> dict[str, Any]:
    return {key: value for key, value in msgspec.to_builtins(cloud).items() if key != "title"}


def _day(text: Any) -> datetime | None:
    return datetime.fromisoformat(text).replace(tzinfo=UTC) if isinstance(text, str) else None


def _date(moment: datetime | None) -> str | None:
    return moment.date().isoformat() if moment is not None else None
