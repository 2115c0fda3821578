"""The kinds of sales and purchase documents as data: sets, lines, parties, series, and what posting makes of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DocumentKind:
    """`party` is `customer` or `vendor`; `price` the unit price property of a line; `sign` the balance's direction."""

    set_name: str
    line_set: str
    label: str
    party: str
    party_set: str
    price: str
    date: str
    document_type: str = ""
    sign: int = 1

    @property
    def is_sales(self) -> bool:
        """True for sales documents."""
        return self.party == "customer"

    @property
    def is_postable(self) -> bool:
        """Invoices and credit memos: the kinds that hold posted documents beside drafts."""
        return bool(self.document_type)

    @property
    def pay_to(self) -> str:
        """The prefix of the party that pays or is paid."""
        return "billTo" if self.is_sales else "payTo"

    @property
    def address(self) -> str:
        """The prefix of the party's own address."""
        return "sellTo" if self.is_sales else "buyFrom"


_SALES = ("customer", "customers", "unitPrice")
_PURCHASE = ("vendor", "vendors")

KINDS: tuple[DocumentKind, ...] = (
    DocumentKind("salesInvoices", "salesInvoiceLines", "Sales Invoice", *_SALES, "invoiceDate", "Invoice"),
    DocumentKind(
        "salesCreditMemos",
        "salesCreditMemoLines",
        "Sales Credit Memo",
        *_SALES,
        "creditMemoDate",
        "Credit_x0020_Memo",
        -1,
    ),
    DocumentKind("salesOrders", "salesOrderLines", "Sales Order", *_SALES, "orderDate"),
    DocumentKind("salesQuotes", "salesQuoteLines", "Sales Quote", *_SALES, "documentDate"),
    DocumentKind(
        "purchaseInvoices", "purchaseInvoiceLines", "Purchase Invoice", *_PURCHASE, "unitCost", "invoiceDate", "Invoice"
    ),
    DocumentKind(
        "purchaseCreditMemos",
        "purchaseCreditMemoLines",
        "Purchase Credit Memo",
        *_PURCHASE,
        "unitCost",
        "creditMemoDate",
        "Credit_x0020_Memo",
        -1,
    ),
    DocumentKind("purchaseOrders", "purchaseOrderLines", "Purchase Order", *_PURCHASE, "directUnitCost", "orderDate"),
)

BY_SET = {kind.set_name: kind for kind in KINDS}
BY_LINE_SET = {kind.line_set: kind for kind in KINDS}
