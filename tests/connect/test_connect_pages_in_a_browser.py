"""The connect pages in real Chromium: a sign-in over Microsoft's (the sandbox's) own pages, failures, other people."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from playwright.async_api import Page, expect
from tests.connect.browsing import chromium, fits_the_phone, picture, somebody
from tests.connect.conftest import OWN_APP_ID, OWN_APP_SECRET, Acme, agree, let_in, register_own_app

from isthmus_sandbox.worlds import identities

LANDED = re.compile("Checking|Which companies|something is missing|is connected|Sign in at Microsoft")
"""Headings of the pages to which a sign-in leads back."""


async def _sign_in(page: Page, user: str = identities.ADMIN_NAME, *, answer: str = "Accept") -> None:
    """What a person does on the vendor's pages."""
    await page.get_by_role("button", name=user).click()
    await page.get_by_role("button", name=answer).or_(page.get_by_role("heading", name=LANDED)).first.wait_for()
    if await page.get_by_role("button", name=answer).count():
        await page.get_by_role("button", name=answer).click()


async def test_a_sign_in_from_the_first_page_to_the_green_check(acme: Acme, backend: httpx.AsyncClient) -> None:
    await acme.integration("sign_in", "own_app")
    session, url = await acme.link(backend)
    async with chromium() as browser, somebody(browser) as context:
        page = await context.new_page()
        troubles: list[str] = []
        page.on("console", lambda said: troubles.append(said.text) if said.type == "error" else None)
        await page.goto(url)
        await expect(page.get_by_role("heading", name="Connect Business Central to Acme Billing")).to_be_visible()
        await picture(page, "consent")
        assert await fits_the_phone(page)
        await picture(page, "consent", phone=True)
        await page.get_by_role("button", name="Accept and continue").click()
        await picture(page, "ways")
        await page.get_by_role("button", name="Continue to Microsoft").click()
        await page.wait_for_url("**/oauth2/v2.0/authorize**")
        await _sign_in(page)
        await expect(page.get_by_role("heading", name="Which companies?")).to_be_visible()
        await picture(page, "companies")
        await page.get_by_role("button", name="Connect").click()
        await expect(page.get_by_role("heading", name="Business Central is connected to Acme Billing")).to_be_visible()
        await picture(page, "done")
        assert (await acme.status(backend, session))["status"] == "connected"
        assert troubles == []


async def test_without_javascript_a_form_fails_twice_and_another_person_ends_it_well(
    acme: Acme, backend: httpx.AsyncClient
) -> None:
    await acme.integration("own_app", "own_app_sign_in", own_app=False)
    register_own_app(acme, redirects=True)
    session, url = await acme.link(backend, preset={"environment": "Production"})
    async with (
        chromium() as browser,
        somebody(browser, java_script_enabled=False) as plain,
        somebody(browser) as administrators,
    ):
        page = await plain.new_page()
        await page.goto(url)
        await page.get_by_role("button", name="Accept and continue").click()
        await page.get_by_role("link", name="Sign in through an app that you registered").click()
        await expect(page.get_by_text("/oauth/callback")).to_be_visible()
        await page.get_by_role("link", name="Use an app that you registered").click()
        await page.get_by_label("Tenant ID").fill(identities.TENANT_DOMAIN)
        await page.get_by_label("Client ID").fill(OWN_APP_ID)
        await page.get_by_label("Client secret").fill("the-id-instead-of-the-value")
        await page.get_by_role("button", name="Check").click()
        await expect(page.get_by_text("The client secret is wrong").first).to_be_visible()
        await expect(page.get_by_label("Client ID")).to_have_value(OWN_APP_ID)
        await picture(page, "wrong-value")
        assert await fits_the_phone(page)
        await page.get_by_label("Client secret").fill(OWN_APP_SECRET)
        await page.get_by_role("button", name="Check").click()
        await expect(page.get_by_role("heading", name="Business Central does not know the app yet")).to_be_visible()
        await picture(page, "missing")
        await picture(page, "missing", phone=True)
        assert await fits_the_phone(page)
        await page.get_by_role("button", name="Ask your administrator").click()
        await expect(page.get_by_label("Message")).to_contain_text(OWN_APP_ID)
        await picture(page, "administrator")
        link = await page.locator(".copy-box code").text_content()
        assert link is not None

        other = await administrators.new_page()
        await other.goto(link)
        await expect(other.get_by_role("heading", name="Business Central does not know the app yet")).to_be_visible()
        async with administrators.expect_page() as opening:
            await other.get_by_role("link", name="Show me how, with pictures").click()
        guide = await opening.value
        await expect(guide.get_by_role("heading", name="2. Let the app into Business Central")).to_be_in_viewport()
        await picture(guide, "guide")
        await picture(guide, "guide", phone=True)
        assert await fits_the_phone(guide)
        let_in(acme, OWN_APP_ID)
        agree(acme, OWN_APP_ID)
        await other.get_by_role("button", name="Check again").click()
        await picture(other, "checking")
        await expect(other.get_by_role("heading", name="Which companies?")).to_be_visible()
        assert await fits_the_phone(other)
        await other.get_by_role("button", name="Connect").click()
        await expect(other.get_by_role("heading", name="Business Central is connected")).to_be_visible()
        await page.goto(url)
        await expect(page.get_by_role("heading", name="Business Central is connected")).to_be_visible()
    assert (await acme.status(backend, session))["status"] == "connected"


