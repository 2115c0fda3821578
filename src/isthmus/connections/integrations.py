"""Integrations: a provider set up once for a project, what is shared through it and why, and how its pages look."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from enum import StrEnum
from typing import Any, Final, Literal
from urllib.parse import urlsplit
from uuid import UUID

import msgspec

from isthmus.auth.entra.clouds import SHARED_TENANTS, Cloud
from isthmus.auth.entra.scopes import SIGN_IN_SCOPES, delegated_scope
from isthmus.connections.credentials import AppCredentials, NewSecret
from isthmus.connections.host_app import in_use, seal_in_use, waiting
from isthmus.connections.keyring import Keyring
from isthmus.kernel.failures import InvalidInput
from isthmus.kernel.ids import new_id
from isthmus.providers.registry import provider_named
from isthmus.store import app_secrets, integrations
from isthmus.store.audit import Author
from isthmus.store.database import Database
from isthmus.store.integrations import ConnectPage, Integration

OBJECTS_MAX: Final = 50
REASON_CHARACTERS_MAX: Final = 300
ORIGINS_MAX: Final = 50
LOGO_BYTES_MAX: Final = 200 * 1024
HOST_NAME_CHARACTERS_MAX: Final = 80
ADDRESS_CHARACTERS_MAX: Final = 2_000

_LOGO_BEGINNINGS: Final = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
}
_ACCENT: Final = re.compile(r"#[0-9a-fA-F]{6}")
_WORDS: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class Mode(StrEnum):
    """A way to connect. The first two use the host's app, the others one that the customer has registered."""

    SIGN_IN = "sign_in"
    APP = "app"
    OWN_APP = "own_app"
    OWN_APP_SIGN_IN = "own_app_sign_in"


MODES: Final = {
    Mode.SIGN_IN: "A person signs in; the host's app works in their name.",
    Mode.APP: "The host's app works on its own, after an administrator has agreed for the organization.",
    Mode.OWN_APP: "The customer registers an app of their own, which works on its own.",
    Mode.OWN_APP_SIGN_IN: "The customer registers an app of their own, and a person signs in through it.",
}
"""Every way in words."""

HOSTS_OWN: Final = (Mode.SIGN_IN, Mode.APP)
"""Ways that need the host's own app."""


class SharedObject(msgspec.Struct, frozen=True, kw_only=True):
    """What a consumer shares: an object, whether it is only read, and why, in plain words."""

    object: str
    reason: str
    access: Literal["read", "write"] = "read"
    title: str = ""

    @property
    def shown(self) -> str:
        """How people call it: `salesInvoices` is “Sales invoices”."""
        return self.title or plain_title(self.object)


class IntegrationWish(msgspec.Struct, frozen=True, kw_only=True):
    """An integration as it is given. Empty `modes` and `scopes` are the usual ones. `tenant` is for an app that Entra
    knows as one of a single organization."""

    name: str
    cloud: Cloud
    provider: str = "business_central"
    client_id: str = ""
    scopes: Sequence[str] = ()
    objects: Sequence[SharedObject] = ()
    modes: Sequence[str] = ()
    tenant: str = ""


class Integrations:
    """A project's integrations. Their secrets are replaced and staged by `app_secrets`."""

    def __init__(self, db: Database, keyring: Keyring, project_id: UUID) -> None:
        self._db = db
        self._keyring = keyring
        self._project_id = project_id

    async def create(self, wish: IntegrationWish, app: NewSecret | None = None, *, by: Author) -> Integration:
        """Keep an integration. `app` proves the host's own app: nobody has connected with it yet, so that it
        cannot be tried. Raises InvalidInput, Duplicate.
        """
        checked = _checked(wish)
        integration_id = new_id()
        async with self._db.project(self._project_id) as tx:
            await integrations.create(
                tx,
                provider=wish.provider,
                name=wish.name,
                client_id=wish.client_id,
                cloud=msgspec.to_builtins(wish.cloud),
                scopes=checked.scopes,
                objects=checked.objects,
                modes=checked.modes,
                integration_id=integration_id,
                tenant=checked.tenant,
            )
            if app is not None:
                if not wish.client_id:
                    raise InvalidInput("A secret needs the client id of its app.", subject="client_id")
                sealed = seal_in_use(self._keyring, integration_id, app)
                await app_secrets.put_in_use(tx, integration_id, secret_expires_at=app.expires_at, **sealed)
            await by.note(tx, "integration.create", integration_id, name=wish.name)
            return await integrations.get(tx, integration_id)

    async def replace(self, integration_id: UUID, wish: IntegrationWish, *, by: Author) -> Integration:
        """Everything but the secret, as it is given now. Connections keep what they sign in with.

        Another client id needs its own secret: the old one is forgotten then.
        """
        checked = _checked(wish)
        async with self._db.project(self._project_id) as tx:
            before = await integrations.get(tx, integration_id)
            if before.provider != wish.provider:
                raise InvalidInput("An integration keeps its provider.", remedy="Make a new integration.")
            if before.client_id != wish.client_id:
                await app_secrets.put_in_use(
                    tx, integration_id, secret_sealed=None, certificate_sealed=None, secret_expires_at=None
                )
            await by.note(tx, "integration.change", integration_id, name=wish.name)
            return await integrations.update(
                tx,
                integration_id,
                name=wish.name,
                client_id=wish.client_id,
                cloud=msgspec.to_builtins(wish.cloud),
                scopes=checked.scopes,
                objects=checked.objects,
                modes=checked.modes,
                tenant=checked.tenant,
            )

    def credentials(self, integration: Integration) -> AppCredentials:
        """What the host's app proves itself with. Raises InvalidInput when nobody has entered it."""
        found = in_use(self._keyring, integration)
        if found is None:
            raise InvalidInput(
                f"The integration “{integration.name}” has no secret for its app.",
                remedy="The people who run this service enter the client secret at the integration.",
            )
        return AppCredentials(
            client_id=integration.client_id,
            secret=found.secret,
            certificate=found.certificate,
            watched=True,
            staged=waiting(self._keyring, integration),
            staged_from=integration.staged_from,
        )


