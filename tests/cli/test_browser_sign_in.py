"""`connect business-central --browser`: the loopback listener; a person who accepts, refuses or never comes back."""

from __future__ import annotations

import asyncio
import webbrowser
from collections.abc import Callable
from urllib.parse import parse_qsl, urljoin, urlsplit

import aiohttp
import pytest
from tests.hub_fixtures import House, Typed
from yarl import URL

from isthmus.cli.loopback import CallbackListener
from isthmus.kernel.failures import SignInAgain
from isthmus_sandbox.worlds import identities


class Browser:
    """Stands where the desktop's browser would: opens an address and answers the vendor's pages."""

    def __init__(self, house: House, answer: str = "accept", user: str = "") -> None:
        self._house = house
        self._answer = answer
        self._user = user
        self.pages: list[str] = []

    def open(self, url: str) -> bool:
        asyncio.run(self._browse(url))
        return True

    async def _browse(self, url: str) -> None:
        address = f"{url}&sandbox_auto={self._answer}" + (f"&login_hint={self._user}" if self._user else "")
        async with aiohttp.ClientSession() as session:
            for _ in range(6):
                secure = address.startswith("https://")
                ssl = self._house.sandbox.ssl_context() if secure else True
                # The listener answers on 127.0.0.1; browsers try both addresses of localhost.
                target = address if secure else address.replace("//localhost:", "//127.0.0.1:")
                async with session.get(URL(target, encoded=True), ssl=ssl, allow_redirects=False) as response:
                    self.pages.append(await response.text())
                    location = response.headers.get("location")
                if location is None:
                    return
                address = urljoin(address, location)


@pytest.fixture
def desktop(house: House, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Browser]:
    """Put a browser on the desktop: the standard library asks it to open addresses."""

    def put(answer: str = "accept", user: str = "") -> Browser:
        browser = Browser(house, answer, user)
        monkeypatch.setattr(webbrowser, "open", browser.open)
        return browser

    return put


def connect(house: House, *more: str) -> Typed:
    return house.type(
        "connect", "business-central", "--browser", "--cloud", str(house.cloud_file()), "--name", "person",
        "--client-id", identities.WEB_APP_ID, "--client-secret", identities.WEB_APP_SECRET, *more,
    )  # fmt: skip


@pytest.mark.conformance("OA-10", "OA-27", "OA-18")
def test_a_person_signs_in_and_the_terminal_goes_on(house: House, desktop: Callable[..., Browser]) -> None:
    browser = desktop()
    answer = connect(house)
    assert answer.code == 0, answer
    assert "follow this address" in answer.words
    assert "● connected" in answer.words
    assert "Signed in" in browser.pages[-1]
    assert house.type("sync", "create", "vendors", "--company", "CRONUS USA, Inc.").code == 0
    assert house.type("sync", "run").code == 0


def test_a_reconnect_needs_nothing_but_the_name(house: House, desktop: Callable[..., Browser]) -> None:
    desktop()
    connect(house)
    answer = house.type("connect", "business-central", "--reconnect", "person")
    assert answer.code == 0, answer
    assert len(house.type("connections", "--json").json) == 1


@pytest.mark.conformance("OA-35")
def test_a_refused_consent_is_told_in_the_browser_and_in_the_terminal(
    house: House, desktop: Callable[..., Browser]
) -> None:
    browser = desktop("deny")
    answer = connect(house)
    assert answer.code == 4, answer
    assert "refused" in browser.pages[-1]
    assert "→" in answer.words
    assert house.type("connections", "--json").json[0]["state"] == "needs_reauth"


@pytest.mark.conformance("OA-22")
def test_a_forged_state_is_refused(house: House, desktop: Callable[..., Browser]) -> None:
    desktop()
    house.sandbox.switch("forged-state")
    answer = connect(house)
    assert answer.code == 4
    assert "does not belong to a sign-in" in answer.words


@pytest.mark.conformance("OA-21")
def test_a_redirect_registered_for_single_page_apps_is_recognised(
    house: House, desktop: Callable[..., Browser]
) -> None:
    desktop()
    assert connect(house).code == 0
    house.sandbox.switch("spa-24h")
    house.sandbox.advance(25 * 3_600)
    answer = house.type("check", "--json")
    assert answer.code == 4, answer
    failure = next(step["failure"] for step in answer.json["steps"] if step["failure"])
    assert failure["vendor"]["code"] == "AADSTS700084"
    assert "web" in failure["remedy"].lower()


@pytest.mark.conformance("OA-26")
async def test_a_browser_that_never_comes_back_gets_a_hint() -> None:
    async with CallbackListener() as listener:
        with pytest.raises(SignInAgain) as failure:
            await listener.parameters(wait_s=0.05)
    assert "AADSTS50011" in failure.value.remedy


async def test_the_listener_takes_the_first_callback_and_nothing_else() -> None:
    async with CallbackListener() as listener, aiohttp.ClientSession() as session:
        origin = listener.redirect_uri.replace("localhost", "127.0.0.1")
        async with session.get(f"{origin}favicon.ico") as response:
            assert "Nothing to see here" in await response.text()
        async with session.get(f"{origin}?state=s&code=c") as response:
            assert "Signed in" in await response.text()
            assert response.headers["Cache-Control"] == "no-store"
        async with session.get(f"{origin}?state=other&code=x"):
            assert await listener.parameters(1.0) == {"state": "s", "code": "c"}


async def test_the_redirect_address_is_a_loopback_one() -> None:
    async with CallbackListener() as listener:
        assert urlsplit(listener.redirect_uri).hostname == "localhost"
        assert dict(parse_qsl(urlsplit(listener.redirect_uri).query)) == {}
