"""Writes: the form with its check, the list, one operation's story, and what a person decides."""

from __future__ import annotations

import json
import re
from html import unescape

import httpx
from tests.api_server import Served
from tests.console.conftest import SignedIn
from tests.console_people import Visitor, words
from tests.hub_fixtures import US

from isthmus.actions.writing import Verb, WriteWish
from isthmus.kernel.failures import OutcomeUnknown
from isthmus.store import operations
from isthmus.store.operations import Operation
from isthmus.store.rows import Connection


def hidden(page: str, name: str) -> str:
    """A hidden field of the form."""
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found is not None, name
    return unescape(found.group(1))


async def written(
    served: Served, connection: Connection, object: str = "customers", body: bytes = b'{"displayName": "Contoso"}'
) -> Operation:
    """A write as the API makes it."""
    wish = WriteWish(verb=Verb.CREATE, object=object, company=US, body=body)
    return await served.hub.writer.submit(served.hub.project.id, connection.id, wish)


async def needing_a_person(served: Served, connection: Connection) -> Operation:
    """A write that nobody but a person can settle."""
    operation = await written(served, connection)
    failure = OutcomeUnknown("It cannot be told whether this write took place.").to_dict()
    async with served.hub.db.project(served.hub.project.id) as tx:
        await tx.execute(
            """UPDATE operations SET state = 'needs_person', record = NULL, remote_id = NULL, claim = NULL,
                      failure = %s::jsonb WHERE id = %s""",
            (json.dumps(failure), operation.id),
        )
        return await operations.get(tx, operation.id)


async def test_a_number_where_an_id_belongs_is_told_at_its_field(admin: Visitor, served: Served) -> None:
    connection = await served.house.connect(served.hub)
    path = f"/console/writes/new?connection={connection.id}&verb=delete&object=customers"
    page = await admin.text(path)
    form = {name: hidden(page, name) for name in ("connection", "verb", "object", "route", "key")}
    for do in ("check", "write"):
        wrong = await admin.send("/console/writes/new", on=path, do=do, record="C00010", company=US, **form)
        assert wrong.status_code == 422
        assert "“C00010” is not the id of a record" in words(wrong.text)
    assert await served.hub.writer.list(served.hub.project.id) == []


async def test_a_write_is_checked_first_then_sent_once_and_tells_its_story(admin: Visitor, served: Served) -> None:
    connection = await served.house.connect(served.hub)
    first = await admin.text("/console/writes/new")
    assert "Nothing is sent before you have seen the exact request" in words(first)
    path = f"/console/writes/new?connection={connection.id}&verb=create&object=customers"
    page = await admin.text(path)
    assert "displayName" in words(page)
    form = {name: hidden(page, name) for name in ("connection", "verb", "object", "route", "key")}
    form |= {"company": US, "body": '{"displayNam": "Contoso"}'}
    wrong = await admin.send("/console/writes/new", on=path, do="check", **form)
    assert "The check found 2 mistakes" in words(wrong.text)
    assert "Did you mean “displayName”" in words(wrong.text)
    form["body"] = '{"displayName": "Contoso & Sons", "creditLimit": 1500.10}'
    before = served.house.count("customers", US)
    checked = await admin.send("/console/writes/new", on=path, do="check", **form)
    assert "This is the exact request. It has not been sent." in words(checked.text)
    assert "POST https://" in words(checked.text)
    assert served.house.count("customers", US) == before
    done = await admin.send("/console/writes/new", on=path, do="write", **form)
    assert done.status_code == 303, words(done.text)
    again = await admin.send("/console/writes/new", on=path, do="write", **form)
    assert again.headers["location"] == done.headers["location"], "pressing twice makes nothing twice"
    assert served.house.count("customers", US) == before + 1
    story = await admin.text(done.headers["location"])
    told = words(story)
    for wanted in ("Asked for", "Sent to the vendor", "Confirmed", "What came in", "What came back", "1500.10", "curl"):
        assert wanted in told, wanted
    assert "Write to this record" in told
    look, request = re.findall(r'href="(/console/writes/[^"]+/requests/\d+)"', story)
    assert "startswith" in words(await admin.text(look)), "what has the name already is read first"
    shown = words(await admin.text(request))
    assert "Bearer $TOKEN" in shown
    assert "Contoso & Sons" in shown