class _Checked(msgspec.Struct, frozen=True, kw_only=True):
    scopes: list[str]
    objects: list[dict[str, Any]]
    modes: list[str]
    tenant: str


def cloud_of_integration(integration: Integration) -> Cloud:
    """The integration's cloud, which is data of its own (OA-23)."""
    return msgspec.convert(integration.cloud, Cloud)


def shared_objects(integration: Integration) -> list[SharedObject]:
    """What its consumers share."""
    return msgspec.convert(integration.objects, list[SharedObject])


def usual_modes(client_id: str) -> list[str]:
    """The ways that are offered when nobody says which."""
    return [Mode.SIGN_IN.value, Mode.OWN_APP.value] if client_id else [Mode.OWN_APP.value, Mode.OWN_APP_SIGN_IN.value]


def remarks_of(tenant: str, modes: Iterable[str]) -> list[str]:
    """What is allowed and yet leads customers nowhere (OA-58, AADSTS50020 and 700016: nobody comes back)."""
    own = [mode for mode in HOSTS_OWN if mode.value in modes]
    if not tenant or not own:
        return []
    return [
        f"The app serves the organization {tenant} only. Customers of every other organization end at Microsoft, with "
        f"AADSTS50020 or AADSTS700016, and do not come back. If they are to use it ({', '.join(own)}), let Entra "
        "accept any organizational directory for the app and leave the tenant out; or offer only the ways that use an "
        "app of the customer's own."
    ]


def remarks_on_objects(provider: str, names: Iterable[str]) -> list[str]:
    """What is allowed and yet stops customers: an object to share that the check of a connect session cannot find.

    A custom API may have names of its own, and a newer version of the vendor's brings more: so it is said, not refused.
    """
    declaration = provider_named(provider).declaration
    standard = {each.casefold(): each for each in declaration.standard_objects}
    remarks = []
    for name in names if standard else ():
        if name.casefold() in standard:
            continue
        near = [standard[each] for each in get_close_matches(name.casefold(), standard, n=1, cutoff=0.6)]
        meant = f" Did you mean “{near[0]}”?" if near else ""
        remarks.append(
            f"“{name}” is no standard object of {declaration.title}.{meant} Where a customer's system does not offer "
            "it, nobody can finish connecting: correct the name, or leave it out of what is shared."
        )
    return remarks


def plain_title(name: str) -> str:
    """An object's name as words: `salesInvoices` is “Sales invoices”."""
    words = _WORDS.sub(" ", name).replace("_", " ").lower()
    return words[:1].upper() + words[1:]


def usable_page(page: ConnectPage, *, development: bool) -> ConnectPage:
    """A connect page's settings, checked. Raises InvalidInput, which names the field.

    Origins are `https://host[:port]`; development projects may use http.
    """
    if len(page.host_name) > HOST_NAME_CHARACTERS_MAX or not page.host_name.isprintable():
        raise InvalidInput(f"The host's name has at most {HOST_NAME_CHARACTERS_MAX} characters.", subject="host_name")
    if page.accent and not _ACCENT.fullmatch(page.accent):
        raise InvalidInput("The accent colour is no colour.", remedy="Write it as #0a6552.", subject="accent")
    if len(page.allowed_origins) > ORIGINS_MAX:
        raise InvalidInput(f"There can be {ORIGINS_MAX} allowed origins.", subject="allowed_origins")
    origins = [usable_origin(each, development=development) for each in page.allowed_origins]
    if page.privacy_url:
        usable_origin(page.privacy_url, development=development, whole=False)
    return msgspec.structs.replace(
        page, accent=page.accent.lower(), allowed_origins=origins, logo_type=_logo_type(page.logo)
    )


