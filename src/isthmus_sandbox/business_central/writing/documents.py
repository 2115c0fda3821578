"""What happens to a sales or purchase document while it is written: parties, dates, lines, totals, status.

Triggers run in the order in which properties arrive: a customer brings its addresses, currency and terms, a later
property overrides them (BC-69). Totals are recomputed with every line; the header's stamp moves with them (BC-98).
"""

from __future__ import annotations

from decimal import Decimal

from isthmus_sandbox.business_central.catalogue import EnumType
from isthmus_sandbox.business_central.tables import Row
from isthmus_sandbox.business_central.values import BLANK_GUID, Value
from isthmus_sandbox.business_central.writing.due_dates import due_date
from isthmus_sandbox.business_central.writing.edit import Edit
from isthmus_sandbox.business_central.writing.kinds import DocumentKind
from isthmus_sandbox.business_central.writing.number_series import is_posted_number
from isthmus_sandbox.business_central.writing.refusals import rule
from isthmus_sandbox.business_central.writing.session import Session, amount, cents

LINES_MAX = 10_000
"""Lines of one document."""

SEQUENCE_STEP = 10_000

_ADDRESS = (
    ("AddressLine1", "addressLine1"),
    ("AddressLine2", "addressLine2"),
    ("City", "city"),
    ("Country", "country"),
    ("State", "state"),
    ("PostCode", "postalCode"),
)
_DRAFT_STATES = ("Draft", "In_x0020_Review", "Open", "Sent", "Accepted", "Expired_x0020_")


def start_document(edit: Edit, kind: DocumentKind) -> None:
    """The defaults of a new header, before the caller's properties."""
    today = edit.session.today()
    for name in ("postingDate", kind.date):
        edit.put(name, today)
    edit.put("currencyCode", edit.session.company.currency_code)
    edit.put("status", "Draft")


def header_changed(edit: Edit, kind: DocumentKind, name: str, related: Row | None) -> None:
    """The trigger of one header property."""
    if name in (f"{kind.party}Id", f"{kind.party}Number") and related is not None:
        _take_party(edit, kind, related)
    elif name in (f"{kind.pay_to}{kind.party.capitalize()}{end}" for end in ("Id", "Number")) and related is not None:
        _take_paying_party(edit, kind, related)
    if name in ("paymentTermsId", kind.date, f"{kind.party}Id", f"{kind.party}Number") and "dueDate" not in edit.given:
        edit.put("dueDate", due_date(edit, kind))
    if name == "postingDate" and kind.date not in edit.given and edit.is_new:
        edit.put(kind.date, edit.values[name])
        edit.put("dueDate", due_date(edit, kind))


def finish_document(edit: Edit, kind: DocumentKind) -> None:
    """What must hold once all properties of a header are in. Raises `ODataError`."""
    if edit.is_blank(f"{kind.party}Id"):
        raise rule(f'A "{kind.party}Number" or a "{kind.party}Id" must be provided.')


def _take_party(edit: Edit, kind: DocumentKind, party: Row) -> None:
    values = party.values
    if values.get("blocked") == "All":
        raise rule(
            f"You cannot create this type of document when {kind.party.capitalize()} {values['number']} is blocked "
            "with type All"
        )
    edit.put(f"{kind.party}Name", values["displayName"])
    edit.put("shipToName", values["displayName"])
    for suffix, source in _ADDRESS:
        for prefix in (kind.address, "shipTo") if kind.is_sales else (kind.address,):
            edit.put(f"{prefix}{suffix}", values.get(source, ""))
    edit.put("salesperson", values.get("salespersonCode", ""))
    edit.put("phoneNumber", values.get("phoneNumber", ""))
    edit.put("email", values.get("email", ""))
    for name in ("currencyId", "currencyCode", "paymentTermsId", "shipmentMethodId"):
        if name in values:
            edit.put(name, values[name])
    if not edit.text("currencyCode"):
        edit.put("currencyCode", edit.session.company.currency_code)
    _take_paying_party(edit, kind, party)


