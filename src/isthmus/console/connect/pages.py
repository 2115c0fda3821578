"""Connect pages to HTML: the console's templates and macros in the host's name and colour."""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import Any, Final
from uuid import UUID

import msgspec
from litestar import Response

from isthmus.connections.integrations import shared_objects
from isthmus.connections.sessions import SessionScene
from isthmus.console.connect.look import ACCENT_USUAL
from isthmus.console.connect.words import provider_title
from isthmus.console.pages import html, render
from isthmus.store.integrations import ConnectPage

STATIC: Final = {
    "connect.css": "text/css; charset=utf-8",
    "connect.js": "text/javascript; charset=utf-8",
    "popup.js": "text/javascript; charset=utf-8",
}


class Brand(msgspec.Struct, frozen=True, kw_only=True):
    """How the host appears. `accent` is six hexadecimal digits, `logo` an address or empty."""

    name: str = ""
    accent: str = ACCENT_USUAL.lstrip("#")
    logo: str = ""
    support: str = ""
    privacy_url: str = ""


def connect_static(name: str) -> bytes:
    """A file that belongs to the connect pages."""
    return resources.files("isthmus.console.connect").joinpath("static", name).read_bytes()


_VERSIONS: Final = {name: hashlib.sha256(connect_static(name)).hexdigest()[:12] for name in STATIC}


def connect_url(name: str) -> str:
    """The address of a file, which changes with its content."""
    return f"/connect/static/{name}?v={_VERSIONS[name]}"


def brand_of(scene: SessionScene, project: str) -> Brand:
    """The host of a session, under the project's name while it has no other."""
    return brand_for(scene.page, scene.session.project_id, project)


def brand_for(page: ConnectPage, project_id: UUID, project: str) -> Brand:
    """The host of a project, under the project's name while it has no other."""
    version = hashlib.sha256(page.logo).hexdigest()[:12] if page.logo else ""
    return Brand(
        name=page.host_name or project,
        accent=(page.accent or ACCENT_USUAL).lstrip("#"),
        logo=f"/connect/logo/{project_id}?v={version}" if page.logo else "",
        support=page.support,
        privacy_url=page.privacy_url,
    )


def connect_page(template: str, *, status: int = 200, brand: Brand | None = None, **values: Any) -> Response[str]:
    """A page in the small frame."""
    text = render(template, brand=brand or Brand(), connect_url=connect_url, **values)
    return html(text, status=status)


def scene_values(scene: SessionScene, project: str) -> dict[str, Any]:
    """What every page of a session shows."""
    brand = brand_of(scene, project)
    return {
        "brand": brand,
        "host": brand.name,
        "provider": provider_title(scene.integration.provider),
        "scene": scene,
        "session": scene.session,
        "shared": shared_objects(scene.integration),
    }