def usable_origin(text: str, *, development: bool, whole: bool = True) -> str:
    """The origin of an address, as browsers write it. With `whole`, the address has to be nothing but an origin."""
    if not text.isprintable() or len(text) > ADDRESS_CHARACTERS_MAX:
        raise _no_origin(text)
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError as error:
        raise _no_origin(text) from error
    host = (parts.hostname or "").lower()
    schemes = ("https", "http") if development else ("https",)
    bare = parts.path in ("", "/") and not parts.query and not parts.fragment
    if parts.scheme not in schemes or not host or parts.username is not None or (whole and not bare):
        raise _no_origin(text)
    if any(character in host for character in " *,;'\"<>\\") or not host.isascii():
        raise _no_origin(text)
    shown = f"[{host}]" if ":" in host else host
    usual = {"https": 443, "http": 80}[parts.scheme]
    return f"{parts.scheme}://{shown}" + (f":{port}" if port and port != usual else "")


def _no_origin(text: str) -> InvalidInput:
    return InvalidInput(
        f"“{text[:100]}” is not an address that can be used here.",
        remedy="Write it as https://app.example.com; http is for development projects only.",
        subject="allowed_origins",
    )


def _logo_type(logo: bytes | None) -> str:
    if logo is None:
        return ""
    if len(logo) > LOGO_BYTES_MAX:
        raise InvalidInput(f"The logo has more than {LOGO_BYTES_MAX // 1024} KB.", subject="logo")
    found = next((kind for begin, kind in _LOGO_BEGINNINGS.items() if logo.startswith(begin)), None)
    if found is None and logo[:4] == b"RIFF" and logo[8:12] == b"WEBP":
        found = "image/webp"
    if found is None and logo.lstrip()[:5] in (b"<?xml", b"<svg ", b"<svg>") and b"<svg" in logo[:1000]:
        found = "image/svg+xml"
    if found is None:
        raise InvalidInput("The logo is no picture.", remedy="Use PNG, JPEG, WebP, GIF or SVG.", subject="logo")
    return found


def _checked(wish: IntegrationWish) -> _Checked:
    provider = provider_named(wish.provider)
    if len(wish.objects) > OBJECTS_MAX:
        raise InvalidInput(f"An integration shares at most {OBJECTS_MAX} objects.", subject="objects")
    for each in wish.objects:
        if not each.object or not each.reason.strip() or len(each.reason) > REASON_CHARACTERS_MAX:
            raise InvalidInput(
                f"Say why “{each.object}” is needed, in at most {REASON_CHARACTERS_MAX} characters.",
                remedy="Your customer reads this before they accept.",
                subject="objects",
            )
    names = [each.object.casefold() for each in wish.objects]
    double = next((each for each in wish.objects if names.count(each.object.casefold()) > 1), None)
    if double is not None:
        raise InvalidInput(f"“{double.object}” is there twice.", subject="objects")
    known = {mode.value for mode in Mode}
    modes = list(dict.fromkeys(wish.modes)) or usual_modes(wish.client_id)
    unknown = next((mode for mode in modes if mode not in known), None)
    if unknown is not None:
        raise InvalidInput(f"There is no way to connect called “{unknown}”.", nearest=sorted(known), subject="modes")
    if not wish.client_id and any(mode in HOSTS_OWN for mode in modes):
        raise InvalidInput(
            "Signing in through your own app needs its client id.",
            remedy="Give the client id, or allow only own_app and own_app_sign_in.",
            subject="client_id",
        )
    tenant = "" if wish.tenant in SHARED_TENANTS else wish.tenant.strip()
    if tenant and not wish.client_id:
        raise InvalidInput("A tenant is that of your own app.", remedy="Give its client id too.", subject="tenant")
    if tenant:
        wish.cloud.authority(tenant)  # refuses what cannot be a tenant
    resource = wish.cloud.business_central_resource
    prefix = resource.rstrip("/") + "/"
    scopes = [each.removeprefix(prefix) for each in wish.scopes if each not in SIGN_IN_SCOPES]
    delegated_scope(resource, scopes or provider.declaration.delegated_scopes)  # refuses what cannot be asked for
    objects = [msgspec.to_builtins(each) for each in wish.objects]
    return _Checked(scopes=scopes, objects=objects, modes=modes, tenant=tenant)