def _take_paying_party(edit: Edit, kind: DocumentKind, party: Row) -> None:
    prefix, values = kind.pay_to, party.values
    edit.put(f"{prefix}{kind.party.capitalize()}Id", party.id)
    edit.put(f"{prefix}{kind.party.capitalize()}Number", values["number"])
    edit.put(f"{prefix}Name", values["displayName"])
    for suffix, source in _ADDRESS:
        edit.put(f"{prefix}{suffix}", values.get(source, ""))


# -- lines -----------------------------------------------------------------------------------------------------------


def lines_of(session: Session, kind: DocumentKind, document_id: str) -> list[Row]:
    """The lines of a document in their sequence."""
    found = session.find(kind.line_set, "documentId", document_id)
    return sorted(found, key=lambda row: int(str(row.values["sequence"])))


def start_line(edit: Edit, kind: DocumentKind, document: Row) -> None:
    """The defaults of a new line below its document."""
    lines = lines_of(edit.session, kind, document.id)
    if len(lines) >= LINES_MAX:
        raise rule(f"A document has at most {LINES_MAX} lines.")
    last = max((int(str(row.values["sequence"])) for row in lines), default=0)
    edit.put("documentId", document.id)
    edit.put("sequence", last + SEQUENCE_STEP)
    edit.put("lineType", "Comment")


def line_changed(edit: Edit, kind: DocumentKind, name: str, related: Row | None) -> None:
    """The trigger of one line property."""
    if name == "itemId" and related is not None:
        _take_item(edit, kind, related)
    elif name == "accountId":
        account = edit.session.get("accounts", edit.values[name])
        if account is None and not edit.is_blank(name):
            raise rule('The "accountId" does not match to an Account.')
        if account is not None:
            _take_account(edit, account)
    elif name == "lineObjectNumber" and edit.text(name):
        _take_number(edit, kind)
    elif name == "quantity" and kind.set_name.endswith("Orders"):
        edit.put("invoiceQuantity", edit.values[name])
        edit.put("shipQuantity" if kind.is_sales else "receiveQuantity", edit.values[name])
    elif name == "discountPercent":
        gross = amount(edit.values, "quantity") * amount(edit.values, kind.price)
        edit.put("discountAmount", cents(gross * amount(edit.values, name) / 100))


def _take_number(edit: Edit, kind: DocumentKind) -> None:
    number, line_type = edit.text("lineObjectNumber"), edit.text("lineType")
    if line_type == "Comment" and "lineType" not in edit.given:
        line_type = "Item"
    set_name = {"Item": "items", "Account": "accounts"}.get(line_type)
    if set_name is None:
        return
    row = edit.session.first(set_name, "number", number)
    if row is None:
        raise rule(f"The {line_type} does not exist. Identification fields and values: No.='{number}'")
    if set_name == "items":
        _take_item(edit, kind, row)
    else:
        _take_account(edit, row)


def _take_item(edit: Edit, kind: DocumentKind, item: Row) -> None:
    _check_one_object(edit, "accountId")
    values = item.values
    edit.put("itemId", item.id)
    edit.put("lineType", "Item")
    edit.put("lineObjectNumber", values["number"])
    edit.put("description", values["displayName"])
    edit.put("unitOfMeasureId", values.get("baseUnitOfMeasureId", BLANK_GUID))
    edit.put("unitOfMeasureCode", values.get("baseUnitOfMeasureCode", ""))
    edit.put("taxCode", values.get("taxGroupCode", ""))
    edit.put(kind.price, amount(values, "unitPrice" if kind.is_sales else "unitCost"))


def _take_account(edit: Edit, account: Row) -> None:
    _check_one_object(edit, "itemId")
    edit.put("accountId", account.id)
    edit.put("lineType", "Account")
    edit.put("lineObjectNumber", account.values["number"])
    edit.put("description", account.values["displayName"])


def _check_one_object(edit: Edit, other: str) -> None:
    if other in edit.given and not edit.is_blank(other):
        raise rule("Both itemId and accountId have been specified. Choose one of them.")
    edit.put(other, BLANK_GUID)


