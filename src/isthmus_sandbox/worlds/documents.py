"""Documents of a CRONUS company: invoices in every status, orders, quotes, credit memos, journals, ledger entries."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from isthmus_sandbox.business_central.tables import Row
from isthmus_sandbox.business_central.values import BLANK_GUID, Value
from isthmus_sandbox.worlds.books import Books, demo_facts, money

FINANCE = "microsoft/reportsFinance/beta"


@dataclass(frozen=True, slots=True)
class Line:
    """A planned document line; without an item it is a comment."""

    item: str
    quantity: int
    price: Decimal


@dataclass(slots=True)
class Ledger:
    """Running numbers of the ledgers of one company."""

    general: int = 0
    customer: int = 0
    vendor: int = 0
    items: int = 0
    open_amounts: dict[str, Decimal] = field(default_factory=dict)


class Documents:
    """Writes documents and their entries into a company."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self.ledger = Ledger()
        self.tax_percent = Decimal("6.00006") if books.is_us else Decimal(25)
        self.tax_code = "FURNITURE" if books.is_us else "VAT25"

    # -- lines and totals ------------------------------------------------------------------------------------------

    def amounts(self, lines: list[Line]) -> tuple[Decimal, Decimal]:
        """Net amount and tax of planned lines."""
        net = sum((money(line.price * line.quantity) for line in lines), Decimal(0))
        return net, money(net * self.tax_percent / 100)

    def write_lines(self, set_name: str, document: Row, lines: list[Line], price_name: str) -> None:
        """The lines of a document."""
        books = self.books
        for index, line in enumerate(lines, start=1):
            if not line.item:
                books.add(
                    set_name,
                    documentId=document.id,
                    sequence=index * 10_000,
                    lineType="Comment",
                    description="Deliver to the back door, please",
                )
                continue
            net = money(line.price * line.quantity)
            tax = money(net * self.tax_percent / 100)
            item = books.service.find_table(books.company, "items")[1].get(books.id_of("items", line.item))
            assert item is not None
            values: dict[str, Value] = {
                "documentId": document.id,
                "sequence": index * 10_000,
                "itemId": item.id,
                "lineType": "Item",
                "lineObjectNumber": line.item,
                "description": item.values["displayName"],
                "unitOfMeasureId": books.id_of("unitsOfMeasure", "PCS"),
                "unitOfMeasureCode": "PCS",
                "quantity": Decimal(line.quantity),
                price_name: line.price,
                "amountExcludingTax": net,
                "taxCode": self.tax_code,
                "taxPercent": self.tax_percent,
                "totalTaxAmount": tax,
                "amountIncludingTax": net + tax,
                "netAmount": net,
                "netTaxAmount": tax,
                "netAmountIncludingTax": net + tax,
            }
            books.add(set_name, values)

    # -- sales -----------------------------------------------------------------------------------------------------

    def sales(self, set_name: str, number: str, customer: str, lines: list[Line], **more: Value) -> Row:
        """A sales document with its lines."""
        books = self.books
        party = books.service.find_table(books.company, "customers")[1].get(books.id_of("customers", customer))
        assert party is not None
        net, tax = self.amounts(lines)
        entity = books.service.catalogue.entity("v2.0", set_name)
        assert entity is not None
        address = {
            f"{prefix}{suffix}": party.values[source]
            for prefix in ("sellTo", "billTo", "shipTo")
            for suffix, source in (
                ("AddressLine1", "addressLine1"),
                ("AddressLine2", "addressLine2"),
                ("City", "city"),
                ("Country", "country"),
                ("State", "state"),
                ("PostCode", "postalCode"),
            )
        }
        values: dict[str, Value] = {
            **address,
            "number": number,
            "customerId": party.id,
            "customerNumber": customer,
            "customerName": party.values["displayName"],
            "billToName": party.values["displayName"],
            "billToCustomerId": party.id,
            "billToCustomerNumber": customer,
            "shipToName": party.values["displayName"],
            "currencyId": BLANK_GUID,
            "currencyCode": books.company.currency_code,
            "paymentTermsId": party.values["paymentTermsId"],
            "shipmentMethodId": party.values["shipmentMethodId"],
            "salesperson": party.values["salespersonCode"],
            "email": party.values["email"],
            "shortcutDimension2Code": "LARGE",
            "totalAmountExcludingTax": net,
            "totalTaxAmount": tax,
            "totalAmountIncludingTax": net + tax,
            **more,
        }
        document = books.add(set_name, {name: value for name, value in values.items() if name in entity.by_name})
        line_set = entity.navigation_by_name[f"{entity.name}Lines"].target_set
        self.write_lines(line_set, document, lines, "unitPrice")
        return document

    def sales_invoice(
        self, number: str, customer: str, lines: list[Line], status: str, day: str, paid: Decimal = Decimal(0)
    ) -> Row:
        """A sales invoice in a status; posted ones leave entries in the ledgers."""
        net, tax = self.amounts(lines)
        total = net + tax
        remaining = total - paid if status in ("Open", "Draft", "In_x0020_Review") else Decimal(0)
        invoice = self.sales(
            "salesInvoices",
            number,
            customer,
            lines,
            invoiceDate=day,
            postingDate=day,
            dueDate=day[:8] + "28",
            status=status,
            remainingAmount=remaining,
            externalDocumentNumber=f"PO-{number[-4:]}",
        )
        if status not in ("Draft", "In_x0020_Review"):
            self.post(number, day, "Invoice", f"Invoice {number}", ("10400", total), ("40100", net), ("22300", tax))
            self.customer_entry(number, day, "Invoice", customer, total, is_open=status == "Open")
            if paid:
                self.customer_entry(f"PMT{number[-4:]}", day, "Payment", customer, -paid, is_open=False)
            self.item_entries(lines, day, number, customer, "Sale", -1)
        return invoice

    # -- purchases -------------------------------------------------------------------------------------------------

    def purchase(
        self, set_name: str, number: str, vendor: str, lines: list[Line], price_name: str, **more: Value
    ) -> Row:
        """A purchase document with its lines."""
        books = self.books
        party = books.service.find_table(books.company, "vendors")[1].get(books.id_of("vendors", vendor))
        assert party is not None
        net, tax = self.amounts(lines)
        entity = books.service.catalogue.entity("v2.0", set_name)
        assert entity is not None
        values: dict[str, Value] = {
            "number": number,
            "vendorId": party.id,
            "vendorNumber": vendor,
            "vendorName": party.values["displayName"],
            "payToName": party.values["displayName"],
            "payToVendorId": party.id,
            "payToVendorNumber": vendor,
            "buyFromAddressLine1": party.values["addressLine1"],
            "buyFromCountry": party.values["country"],
            "buyFromPostCode": party.values["postalCode"],
            "payToAddressLine1": party.values["addressLine1"],
            "payToCountry": party.values["country"],
            "currencyId": BLANK_GUID,
            "currencyCode": books.company.currency_code,
            "purchaser": "LM",
            "totalAmountExcludingTax": net,
            "totalTaxAmount": tax,
            "totalAmountIncludingTax": net + tax,
            **more,
        }
        document = books.add(set_name, {name: value for name, value in values.items() if name in entity.by_name})
        line_set = entity.navigation_by_name[f"{entity.name}Lines"].target_set
        self.write_lines(line_set, document, lines, price_name)
        return document

    def purchase_invoice(self, number: str, vendor: str, lines: list[Line], status: str, day: str) -> Row:
        """A purchase invoice; a draft is always `Draft`."""
        net, tax = self.amounts(lines)
        invoice = self.purchase(
            "purchaseInvoices",
            number,
            vendor,
            lines,
            "unitCost",
            invoiceDate=day,
            postingDate=day,
            dueDate=day,
            vendorInvoiceNumber="107001" if number == "108001" else f"V-{number}",
            status=status,
        )
        if status != "Draft":
            total = net + tax
            self.post(number, day, "Invoice", f"Purchase {number}", ("10700", net), ("22400", tax), ("20100", -total))
            self.vendor_entry(number, day, "Invoice", vendor, -total, is_open=status == "Open")
            self.item_entries(lines, day, number, vendor, "Purchase", 1)
        return invoice

    # -- ledgers ---------------------------------------------------------------------------------------------------

    def post(self, number: str, day: str, kind: str, text: str, *amounts: tuple[str, Decimal]) -> None:
        """General ledger entries: the first amount is the debit side, income and tax accounts take the other."""
        for index, (account, amount) in enumerate(amounts):
            is_credit = amount < 0 or (index > 0 and account[0] in "24" and account != "22400")
            self.ledger.general += 1
            self.books.add(
                "generalLedgerEntries",
                entryNumber=self.ledger.general,
                postingDate=day,
                documentNumber=number,
                documentType=kind,
                accountId=self.books.id_of("accounts", account),
                accountNumber=account,
                description=text,
                debitAmount=Decimal(0) if is_credit else amount,
                creditAmount=abs(amount) if is_credit else Decimal(0),
            )

    def customer_entry(
        self, number: str, day: str, kind: str, customer: str, amount: Decimal, *, is_open: bool
    ) -> None:
        """An entry of the customer ledger, and its first detailed entry."""
        self.ledger.customer += 1
        self._party_entry("customer", self.ledger.customer, number, day, kind, customer, amount, is_open)

    def vendor_entry(self, number: str, day: str, kind: str, vendor: str, amount: Decimal, *, is_open: bool) -> None:
        """An entry of the vendor ledger, and its first detailed entry."""
        self.ledger.vendor += 1
        self._party_entry("vendor", self.ledger.vendor, number, day, kind, vendor, amount, is_open)

    def _party_entry(
        self, party: str, entry: int, number: str, day: str, kind: str, owner: str, amount: Decimal, is_open: bool
    ) -> None:
        debit, credit = max(amount, Decimal(0)), max(-amount, Decimal(0))
        common: dict[str, Value] = {
            "entryNumber": entry,
            "postingDate": day,
            f"{party}Number": owner,
            "amount": amount,
            "debitAmount": debit,
            "creditAmount": credit,
            "amountLocalCurrency": amount,
            "debitAmountLocalCurrency": debit,
            "creditAmountLocalCurrency": credit,
        }
        self.books.add(
            f"{party}LedgerEntries",
            common,
            route=FINANCE,
            documentType=kind,
            documentNumber=number,
            description=f"{kind} {number}",
            open=is_open,
        )
        self.books.add(f"detailed{party.capitalize()}LedgerEntries", common, route=FINANCE)

    def item_entries(self, lines: list[Line], day: str, number: str, party: str, kind: str, sign: int) -> None:
        """Item ledger entries of a posted document."""
        for line in lines:
            if not line.item:
                continue
            self.ledger.items += 1
            self.books.add(
                "itemLedgerEntries",
                entryNumber=self.ledger.items,
                itemNumber=line.item,
                postingDate=day,
                entryType=kind,
                sourceNumber=party,
                sourceType="Customer" if sign < 0 else "Vendor",
                documentNumber=number,
                documentType="Sales_x0020_Shipment" if sign < 0 else "Purchase_x0020_Receipt",
                quantity=Decimal(sign * line.quantity),
                costAmountActual=money(line.price * line.quantity * sign),
            )


