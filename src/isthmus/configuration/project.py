"""Settings of the project itself: how long things are kept, the proxy's limits, who is told, the connect pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from isthmus.configuration.ground import Ground
from isthmus.configuration.loading import Loaded
from isthmus.configuration.shape import ConnectPagePart, NoticePart, ProjectPart, ProxyLimitsPart, given
from isthmus.configuration.steps import Shown, Sign, Step, additions, counted, differences
from isthmus.connections.integrations import LOGO_BYTES_MAX, usable_page
from isthmus.kernel.failures import InvalidInput
from isthmus.store import integrations, notices, proxy_limits, retention
from isthmus.store.integrations import ConnectPage


async def plan_project(ground: Ground, loaded: Loaded) -> list[Step]:
    """The steps for the section, or none when the file does not have it. Raises Mistaken."""
    part = loaded.configuration.project
    if not isinstance(part, ProjectPart):
        return []
    steps: list[Step] = []
    if isinstance(part.retention, dict):
        steps += await _retention(ground, part.retention)
    if isinstance(part.proxy_limits, ProxyLimitsPart):
        steps += await _proxy_limits(ground, part.proxy_limits)
    if isinstance(part.notices, dict):
        steps += await _notices(ground, loaded, part.notices)
    if isinstance(part.connect_page, ConnectPagePart):
        steps += await _connect_page(ground, loaded, part.connect_page)
    return steps


async def _retention(ground: Ground, wanted: Mapping[str, int | str]) -> list[Step]:
    async with ground.db.project(ground.project.id) as tx:
        before = (await retention.settings(tx)).days
    days = {name: value if isinstance(value, int) else None for name, value in wanted.items()}
    found = differences([(name, _days(before[name]), _days(value)) for name, value in days.items()])
    forever = retention.DAYS_MAX + 1
    shorter = [name for name, value in days.items() if (value or forever) < (before[name] or forever)]
    if not found:
        return []

    async def perform() -> Sequence[Shown]:
        async with ground.db.project(ground.project.id) as tx:
            await retention.change(tx, days)
        return []

    loses = f"what is older: {', '.join(f'{name} beyond {_days(days[name])}' for name in shorter)}" if shorter else None
    return [
        Step(
            sign=Sign.CHANGE, kind="retention", name=ground.project.name, act="retention.change", perform=perform,
            differences=found, loses=loses,
        )
    ]  # fmt: skip


async def _proxy_limits(ground: Ground, part: ProxyLimitsPart) -> list[Step]:
    async with ground.db.project(ground.project.id) as tx:
        before = await proxy_limits.get(tx)
    wanted = {name: value for name, value in msgspec.structs.asdict(part).items() if given(value)}
    found = differences([(name, f"{getattr(before, name):,.15g}", f"{value:,.15g}") for name, value in wanted.items()])
    if not found:
        return []

    async def perform() -> Sequence[Shown]:
        async with ground.db.project(ground.project.id) as tx:
            await proxy_limits.save(tx, msgspec.structs.replace(await proxy_limits.get(tx), **wanted))
        return []

    name = ground.project.name
    return [
        Step(
            sign=Sign.CHANGE, kind="proxy limits", name=name, act="proxy.limits", perform=perform, differences=found
        )
    ]  # fmt: skip


def _days(value: int | None) -> str:
    return "for ever" if value is None else counted(value, "day")


async def _notices(ground: Ground, loaded: Loaded, wanted: dict[str, NoticePart | None]) -> list[Step]:
    async with ground.db.project(ground.project.id) as tx:
        present = {each.address: each for each in await notices.addresses(tx)}
    steps: list[Step] = []
    for address, part in wanted.items():
        kinds = part.kinds if part is not None and isinstance(part.kinds, list) else []
        _check_notice(loaded, address, kinds)
        row = present.pop(address, None)
        before = sorted(row.kinds) if row else []
        if row is None or before != sorted(set(kinds)):
            steps.append(_told(ground, address, row.id if row else None, before, sorted(set(kinds))))
    return steps + [_untold(ground, each.address, each.id) for each in present.values()]


def _check_notice(loaded: Loaded, address: str, kinds: Sequence[str]) -> None:
    path = ("project", "notices", address)
    try:
        notices.checked_address(address)
    except InvalidInput as failure:
        raise loaded.refused(loaded.places.name(*path), failure.message, failure.remedy) from failure
    try:
        notices.checked_kinds(kinds)
    except InvalidInput as failure:
        raise loaded.refused(loaded.places.value(*path, "kinds"), failure.message, failure.remedy) from failure


def _told(ground: Ground, address: str, known: UUID | None, before: list[str], kinds: list[str]) -> Step:
    async def perform() -> Sequence[Shown]:
        async with ground.db.project(ground.project.id) as tx:
            if known is None:
                await notices.add_address(tx, address, kinds)
            else:
                await notices.change_address(tx, known, kinds)
        return []

    if known is None:
        listed = additions([("kinds", kinds or "all")])
        return Step(
            sign=Sign.ADD, kind="notice address", name=address, act="notice_address.add", perform=perform,
            differences=listed,
        )  # fmt: skip
    found = differences([("kinds", before or "all", kinds or "all")])
    return Step(
        sign=Sign.CHANGE, kind="notice address", name=address, act="notice_address.change", perform=perform,
        differences=found,
    )  # fmt: skip


def _untold(ground: Ground, address: str, address_id: UUID) -> Step:
    async def perform() -> Sequence[Shown]:
        async with ground.db.project(ground.project.id) as tx:
            await notices.remove_address(tx, address_id)
        return []

    return Step(
        sign=Sign.REMOVE,
        kind="notice address",
        name=address,
        act="notice_address.remove",
        perform=perform,
        loses="the notices it would get from now on",
        unnamed=True,
    )


async def _connect_page(ground: Ground, loaded: Loaded, part: ConnectPagePart) -> list[Step]:
    async with ground.db.project(ground.project.id) as tx:
        before = await integrations.connect_page(tx)
    wished = ConnectPage(
        host_name=part.host_name,
        accent=part.accent,
        logo=_logo(loaded, part.logo) if isinstance(part.logo, str) else before.logo,
        support=part.support,
        privacy_url=part.privacy_url,
        allowed_origins=part.allowed_origins if isinstance(part.allowed_origins, list) else [],
    )
    path = ("project", "connect_page")
    try:
        after = usable_page(wished, development=ground.development)
    except InvalidInput as failure:
        known = failure.subject in ConnectPagePart.__struct_fields__
        spot = loaded.places.value(*path, str(failure.subject)) if known else loaded.places.name(*path)
        raise loaded.refused(spot, failure.message, failure.remedy) from failure
    found = differences(
        [
            (name, _words_of(getattr(before, name)), _words_of(getattr(after, name)))
            for name in ("host_name", "accent", "support", "privacy_url", "allowed_origins", "logo")
        ]
    )
    if msgspec.structs.replace(before, logo_type=after.logo_type) == after:
        return []

    async def perform() -> Sequence[Shown]:
        async with ground.db.project(ground.project.id) as tx:
            await integrations.save_connect_page(tx, after)
        return []

    return [
        Step(
            sign=Sign.CHANGE,
            kind="connect page",
            name=ground.project.name,
            act="connect_page.change",
            perform=perform,
            differences=found,
        )
    ]


def _logo(loaded: Loaded, name: str) -> bytes:
    place = loaded.folder / Path(name)
    try:
        with place.open("rb") as file:
            return file.read(LOGO_BYTES_MAX + 1)
    except OSError as error:
        spot = loaded.places.value("project", "connect_page", "logo")
        raise loaded.refused(spot, f"{place}: {error.strerror}.", "Name a picture next to this file.") from error


def _words_of(value: Any) -> Any:
    if isinstance(value, bytes):
        return counted(len(value), "byte")
    return value or None
