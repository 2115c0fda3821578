"""What a refused write leaves behind (nothing), who learns of an accepted one, and writes outside API v2.0."""

from __future__ import annotations

from tests.sandbox.business_central_writing.conftest import Writer

from isthmus_sandbox.worlds import identities

LOYALTY = "contoso/app1/v1.0"
AUTOMATION = "microsoft/automation/v2.0"


def watch(writer: Writer) -> list[tuple[str, str]]:
    """Learn of committed changes as webhooks do: (set, kind), in order."""
    seen: list[tuple[str, str]] = []
    observers = writer.sandbox.estate.business_central.observers
    writer.sandbox.call(
        lambda: observers.append(lambda change: seen.append((change.place.entity.set_name, change.kind)))
    )
    return seen


async def test_observers_learn_of_an_accepted_write_once(writer: Writer) -> None:
    seen = watch(writer)
    made = await writer.create("customers", {"displayName": "Contoso"})
    await writer.patch(f"customers({made['id']})", {"city": "Lyon"})
    await writer.delete(f"customers({made['id']})")
    assert seen == [("customers", "created"), ("customers", "updated"), ("customers", "deleted")]


async def test_observers_learn_nothing_of_a_refused_deep_insert_or_an_undone_batch(writer: Writer) -> None:
    seen = watch(writer)
    line = {"lineObjectNumber": "1896-S", "quantity": 1}
    await writer.post("salesInvoices", {"customerNumber": "10000", "salesInvoiceLines": [line, {"itemId": "x"}]})
    part = {
        "method": "POST",
        "url": f"{writer.company}/customers",
        "headers": {"Content-Type": "application/json"},
        "body": {"displayName": "One"},
    }
    await writer.batch([part, {**part, "body": {}}], Isolation="snapshot")
    assert seen == []


async def test_observers_learn_of_what_a_part_of_an_undone_batch_committed(writer: Writer) -> None:
    invoice = await writer.purchase_invoice()
    seen = watch(writer)
    post = {"method": "POST", "url": f"{writer.company}/purchaseInvoices({invoice['id']})/Microsoft.NAV.post"}
    bad = {"method": "POST", "url": f"{writer.company}/customers", "headers": {"Content-Type": "application/json"}}
    await writer.batch([post, {**bad, "body": {}}], Isolation="snapshot")
    assert ("purchaseInvoices", "updated") in seen
    assert ("vendorLedgerEntries", "created") in seen


async def test_observers_learn_of_the_header_when_a_line_changes(writer: Writer) -> None:
    invoice = await writer.sales_invoice()
    seen = watch(writer)
    path = f"salesInvoices({invoice['id']})/salesInvoiceLines"
    await writer.create(path, {"lineObjectNumber": "1896-S", "quantity": 1})
    assert seen == [("salesInvoiceLines", "created"), ("salesInvoices", "updated")]


async def test_a_page_over_the_customer_table_changes_the_customer(writer: Writer) -> None:
    customer = await writer.customer()
    path = f"loyaltyCustomers({customer['id']})"
    match = {"If-Match": "*"}
    reply = await writer.send("PATCH", path, {"displayName": "Renamed"}, match, route=LOYALTY)
    assert (reply.status, reply.json["displayName"]) == (200, "Renamed")
    assert (await writer.customer())["displayName"] == "Renamed"
    refused = await writer.send("PATCH", path, {"contosoCreditScore": 1}, match, route=LOYALTY)
    assert (refused.status, refused.code) == (400, "BadRequest_InvalidOperation")


async def test_a_custom_api_takes_creates_changes_and_deletes(writer: Writer) -> None:
    body = {"number": "rc-9", "customerNumber": "10000", "monthlyAmount": 12.5, "status": "Ended"}
    made = (await writer.send("POST", "rentalContracts", body, route=LOYALTY)).json
    assert (made["number"], made["customerId"]) == ("RC-9", (await writer.customer())["id"])
    path = f"rentalContracts({made['id']})"
    changed = await writer.send("PATCH", path, {"monthlyAmount": 13}, {"If-Match": made["@odata.etag"]}, route=LOYALTY)
    assert changed.json["monthlyAmount"] == 13
    assert (await writer.send("DELETE", path, route=LOYALTY)).status == 204


async def test_the_automation_api_creates_a_company(writer: Writer) -> None:
    body = {"displayName": "Branch office"}
    reply = await writer.send("POST", "automationCompanies", body, route=AUTOMATION)
    assert reply.status == 201
    names = {row["displayName"] for row in await writer.rows(f"{writer.root}/companies")}
    assert "Branch office" in names
    again = await writer.send("POST", "automationCompanies", body, route=AUTOMATION)
    assert again.code == "Internal_EntityWithSameKeyExists"


async def test_the_automation_api_changes_a_user_and_creates_none(writer: Writer) -> None:
    user = (await writer.rows("users", route=AUTOMATION))[0]
    path = f"users({user['userSecurityId']})"
    match = {"If-Match": user["@odata.etag"]}
    reply = await writer.send("PATCH", path, {"contactEmail": "new@contoso.example"}, match, route=AUTOMATION)
    assert (reply.status, reply.json["contactEmail"]) == (200, "new@contoso.example")
    assert (await writer.send("POST", "users", {}, route=AUTOMATION)).status == 405


async def test_a_record_is_written_through_the_company_in_the_query_too(writer: Writer) -> None:
    url = f"{writer.root}/customers?company={identities.US_COMPANY_ID}"
    reply = await writer.post(url, {"displayName": "Contoso"})
    assert reply.status == 201
    assert (await writer.get(f"customers({reply.json['id']})")).status == 200