# -- totals ----------------------------------------------------------------------------------------------------------


def compute_line(session: Session, kind: DocumentKind, values: dict[str, Value], document: Row) -> dict[str, Value]:
    """The amounts of a line from quantity, price, discount and tax."""
    gross = amount(values, "quantity") * amount(values, kind.price)
    discount = amount(values, "discountAmount")
    net = cents(gross) - discount
    if gross and abs(discount) > abs(gross):
        raise rule("The line discount amount cannot be larger than the line amount.")
    tax = cents(net * _tax_rate(session, kind, values, document) / 100)
    percent = Decimal(0)
    if net and tax:
        percent = round(tax / net * 100, 5).normalize()
    return {
        "discountPercent": round(discount / gross * 100, 5) if gross else Decimal(0),
        "amountExcludingTax": net,
        "taxPercent": percent,
        "totalTaxAmount": tax,
        "amountIncludingTax": net + tax,
        "netAmount": net,
        "netTaxAmount": tax,
        "netAmountIncludingTax": net + tax,
    }


def _tax_rate(session: Session, kind: DocumentKind, values: dict[str, Value], document: Row) -> Decimal:
    """US companies tax liable parties on taxed goods; elsewhere the goods decide."""
    if not values.get("taxCode"):
        return Decimal(0)
    if session.company.currency_code != "USD":
        return Decimal(25)
    party = session.get(kind.party_set, document.values[f"{kind.party}Id"])
    return Decimal(6) if party is not None and party.values.get("taxLiable") else Decimal(0)


def refresh_totals(session: Session, kind: DocumentKind, document_id: str) -> None:
    """Recompute a header from its lines; stamp and ETag of the header move (the aggregate is rewritten)."""
    lines = lines_of(session, kind, document_id)
    document = session.get(kind.set_name, document_id)
    if document is None:
        return
    net = sum((amount(row.values, "amountExcludingTax") for row in lines), Decimal(0))
    tax = sum((amount(row.values, "totalTaxAmount") for row in lines), Decimal(0))
    discount = min(amount(document.values, "discountAmount"), net) if net > 0 else Decimal(0)
    if discount and net:
        tax = cents(tax * (net - discount) / net)
    changes: dict[str, Value] = {
        "totalAmountExcludingTax": net - discount,
        "totalTaxAmount": tax,
        "totalAmountIncludingTax": net - discount + tax,
    }
    if kind.set_name == "salesInvoices":
        changes["remainingAmount"] = net - discount + tax
    session.update(kind.set_name, document_id, changes)


# -- state -----------------------------------------------------------------------------------------------------------


def is_posted(session: Session, kind: DocumentKind, document: Row) -> bool:
    """Whether a document is posted; seeded ones are told by status and number."""
    if not kind.is_postable:
        return False
    if document.id in session.state.postings:
        return True
    status = str(document.values["status"])
    if status not in _DRAFT_STATES:
        return True
    return status == "Open" and (not kind.is_sales or is_posted_number(kind.set_name, str(document.values["number"])))


def check_draft(session: Session, kind: DocumentKind, document: Row) -> None:
    """Posted documents do not change. Raises `ODataError`."""
    if is_posted(session, kind, document):
        raise rule(f"The {kind.label.lower()} has been posted and can no longer be modified.")


def draft_state(session: Session, kind: DocumentKind, document: Row, state: str, enum: EnumType) -> None:
    """Release a draft, send it for approval or reopen it; a purchase invoice stays `Draft` all the same (BC-75)."""
    check_draft(session, kind, document)
    wanted = {"draft": "Draft", "review": "In_x0020_Review", "released": "Open"}.get(state)
    if wanted is None or wanted not in enum.json_names:
        raise rule(f"A {kind.label.lower()} has no state {state!r}.")
    shown = "Draft" if kind.set_name == "purchaseInvoices" else wanted
    session.update(kind.set_name, document.id, {"status": shown})
