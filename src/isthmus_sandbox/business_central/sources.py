"""Where the rows of a set come from in this request: its table, or a computation over other tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal

from isthmus_sandbox.business_central import reports
from isthmus_sandbox.business_central.catalogue import (
    AUTOMATION_ROUTE,
    REPORTS_FINANCE_ROUTE,
    RUNTIME_ROUTE,
    STANDARD_ROUTE,
    Entity,
)
from isthmus_sandbox.business_central.custom_api import CUSTOM_ROUTE, ODATA_ROUTE, PUBLISHED_PAGE
from isthmus_sandbox.business_central.render import ReadContext
from isthmus_sandbox.business_central.rowsets import ComputedRows, DerivedRows, RowSet
from isthmus_sandbox.business_central.tables import Row, Table
from isthmus_sandbox.business_central.values import BLANK_DATE, UNSTAMPED_MS, Value, blank, stamp_text

Maker = Callable[[ReadContext, Entity], RowSet]

_INCOME = ("Income", "Cost_x0020_of_x0020_Goods_x0020_Sold", "Expense")

REPORTS: dict[str, reports.Report] = {
    "trialBalances": reports.trial_balances,
    "balanceSheets": reports.statement("balance", ("Assets", "Liabilities", "Equity")),
    "incomeStatements": reports.statement("netChange", _INCOME),
    "cashFlowStatements": reports.statement("netChange", ("Assets",)),
    "retainedEarningsStatements": reports.statement("netChange", ("Equity",)),
    "agedAccountsReceivables": reports.aged("customers", "salesInvoices", "customer"),
    "agedAccountsPayables": reports.aged("vendors", "purchaseInvoices", "vendor"),
    "customerSales": reports.turnover("customers", "salesInvoices", "customer", "totalSalesAmount"),
    "vendorPurchases": reports.turnover("vendors", "purchaseInvoices", "vendor", "totalPurchaseAmount"),
}

REPORT_SETS: frozenset[str] = frozenset(REPORTS) | {"pdfDocument"}
"""Sets that cost one report run per record when they are expanded (BC-42)."""

PICTURE_PARENTS = {
    "customers": "Customer",
    "items": "Item",
    "vendors": "Vendor",
    "employees": "Employee",
    "contacts": "Contact",
    "itemVariants": "Item_x0020_Variant",
}
DOCUMENT_SETS = {
    "salesInvoices": "Sales_x0020_Invoice",
    "salesOrders": "Sales_x0020_Order",
    "salesQuotes": "Sales_x0020_Quote",
    "salesCreditMemos": "Sales_x0020_Credit_x0020_Memo",
    "purchaseInvoices": "Purchase_x0020_Invoice",
    "purchaseOrders": "Purchase_x0020_Order",
    "purchaseCreditMemos": "Purchase_x0020_Credit_x0020_Memo",
    "projects": "Job",
}


def stored_table(context: ReadContext, set_name: str, route: str = STANDARD_ROUTE) -> Table:
    """The table of a set, as the replica sees it when the request may be served stale (BC-46)."""
    assert context.company is not None
    table = context.service.find_table(context.company, set_name, route)[1]
    if not context.stale:
        return table
    return table.as_of(context.service.clock.time_s() - context.environment.switches.replica_lag_s)


def rows_of(context: ReadContext, entity: Entity, filter_text: str | None = None) -> RowSet:
    """The rows of a set; `filter_text` steers report sets."""
    report = REPORTS.get(entity.set_name)
    if report is not None:
        return ComputedRows(report(context, entity, reports.report_filter(filter_text)))
    maker = _MAKERS.get((entity.route, entity.set_name))
    if maker is not None:
        return maker(context, entity)
    return stored_table(context, entity.set_name, entity.route)


def _shaped(entity: Entity, row: Row, values: dict[str, Value], context: ReadContext) -> Row:
    """A row of another entity: given values, then those of the same name, then blanks."""
    shaped: dict[str, Value] = {}
    for prop in entity.properties:
        if prop.type == "Edm.Stream":
            continue
        value = values.get(prop.name, row.values.get(prop.name))
        shaped[prop.name] = blank(prop, context.service.enums) if value is None else value
    if entity.stamp is not None:
        shaped[entity.stamp] = stamp_text(row.stamp_ms)
    return Row(row.id, shaped, row.stamp_ms, row.version)


def _derived(parent_set: str, values: Callable[[Row], dict[str, Value]] = lambda row: {}) -> Maker:
    """One row per row of a v2.0 set, same id, with further values computed from it."""

    def make(context: ReadContext, entity: Entity) -> RowSet:
        def derive(row: Row) -> Row:
            return _shaped(entity, row, values(row), context)

        return DerivedRows(stored_table(context, parent_set), derive, entity.key[0] if entity.key else "id")

    return make


def _financial_detail(row: Row) -> dict[str, Value]:
    due = Decimal(str(row.values["balanceDue"]))
    return {"balance": due, "totalSalesExcludingTax": due * 3, "overdueAmount": due / 2}


def _loyalty(row: Row) -> dict[str, Value]:
    levels = ("", "BRONZE", "SILVER", "GOLD")
    return {
        "contosoLoyaltyLevel": levels[row.version % 4],
        "contosoCreditScore": Decimal(row.version % 1000) / 4,
        "contosoOptIn": row.version % 2 == 0,
    }


def _ledger_account(row: Row) -> dict[str, Value]:
    return {
        "accountNumber": row.values["number"],
        "accountName": row.values["displayName"],
        "accountCategory": row.values["category"],
        "accountSubcategoryDescription": row.values["subCategory"],
    }


def _ledger_entry(row: Row) -> dict[str, Value]:
    debit, credit = Decimal(str(row.values["debitAmount"])), Decimal(str(row.values["creditAmount"]))
    return {"number": row.values["entryNumber"], "amount": debit - credit}


def _posted(document_set: str) -> Maker:
    """Posted documents only: the automate API shows no drafts."""

    def make(context: ReadContext, entity: Entity) -> RowSet:
        posted = (
            row
            for row in stored_table(context, document_set).rows()
            if row.values["status"] not in ("Draft", "In_x0020_Review")
        )
        return ComputedRows([_shaped(entity, row, {"apiId": row.id}, context) for row in posted])

    return make


class _ByParent:
    """Rows that exist per parent record of several sets and are found by its id (pictures, PDF documents)."""

    def __init__(self, context: ReadContext, entity: Entity, parents: dict[str, str], key: str) -> None:
        self._context, self._entity, self._parents, self._key = context, entity, parents, key

    def __len__(self) -> int:
        return sum(len(stored_table(self._context, set_name)) for set_name in self._parents)

    def get(self, row_id: str) -> Row | None:
        """The row below the parent of an id."""
        for set_name, kind in self._parents.items():
            parent = stored_table(self._context, set_name).get(row_id)
            if parent is not None:
                return self._row(parent, kind)
        return None

    def _row(self, parent: Row, kind: str) -> Row:
        values: dict[str, Value] = {"id": parent.id, "parentId": parent.id, "parentType": kind}
        assert self._context.company is not None
        address = (self._context.company.id, "pictures", parent.id, "pictureContent")
        uploaded = self._context.environment.media.get(address)
        if uploaded is not None:
            values |= {"contentType": uploaded[0], "width": 1, "height": 1}
        bare = Row(parent.id, {}, UNSTAMPED_MS, parent.version)
        return _shaped(self._entity, bare, values, self._context)

    def rows(self, after_id: str | None = None, from_id: str | None = None) -> Iterator[Row]:
        """Every row, parents in order of their sets."""
        for set_name, kind in self._parents.items():
            for parent in stored_table(self._context, set_name).rows(after_id, from_id):
                yield self._row(parent, kind)

    def rows_by_stamp(self, low_ms: int | None, high_ms: int | None) -> Iterator[Row]:
        """None of these rows has a stamp."""
        return iter(())

    def count_by_stamp(self, low_ms: int | None, high_ms: int | None) -> int:
        """None of these rows has a stamp."""
        return 0

    def finds(self, property_name: str, value: Value) -> bool:
        """By the id of the parent only."""
        return property_name in ("id", self._key)

    def matching(self, property_name: str, value: Value) -> list[Row]:
        """Below one parent."""
        if property_name in ("id", self._key):
            row = self.get(str(value))
            return [row] if row is not None else []
        return [row for row in self.rows() if row.values.get(property_name) == value]


def _contacts_information(context: ReadContext, entity: Entity) -> RowSet:
    """Person contacts of the companies that are customers or vendors."""
    related: dict[str, list[tuple[str, str]]] = {}
    for set_name, kind in (("customers", "Customer"), ("vendors", "Vendor")):
        table = stored_table(context, set_name)
        if len(table) > RELATED_PARTIES_MAX:
            continue
        for party in table.rows():
            related.setdefault(str(party.values["displayName"]), []).append((party.id, kind))
    found = []
    for contact in stored_table(context, "contacts").rows():
        for party_id, kind in related.get(str(contact.values["companyName"]), ()):
            values: dict[str, Value] = {
                "contactId": contact.id,
                "contactNumber": contact.values["number"],
                "contactName": contact.values["displayName"],
                "contactType": contact.values["type"],
                "relatedId": party_id,
                "relatedType": kind,
            }
            found.append(Row(contact.id, values, UNSTAMPED_MS, contact.version))
    return ComputedRows(found)


RELATED_PARTIES_MAX = 50_000
"""Larger tables of parties hold generated rows without contacts."""


def _global_settings(context: ReadContext, entity: Entity) -> RowSet:
    company = context.company
    assert company is not None
    values: dict[str, Value] = {
        "company": company.id,
        "companyName": company.name,
        "additionalReportingCurrency": "",
        "localCurrencyCode": company.currency_code,
    }
    return ComputedRows([Row(company.id, values, UNSTAMPED_MS, 0)])


def _automation_companies(context: ReadContext, entity: Entity) -> RowSet:
    rows = []
    for index, company in enumerate(context.environment.companies, start=1):
        values: dict[str, Value] = {
            "id": index,
            "name": company.name,
            "evaluationCompany": False,
            "displayName": company.display_name,
            "businessProfileId": "",
        }
        rows.append(Row(company.id, values, UNSTAMPED_MS, company.timestamp))
    return ComputedRows(rows)


def _api_routes(context: ReadContext, entity: Entity) -> RowSet:
    routes = [route for route in context.service.catalogue.routes if route != ODATA_ROUTE]
    return ComputedRows([Row(route, {"route": route}, UNSTAMPED_MS, 0) for route in sorted(routes)])


def _webhook_resources(context: ReadContext, entity: Entity) -> RowSet:
    named = []
    for route in context.service.catalogue.routes:
        for other in context.service.entities(context.environment, route):
            if other.webhook:
                named.append(other.set_name if route == STANDARD_ROUTE else f"{route}/{other.set_name}")
    return ComputedRows([Row(name, {"resource": name}, UNSTAMPED_MS, 0) for name in sorted(named)])


def _customer_card(context: ReadContext, entity: Entity) -> RowSet:
    """The published page: one row per customer and one in which every value is empty (BC-13)."""
    rows = [Row("", {prop.name: "" for prop in entity.properties}, UNSTAMPED_MS, 0)]
    for customer in stored_table(context, "customers").rows():
        values: dict[str, Value] = {
            "No": customer.values["number"],
            "Name": customer.values["displayName"],
            "Balance_LCY": f"{customer.values['balanceDue']}",
            "Blocked": str(customer.values["blocked"]).replace("_x0020_", " "),
            "Contact": "",
            "Last_Date_Modified": stamp_text(customer.stamp_ms)[:10] if customer.stamp_ms > 0 else BLANK_DATE,
        }
        rows.append(Row(customer.id, values, customer.stamp_ms, customer.version))
    return ComputedRows(rows)


def _pictures(context: ReadContext, entity: Entity) -> RowSet:
    rows: RowSet = _ByParent(context, entity, PICTURE_PARENTS, "id")
    return rows


def _pdf_documents(context: ReadContext, entity: Entity) -> RowSet:
    rows: RowSet = _ByParent(context, entity, DOCUMENT_SETS, "parentId")
    return rows


_MAKERS: dict[tuple[str, str], Maker] = {
    (STANDARD_ROUTE, "customerFinancialDetails"): _derived("customers", _financial_detail),
    (STANDARD_ROUTE, "contactsInformation"): _contacts_information,
    (STANDARD_ROUTE, "pictures"): _pictures,
    (STANDARD_ROUTE, "pdfDocument"): _pdf_documents,
    (AUTOMATION_ROUTE, "automationCompanies"): _automation_companies,
    (REPORTS_FINANCE_ROUTE, "customers"): _derived("customers"),
    (REPORTS_FINANCE_ROUTE, "vendors"): _derived("vendors"),
    (REPORTS_FINANCE_ROUTE, "generalLedgerAccounts"): _derived("accounts", _ledger_account),
    (REPORTS_FINANCE_ROUTE, "generalLedgerEntries"): _derived("generalLedgerEntries", _ledger_entry),
    (REPORTS_FINANCE_ROUTE, "globalSettings"): _global_settings,
    ("microsoft/automate/v1.0", "postedSalesInvoices"): _posted("salesInvoices"),
    ("microsoft/automate/v1.0", "postedPurchaseInvoices"): _posted("purchaseInvoices"),
    (RUNTIME_ROUTE, "apiRoutes"): _api_routes,
    (RUNTIME_ROUTE, "webhookSupportedResources"): _webhook_resources,
    (CUSTOM_ROUTE, "loyaltyCustomers"): _derived("customers", _loyalty),
    (ODATA_ROUTE, PUBLISHED_PAGE): _customer_card,
}