async def test_a_form_that_makes_no_sense_says_so_at_its_field(admin: Visitor, served: Served) -> None:
    connection = await served.house.connect(served.hub)
    base = f"/console/writes/new?connection={connection.id}"

    async def told(**form: str) -> str:
        answer = await admin.send("/console/writes/new", on=base, do="write", connection=str(connection.id), **form)
        assert answer.status_code == (404 if form.get("object") == "custmers" else 422)
        return words(answer.text)

    assert "The fields are not JSON" in await told(verb="create", object="customers", body="{displayName: 1}")
    assert "Which record?" in await told(verb="update", object="customers", body="{}")
    assert "Which action?" in await told(verb="action", object="salesInvoices", record="x")
    mistyped = await told(verb="create", object="custmers", body="{}")
    assert "Did you mean “customers”" in mistyped
    assert mistyped.count("Did you mean") == 2, "once above the form, once at its field"
    assert "Say what to write to." in await told(verb="create", object="")
    assert "postAndSend" in await admin.text(f"{base}&verb=action&object=salesInvoices")


async def test_trouble_stands_on_top_and_filters_live_in_the_address(admin: Visitor, served: Served) -> None:
    connection = await served.house.connect(served.hub)
    stuck = await needing_a_person(served, connection)
    fine = await written(served, connection, object="items", body=b'{"displayName": "Lamp"}')
    page = await admin.text("/console/writes")
    assert "What needs somebody" in page
    assert "1 needs a person" in words(page)
    assert page.index(str(stuck.id)) < page.index(str(fine.id))
    only = await admin.text("/console/writes", object="items")
    assert str(fine.id) in only
    assert str(stuck.id) not in only
    assert "Nothing matches" in await admin.text("/console/writes", state="failed")
    assert "1 thing needs you" in words(await admin.text("/console"))


async def test_a_person_says_how_it_ended_and_only_who_has_looked_sends_again(admin: Visitor, served: Served) -> None:
    connection = await served.house.connect(served.hub)
    stuck = await needing_a_person(served, connection)
    base = f"/console/writes/{stuck.id}"
    page = words(await admin.text(base))
    assert "How did it end?" in page
    assert "Your turn" in page
    assert (await admin.send(f"{base}/retry")).status_code == 422
    assert (await admin.send(f"{base}/decide")).status_code == 422
    noted = await admin.send(f"{base}/decide", took_place="yes", remote_id="10-20")
    assert noted.status_code == 303
    assert "Noted. Nothing was sent." in words(await admin.text(noted.headers["location"]))
    async with served.hub.db.project(served.hub.project.id) as tx:
        assert (await operations.get(tx, stuck.id)).state == "confirmed"
    assert (await admin.send(f"{base}/decide", took_place="no")).status_code == 422, "it waits for nobody any more"
    other = await needing_a_person(served, connection)
    sent = await admin.send(f"/console/writes/{other.id}/retry", looked="1")
    assert sent.headers["location"].endswith("notice=write-confirmed")


async def test_a_refused_write_shows_the_vendors_words_and_can_be_sent_again(admin: Visitor, served: Served) -> None:
    connection = await served.house.connect(served.hub)
    failed = await written(served, connection, body=b'{"displayName": "Twice", "number": "10000"}')
    page = words(await admin.text(f"/console/writes/{failed.id}"))
    assert "The vendor said" in page
    assert "nothing was changed" in page
    again = await admin.send(f"/console/writes/{failed.id}/retry")
    assert again.status_code == 303
    assert (await admin.send(f"/console/writes/{failed.id}/reconcile")).status_code == 303


async def test_viewers_look_and_operators_write(signed_in: SignedIn, served: Served) -> None:
    connection = await served.house.connect(served.hub)
    operation = await written(served, connection)
    viewer = await signed_in("viewer")
    assert "Write to this record" not in words(await viewer.text(f"/console/writes/{operation.id}"))
    for path in (
        f"/console/writes/{operation.id}/retry",
        f"/console/writes/{operation.id}/decide",
        "/console/writes/new",
    ):
        answer: httpx.Response = await viewer.send(path)
        assert answer.status_code == 403, path
    operator = await signed_in("operator")
    assert (await operator.get("/console/writes/new")).status_code == 200