def write_documents(books: Books) -> None:
    """All documents of a company."""
    documents = Documents(books)
    documents.post("START", "2025-01-01", "_x0020_", "Opening balance", ("10100", Decimal("125476.82")))
    documents.post("START", "2025-01-01", "_x0020_", "Opening balance", ("30100", Decimal("-125476.82")))
    _write_sales(documents)
    _write_purchases(documents)
    _write_journals(books)
    _write_attachments(books)
    _write_contracts(books)


def _price(books: Books, item: str) -> Decimal:
    row = books.service.find_table(books.company, "items")[1].get(books.id_of("items", item))
    assert row is not None
    return Decimal(str(row.values["unitPrice"]))


def _write_sales(documents: Documents) -> None:
    books = documents.books
    plan = [Line("1896-S", 1, _price(books, "1896-S")), Line("2000-S", 4, _price(books, "2000-S"))]
    chairs = [Line("1968-S", 6, _price(books, "1968-S"))]
    for number, customer, status, day in (
        ("PS-INV103001", "10000", "Paid", "2025-01-15"),
        ("PS-INV103002", "20000", "Canceled", "2025-01-20"),
        ("PS-INV103003", "30000", "Corrective", "2025-01-25"),
        ("PS-INV103004", "40000", "Open", "2025-02-03"),
        ("PS-INV103005", "50000", "Open", "2025-02-10"),
    ):
        paid = Decimal("100.5") if number == "PS-INV103005" else Decimal(0)
        documents.sales_invoice(number, customer, plan, status, day, paid)
    documents.sales_invoice("102001", "10000", chairs, "Draft", "2025-03-01")
    documents.sales_invoice("102002", "20000", chairs, "In_x0020_Review", "2025-03-02")
    documents.sales_invoice("102003", "30000", [*chairs, Line("", 0, Decimal(0))], "Open", "2025-03-03")
    for index, (number, kind) in enumerate((("S-ORD101001", "Open"), ("S-ORD101002", "Draft"))):
        documents.sales("salesOrders", number, f"{index + 1}0000", plan, orderDate="2025-03-05", status=kind)
    documents.sales("salesQuotes", "S-QUO1001", "10000", plan, documentDate="2025-03-06", status="Sent")
    documents.sales(
        "salesCreditMemos",
        "PS-CR104001",
        "20000",
        plan,
        creditMemoDate="2025-01-22",
        postingDate="2025-01-22",
        status="Corrective",
        invoiceId=books.id_of("salesInvoices", "PS-INV103002"),
        invoiceNumber="PS-INV103002",
    )
    books.add(
        "dimensionSetLines",
        code="CUSTOMERGROUP",
        parentId=books.id_of("salesInvoices", "PS-INV103001"),
        parentType="Sales_x0020_Invoice",
        displayName="Customergroup",
        valueId=books.id_of("dimensionValues", "LARGE"),
        valueCode="LARGE",
        valueDisplayName="Large Business",
    )


