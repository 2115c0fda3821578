"""Pages that tell somebody what they did not expect: in light, dark and on a phone they fit and can be read."""

from __future__ import annotations

import msgspec
from playwright.async_api import Page
from tests.api_server import Served
from tests.browser.conftest import Eyes
from tests.browser.test_console_for_everybody import sign_in
from tests.browser.test_every_page import _wrong
from tests.hub_fixtures import US

from isthmus.actions.writing import Verb, WriteWish
from isthmus.connections.agreements import Agreement
from isthmus.connections.integrations import IntegrationWish, SharedObject
from isthmus.connections.sessions import SessionWish
from isthmus.kernel.ids import new_id
from isthmus.store import approvals, connections, projects
from isthmus.store.audit import Author
from isthmus.store.rows import Connection


async def _agreed(served: Served) -> Connection:
    """A connection whose customer agreed to two objects."""
    made = await served.house.connect(served.hub, name="Contoso Ltd.")
    await served.hub.check(made)
    objects = [
        SharedObject(object="customers", reason="To show them."),
        SharedObject(object="salesInvoices", reason="To book them.", access="write"),
    ]
    agreement = Agreement(at=served.hub.clock.now(), session=new_id(), objects=objects)
    async with served.hub.db.project(served.hub.project.id) as tx:
        now = await connections.get(tx, made.id)
        settings = {**now.settings, "agreed": msgspec.to_builtins(agreement)}
        await connections.update(tx, made.id, settings=settings)
    return made


async def _refused(served: Served, connection: Connection) -> str:
    """A write that a rule of the vendor refuses for good."""
    line = b'{"lineType": "Item", "lineObjectNumber": "1896-S", "quantity": 1}'
    body = b'{"customerNumber": "10000", "salesInvoiceLines": [%s]}' % line
    wish = WriteWish(verb=Verb.CREATE, object="salesInvoices", company=US, body=body)
    made = await served.hub.writer.submit(served.hub.project.id, connection.id, wish)
    for verb, action in ((Verb.ACTION, "post"), (Verb.DELETE, None)):
        wish = WriteWish(verb=verb, object="salesInvoices", company=US, record_id=made.remote_id, action=action)
        made = await served.hub.writer.submit(served.hub.project.id, connection.id, wish)
    return f"/console/writes/{made.id}"


async def test_pages_that_tell_fit_and_can_be_read(worked: Served, eyes: Eyes) -> None:
    page = await eyes.page()
    await sign_in(worked, page)
    made = await _agreed(worked)
    base = f"/console/connections/{made.id}"
    wrong = [await _wrong(eyes, page, "/console/nowhere", "told")]
    wrong += [await _wrong(eyes, page, await _refused(worked, made), "told-refused")]
    wrong += [await _wrong(eyes, page, base, "told-agreed")]
    wrong += [await _wrong(eyes, page, f"{base}/objects/vendors", "told-not-asked")]
    async with worked.hub.db.project(worked.hub.project.id) as tx:
        await approvals.set_rule(tx, required=True)
    form = f"/console/writes/new?connection={made.id}&verb=create&object=vendors"
    wrong += [await _wrong(eyes, page, form, "told-waits")]
    await page.get_by_role("button", name="Check, send nothing").click()
    wrong += [await _wrong(eyes, page, "", "told-ask-for-approval")]
    wrong += [await _wrong(eyes, page, "/console/settings/approval", "told-alone")]
    wrong += [await _integration(worked, eyes, page)]
    other = await projects.create(worked.hub.db, f"other-{new_id().hex[-8:]}")
    await page.goto("/console")
    await page.get_by_text("Switch").first.click()
    await page.get_by_label("Project").first.select_option(label=other.name)
    await page.get_by_role("button", name="Go there").first.click()
    await page.wait_for_load_state()
    wrong += [await _wrong(eyes, page, base, "told-other-project")]
    found = [each for each in wrong if each]
    assert not found, "\n".join(found)


async def _integration(served: Served, eyes: Eyes, page: Page) -> str:
    """An integration that shares what no system offers, with a link just made and a customer who stands before it."""
    wish = IntegrationWish(
        name="Mistyped",
        cloud=served.house.cloud,
        objects=[SharedObject(object="custmers", reason="So that invoices carry the right name.")],
    )
    made = await served.hub.connect.integrations.create(wish, by=Author(actor="test"))
    await page.goto(f"/console/apps/integrations/{made.id}")
    await page.get_by_label("Your id of the customer").fill("customer-4711")
    await page.get_by_label("Their name").fill("Contoso Ltd.")
    await page.get_by_role("button", name="Make the link").click()
    found = [await _wrong(eyes, page, "", "told-link")]
    session = SessionWish(consumer="customer-1", consumer_name="Contoso Ltd.", integration_id=made.id)
    link = await served.hub.connect.sessions.create(session, actor="test")
    found += [await _wrong(eyes, page, f"{eyes.address}/connect/{link.token}", "told-consent")]
    async with served.hub.db.project(served.hub.project.id) as tx:
        failure = {"code": "unknown_object", "message": "x", "remedy": "x", "turn": "you", "subject": "custmers"}
        await tx.execute(
            """UPDATE connect_sessions SET status = 'failed', step = 'checking', accepted_at = now(),
                      failure = %s::jsonb WHERE id = %s""",
            (msgspec.json.encode(failure).decode(), link.session.id),
        )
    found += [await _wrong(eyes, page, f"{eyes.address}/connect/{link.token}", "told-hosts-turn")]
    return "\n".join(each for each in found if each)