async def test_a_write_that_waits_is_read_before_it_is_approved_by_somebody_else(
    admin: Visitor, signed_in: SignedIn, served: Served
) -> None:
    connection = await served.house.connect(served.hub)
    await admin.send("/console/settings/approval", required="1")
    path = f"/console/writes/new?connection={connection.id}&verb=create&object=customers"
    form = {"connection": str(connection.id), "verb": "create", "object": "customers", "company": US, "do": "write"}
    body = '{"displayName": "Waits"}'
    assert "This will wait for approval by somebody else" in words(await admin.text(path))
    checked = words((await admin.send("/console/writes/new", on=path, body=body, **{**form, "do": "check"})).text)
    assert "Ask for approval" in checked
    assert "Write it" not in checked
    sent = await admin.send("/console/writes/new", on=path, body=body, **form)
    assert sent.status_code == 303, words(sent.text)
    assert "notice" not in sent.headers["location"], "the page's own banner says that it waits"
    base = sent.headers["location"].partition("?")[0]
    own = words(await admin.text(base))
    assert "somebody else has to approve it" in own
    assert "Approve and send" not in own
    assert (await admin.send(f"{base}/approve")).status_code == 403
    assert "1 write waits for approval" in words(await admin.text("/console"))
    colleague = await signed_in("operator")
    page = await colleague.text(base)
    assert "What would be sent" in page
    before = served.house.count("customers", US)
    done = await colleague.send(f"{base}/approve", seen=hidden(page, "seen"))
    assert done.headers["location"].endswith("notice=write-confirmed"), words(done.text)
    assert served.house.count("customers", US) == before + 1
    assert "Approved by operator" in words(await admin.text(base))
    second = await admin.send("/console/writes/new", on=path, body='{"displayName": "No"}', **form)
    other = second.headers["location"].partition("?")[0]
    assert (await colleague.send(f"{other}/refuse", reason="")).status_code == 422
    assert (await colleague.send(f"{other}/refuse", reason="Not this one.")).status_code == 303
    assert "Not this one." in words(await admin.text(other))


async def test_a_lasting_refusal_does_not_ask_to_be_repeated(admin: Visitor, served: Served) -> None:
    connection = await served.house.connect(served.hub)
    line = b'{"lineType": "Item", "lineObjectNumber": "1896-S", "quantity": 1}'
    body = b'{"customerNumber": "10000", "salesInvoiceLines": [%s]}' % line
    made = await written(served, connection, "salesInvoices", body)
    for verb, action in ((Verb.ACTION, "post"), (Verb.DELETE, None)):
        wish = WriteWish(verb=verb, object="salesInvoices", company=US, record_id=made.remote_id, action=action)
        ended = await served.hub.writer.submit(served.hub.project.id, connection.id, wish)
    page = await admin.text(f"/console/writes/{ended.id}")
    assert "Refused by a rule of Business Central" in words(page)
    assert "Sent: business rule" not in words(page)
    assert 'class="button primary"' not in page, "repeating will not help, so nothing calls for it"
    assert "Send the same again" in words(page)


async def test_a_refused_write_can_be_corrected(admin: Visitor, served: Served) -> None:
    connection = await served.house.connect(served.hub)
    wish = WriteWish(
        verb=Verb.CREATE, object="customers", company=US, body=b'{"number": "10000", "displayName": "Twice"}'
    )
    ended = await served.hub.writer.submit(served.hub.project.id, connection.id, wish)
    page = await admin.text(f"/console/writes/{ended.id}")
    found = re.search(r'href="(/console/writes/new[^"]+)">.*Correct and write anew', page)
    assert found is not None, words(page)
    assert "10000" in unescape(await admin.text(unescape(found.group(1))))


async def test_whoever_could_approve_alone_is_warned(admin: Visitor, signed_in: SignedIn, served: Served) -> None:
    async with served.hub.db.system() as tx:
        await tx.execute("DELETE FROM console_people WHERE name NOT LIKE 'admin%%' OR last_seen_at IS NULL")
        await tx.execute(
            "DELETE FROM console_people WHERE id <> (SELECT id FROM console_people ORDER BY created_at DESC LIMIT 1)"
        )
    assert "Nobody else could approve yet" in words(await admin.text("/console/settings/approval"))
    await admin.send("/console/settings/approval", required="1")
    after = words(await admin.text("/console/settings/approval"))
    assert "what you ask for is refused when its time is up" in after
    await signed_in("operator")
    assert "Nobody else could approve" not in words(await admin.text("/console/settings/approval"))