def _write_purchases(documents: Documents) -> None:
    books = documents.books
    for index, fact in enumerate(demo_facts()["purchaseInvoicesW1Lines"]):
        cost = Decimal("780.7") if books.is_us and index == 0 else Decimal(str(fact["unitCost"]))
        lines = [Line(fact["item"], fact["quantity"], cost)]
        if index == 1:
            lines.append(Line("", 0, Decimal(0)))
        status = "Paid" if index == 0 else "Open" if index < 12 else "Draft"
        number = f"{108001 + index}" if status != "Draft" else f"{107001 + index}"
        day = "2019-01-01" if index == 0 else f"2025-02-{index + 1:02d}"
        documents.purchase_invoice(number, fact["vendor"], lines, status, day)
    documents.purchase(
        "purchaseOrders",
        "106001",
        "10000",
        [Line("1900-S", 12, Decimal("97.5"))],
        "directUnitCost",
        orderDate="2025-03-04",
        status="Open",
    )


def _write_journals(books: Books) -> None:
    bank: dict[str, Value] = {"balancingAccountId": books.id_of("accounts", "10100"), "balancingAccountNumber": "10100"}
    for set_name, line_set, code, party in (
        ("journals", "journalLines", "DEFAULT", ""),
        ("customerPaymentJournals", "customerPayments", "PAYMENT", "customer"),
        ("vendorPaymentJournals", "vendorPayments", "VENDPAY", "vendor"),
    ):
        journal = books.add(set_name, bank, code=code, displayName=f"{code.capitalize()} journal")
        for index in range(1, 4):
            values: dict[str, Value] = {
                "journalId": journal.id,
                "journalDisplayName": code,
                "lineNumber": index * 10_000,
                "postingDate": "2025-03-07",
                "documentNumber": f"G0000{index}",
                "amount": Decimal(f"{index * 100}.25") * (-1 if party == "customer" else 1),
                "description": f"Line {index} of {code}",
            }
            if party:
                number = f"{index}0000"
                values |= {f"{party}Id": books.id_of(f"{party}s", number), f"{party}Number": number}
            else:
                values |= {
                    "accountType": "G_x002F_L_x0020_Account",
                    "accountId": books.id_of("accounts", "60100"),
                    "accountNumber": "60100",
                }
            books.add(line_set, values)


def _write_attachments(books: Books) -> None:
    invoice = books.id_of("purchaseInvoices", "108001")
    content = b"Scanned invoice 107001\n"
    for set_name in ("attachments", "documentAttachments"):
        row = books.add(
            set_name,
            parentId=invoice,
            parentType="Purchase_x0020_Invoice",
            fileName="invoice-107001.txt",
            byteSize=len(content),
        )
        address = (books.company.id, set_name, row.id, "attachmentContent")
        books.environment.media[address] = ("application/octet-stream", content)


def _write_contracts(books: Books) -> None:
    """Records of the custom API."""
    for index, status in enumerate(("_x0020_", "In_x0020_Negotiation", "Active_x0020__x0028_Auto_x002D_Renew_x0029_")):
        number = f"{index + 1}0000"
        books.add(
            "rentalContracts",
            route="contoso/app1/v1.0",
            number=f"RC-{index + 1:04d}",
            customerNumber=number,
            customerId=books.id_of("customers", number),
            description="Office furniture, per month",
            status=status,
            monthlyAmount=Decimal("249.99") * (index + 1),
            startingDate="2025-01-01",
            contosoRegion="NORTH",
            contosoScore=index * 10,
        )
