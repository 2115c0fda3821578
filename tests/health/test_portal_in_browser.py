"""The consumer's own page in a real browser: on a phone, without scripts, in the host's colours."""

from __future__ import annotations

import datetime as dt

from playwright.async_api import Browser, Page, ViewportSize, expect
from tests.api_server import Served
from tests.browser.conftest import PHONE, Eyes, browser
from tests.console_people import PASSWORD, new_person

from isthmus_sandbox.worlds import identities

__all__ = ["browser"]

DESK: ViewportSize = ViewportSize(width=1280, height=900)


async def fits(page: Page) -> bool:
    """Nothing is wider than the window."""
    width = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return bool(width <= 0)


async def test_a_customer_renews_a_secret_and_ends_a_connection_on_a_phone_without_scripts(
    served: Served, browser: Browser
) -> None:
    api = await served.client()
    await api.put(
        "/v1/connect-page", json={"host_name": "Acme Billing", "accent": "#7a3cc0", "support": "help@acme.example"}
    )
    await api.post("/v1/consumers", json={"external_id": "contoso", "name": "Contoso Ltd."})
    owner = (await api.get("/v1/consumers")).json()["result"][0]["id"]
    shown = await served.connect(api, consumer=owner, name="Contoso / Production")
    await served.connect(api, consumer=owner, name="Contoso / Sandbox")
    soon = (dt.datetime.now(dt.UTC) + dt.timedelta(days=5)).isoformat()
    await api.patch(f"/v1/connections/{shown['id']}/secret", json={"secret_expires_at": soon})
    served.house.sandbox.switch("secret-expired")
    await api.post(f"/v1/connections/{shown['id']}/check")
    async with served.hub.db.project(served.hub.project.id) as tx:
        await tx.execute("UPDATE grants SET access_token_sealed = NULL, access_expires_at = NULL")
    for connection in (await api.get("/v1/connections")).json()["result"]:
        async with served.hub.db.project(served.hub.project.id) as tx:
            served.hub.opener.forget_tokens(
                await tx.value("SELECT grant_id FROM connections WHERE id = %s", (connection["id"],))
            )
    await api.post(f"/v1/connections/{shown['id']}/check")
    served.house.sandbox.clear_switch("secret-expired")
    url = (await api.post(f"/v1/consumers/{owner}/portal-links", json={})).json()["url"]

    context = await browser.new_context(viewport=PHONE, java_script_enabled=False)
    try:
        eyes = Eyes(context, served.address)
        page = await eyes.page()
        await page.goto(url)
        assert url not in page.url, "the token has left the address bar"
        await expect(page.get_by_role("heading", name="Your connections to Acme Billing")).to_be_visible()
        await expect(page.get_by_text("The client secret has expired")).to_be_visible()
        await eyes.phone_picture(page, "portal")
        await page.get_by_role("link", name="Enter a new secret").click()
        await page.get_by_label("Client secret").fill("wrong")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("alert")).to_contain_text("Paste the secret's Value")
        await eyes.phone_picture(page, "portal-secret")
        await page.get_by_label("Client secret").fill(identities.CONFIDENTIAL_APP_SECRET)
        await page.get_by_label("Last day").fill("2031-05-01")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_text("The new secret is in use")).to_be_visible()
        await expect(page.get_by_text("works", exact=True).first).to_be_visible()
        await eyes.phone_picture(page, "portal-connection")
        await page.get_by_role("link", name="End this connection").click()
        await page.get_by_label("Keep it").check()
        await page.get_by_label("Type “Contoso / Production” to confirm").fill("Contoso / Production")
        await eyes.phone_picture(page, "portal-end")
        await page.get_by_role("button", name="End it").click()
        await expect(page.get_by_role("heading", name="Contoso / Production is disconnected")).to_be_visible()
        assert [each for each in eyes.troubles if "422" not in each] == [], "but for the secret that was refused"
    finally:
        await context.close()
    await _with_scripts(served, browser, url, shown["id"])


async def _with_scripts(served: Served, browser: Browser, url: str, connection_id: str) -> None:
    """The same pages and the console's, wide and narrow, with scripts: nothing sticks out, nothing is refused."""
    await new_person(served, "ada", "admin")
    context = await browser.new_context(base_url=served.address, viewport=DESK)
    try:
        eyes = Eyes(context, served.address)
        page = await eyes.page()
        await page.goto(url)
        await eyes.picture(page, "portal")
        await page.goto("/console/sign-in")
        await page.get_by_label("Name").fill("ada")
        await page.get_by_label("Password").fill(PASSWORD)
        await page.get_by_role("button", name="Sign in").click()
        base = f"/console/connections/{connection_id}"
        for path, name in (
            (base, "connection-ended"),
            (f"{base}/history", "connection-history"),
            (f"{base}/settings", "connection-settings"),
            ("/console/settings/notices", "notices"),
        ):
            for size in (DESK, PHONE):
                await page.set_viewport_size(size)
                await page.goto(path)
                assert await fits(page), (path, size)
            await page.set_viewport_size(DESK)
            await eyes.picture(page, name)
        assert eyes.troubles == []
    finally:
        await context.close()
