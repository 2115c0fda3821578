"""The ready-made worlds hold what they promise."""

from __future__ import annotations

from copy import deepcopy
from itertools import islice

import pytest

from isthmus_sandbox.business_central import changes
from isthmus_sandbox.business_central.service import BusinessCentralService, Company
from isthmus_sandbox.business_central.tables import Row
from isthmus_sandbox.clock import SandboxClock
from isthmus_sandbox.entra.directory import Directory
from isthmus_sandbox.worlds import WORLDS, build_world, identities
from isthmus_sandbox.worlds.cronus import LARGE_COMPANY, LARGE_CUSTOMERS, add_cronus, add_large_company
from isthmus_sandbox.worlds.large import FABRIKAM
from isthmus_sandbox.worlds.messy import MESSY_COMPANY, TWIN_COMPANY

WANTED = (
    *("customers", "vendors", "items", "itemCategories", "accounts", "generalLedgerEntries", "journals"),
    *("journalLines", "salesInvoices", "salesInvoiceLines", "salesOrders", "salesOrderLines", "salesQuotes"),
    *("salesCreditMemos", "purchaseInvoices", "purchaseInvoiceLines", "purchaseOrders", "employees", "contacts"),
    *("dimensions", "dimensionValues", "paymentTerms", "paymentMethods", "shipmentMethods", "currencies"),
    *("currencyExchangeRates", "unitsOfMeasure", "countriesRegions", "salespeoplePurchasers", "taxGroups"),
    *("taxAreas", "locations", "projects", "bankAccounts", "companyInformation", "customerPayments"),
)
DERIVED = ("customerFinancialDetails", "loyaltyCustomers")


def built(name: str) -> tuple[Directory, BusinessCentralService]:
    """A world."""
    clock = SandboxClock()
    directory, service = Directory(clock), BusinessCentralService(clock)
    build_world(name, directory, service)
    return directory, service


def company(service: BusinessCentralService, name: str, environment: str = "Production") -> Company:
    """A company of a world."""
    found = service.environment_named(environment).company(name)
    assert found is not None
    return found


@pytest.mark.parametrize("name", [identities.US_COMPANY, identities.W1_COMPANY])
@pytest.mark.parametrize("environment", ["Production", "Sandbox"])
def test_both_cronus_companies_have_records_in_every_main_set(name: str, environment: str) -> None:
    _, service = built("cronus")
    holder = company(service, name, environment)
    empty = [set_name for set_name in WANTED if len(service.find_table(holder, set_name)[1]) == 0]
    assert empty == []
    assert len(service.find_table(holder, "users", "microsoft/automation/v2.0")[1]) == 4


def test_invoices_come_in_every_status_and_one_is_partly_paid() -> None:
    _, service = built("cronus")
    rows = list(service.find_table(company(service, identities.US_COMPANY), "salesInvoices")[1].rows())
    statuses = {row.values["status"] for row in rows}
    assert statuses == {"Paid", "Canceled", "Corrective", "Open", "Draft", "In_x0020_Review"}
    partly = [row for row in rows if row.values["status"] == "Open"]
    assert any(0 < row.values["remainingAmount"] < row.values["totalAmountIncludingTax"] for row in partly)  # type: ignore[operator]  # amounts are decimals


def test_references_lead_to_records_that_exist() -> None:
    _, service = built("cronus")
    holder = company(service, identities.US_COMPANY)
    blank = "00000000-0000-0000-0000-000000000000"
    broken: list[tuple[str, str, object]] = []
    for (route, set_name), table in list(holder.tables.items()):
        entity = service.catalogue.routes[route][set_name]
        for navigation in entity.navigations:
            for name, target_property in navigation.via:
                target = service.catalogue.routes[route][navigation.target_set]
                if target_property not in target.key or navigation.target_set in DERIVED:
                    continue
                other = service.table(holder, target)
                ids = {row.values[name] for row in table.rows()} - {blank, ""}
                broken.extend((set_name, name, row_id) for row_id in ids if other.get(str(row_id)) is None)
    known = {"parentId", "accountId", "journalId"}
    assert [found for found in broken if found[1] not in known] == []


def test_the_ledger_balances() -> None:
    _, service = built("cronus")
    for name in (identities.US_COMPANY, identities.W1_COMPANY):
        entries = list(service.find_table(company(service, name), "generalLedgerEntries")[1].rows())
        debit = sum(row.values["debitAmount"] for row in entries)  # type: ignore[misc]  # amounts are decimals
        credit = sum(row.values["creditAmount"] for row in entries)  # type: ignore[misc]  # likewise
        assert debit == credit > 0


def test_apps_and_people_are_ready_to_sign_in() -> None:
    directory, service = built("cronus")
    assert {user.user_name for user in directory.users.values()} == {identities.ADMIN_NAME, identities.USER_NAME}
    production = service.environment_named("Production")
    assert identities.CONFIDENTIAL_APP_ID in production.apps
    assert identities.UNREGISTERED_APP_ID not in production.apps
    assert directory.apps[identities.CONFIDENTIAL_APP_ID].secrets[0].value == identities.CONFIDENTIAL_APP_SECRET


def test_the_large_world_counts_in_millions_without_holding_them() -> None:
    _, service = built("large")
    holder = company(service, FABRIKAM)
    _, table = service.find_table(holder, "customers")
    assert len(table) == 1_000_000
    assert len(table.overlay) == 0


def test_the_messy_world_is_messy() -> None:
    _, service = built("messy")
    first, second = company(service, MESSY_COMPANY), company(service, TWIN_COMPANY)
    rows = list(service.find_table(first, "customers")[1].rows())
    copies = {row.id for row in service.find_table(second, "customers")[1].rows()}
    assert {row.id for row in rows} == copies
    stamps = [row.stamp_ms for row in rows]
    assert max(stamps.count(stamp) for stamp in set(stamps)) >= 60
    assert any("'" in str(row.values["displayName"]) for row in rows)
    assert service.environment_named("Production").switches.empty_page_every == 4


def test_an_unknown_world_is_named() -> None:
    assert set(WORLDS) == {"cronus", "large", "messy"}
    with pytest.raises(ValueError, match="atlantis"):
        built("atlantis")


def records(service: BusinessCentralService) -> dict[tuple[str, str, str, str], list[Row]]:
    """The first records of every table, by environment, company, route and set."""
    return {
        (environment.name, holder.name, *address): list(islice(table.rows(), 200))
        for tenant in service.tenants.values()
        for environment in tenant.environments.values()
        for holder in environment.companies
        for address, table in holder.tables.items()
    }


def test_the_records_of_cronus_are_those_that_its_books_write() -> None:
    clock = SandboxClock()
    written = BusinessCentralService(clock)
    demo = add_cronus(Directory(clock), written)
    add_large_company(written, demo.production, LARGE_COMPANY, customers=LARGE_CUSTOMERS, invoices=1_000)
    assert records(built("cronus")[1]) == records(written)


def test_what_happens_in_one_world_stays_in_it() -> None:
    _, changed = built("cronus")
    before = deepcopy(records(changed))
    for environment in ("Production", "Sandbox"):
        for name in (identities.US_COMPANY, identities.W1_COMPANY):
            place = changed.place(name, "customers", environment=environment)
            changes.change(changed, place, count=3)
            changes.delete(changed, place, count=1)
            changes.insert(changed, place, count=1)
            changes.restamp(changed, changed.place(name, "vendors", environment=environment))
            changes.seed(changed, changed.place(name, "salesInvoices", environment=environment), 10, lines=2)
    assert records(changed) != before
    assert records(built("cronus")[1]) == before