async def test_a_refusal_at_microsoft_and_a_link_that_has_run_out(acme: Acme, backend: httpx.AsyncClient) -> None:
    await acme.integration("sign_in")
    session, url = await acme.link(backend)
    async with chromium() as browser, somebody(browser) as context:
        page = await context.new_page()
        await page.goto(url)
        await page.get_by_role("button", name="Accept and continue").click()
        await page.wait_for_url("**/oauth2/v2.0/authorize**")
        await _sign_in(page, answer="Cancel")
        await expect(page.get_by_role("heading", name="You did not agree on Microsoft's page")).to_be_visible()
        await picture(page, "denied")
        assert await fits_the_phone(page)
        await backend.delete(f"/v1/connect-sessions/{session['id']}")
        await page.reload()
        await expect(page.get_by_role("heading", name="Cancelled: nothing was connected")).to_be_visible()
        await picture(page, "ended")


HOST_PAGE = """<!doctype html><meta charset="utf-8"><title>Acme</title><h1>Settings</h1>
<button id="go">Connect Business Central</button><p id="how">not yet</p>
<script src="{hub}/connect.js"></script>
<script>
  const say = (what) => (value) => {{
    document.getElementById("how").textContent = `${{what}}: ${{JSON.stringify(value)}}`;
  }};
  document.getElementById("go").onclick = () => {{
    window.handle = Isthmus.connect({{
      url: new URLSearchParams(location.search).get("link"),
      onConnected: say("connected"), onCancelled: say("cancelled"), onFailed: say("failed"),
    }});
  }};
</script>"""


@asynccontextmanager
async def host_page(hub: str) -> AsyncIterator[str]:
    """The host's own web site, which has another origin than the hub."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = HOST_PAGE.format(hub=hub).encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def test_a_hosts_page_of_another_origin_is_told_how_its_popup_ends(
    acme: Acme, backend: httpx.AsyncClient
) -> None:
    await acme.integration("sign_in")
    async with chromium() as browser, somebody(browser) as context, host_page(acme.served.address) as host:
        await acme.look(host)
        page = await context.new_page()
        troubles: list[str] = []
        page.on("console", lambda said: troubles.append(said.text) if said.type == "error" else None)
        how = page.locator("#how")

        _, url = await acme.link(backend, origin=host)
        await page.goto(f"{host}/?link={url}")
        async with context.expect_page() as opening:
            await page.get_by_role("button", name="Connect Business Central").click()
        popup = await opening.value
        await popup.get_by_role("button", name="Accept and continue").click()
        await popup.wait_for_url("**/oauth2/v2.0/authorize**")
        await _sign_in(popup)
        await popup.get_by_role("button", name="Connect").click()
        await expect(how).to_contain_text('connected: {"status":"connected"')
        await expect(how).to_contain_text("connection")
        if not popup.is_closed():
            await popup.wait_for_event("close")  # the script closes what it has opened

        _, url = await acme.link(backend, origin=host)
        await page.goto(f"{host}/?link={url}")
        async with context.expect_page() as opening:
            await page.get_by_role("button", name="Connect Business Central").click()
        closed = await opening.value
        await expect(closed.get_by_role("button", name="Accept and continue")).to_be_visible()
        await closed.close()
        await expect(how).to_contain_text('cancelled: {"status":"cancelled"')
        await expect(how).to_contain_text('"reason":"closed"')

        await page.evaluate("window.open = () => null")
        await page.get_by_role("button", name="Connect Business Central").click()
        await expect(how).to_contain_text("popup_blocked")
        assert troubles == []
