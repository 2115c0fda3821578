"""By which of its fields a record that is to be created will be known again (behaviour.md 7; BC-67).

Numbers that are given out once, by the vendor or by whoever sends them, tell by themselves whether the record is
there. Names do not: what has one already is noted before such a create is sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from isthmus.kernel.failures import InvalidInput
from isthmus.providers.base import ObjectInfo
from isthmus.providers.business_central.check import members_of

_SALES: Final = (
    ("externalDocumentNumber", "customerNumber"),
    ("externalDocumentNumber", "customerId"),
    ("externalDocumentNumber",),
)
_PARTY: Final = (("number",), ("displayName", "email"), ("displayName",))
_LINE: Final = (("documentId", "sequence"),)
_PAYMENT: Final = (("journalId", "lineNumber"), ("journalId", "documentNumber"))
NATURAL_KEYS: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "salesInvoices": _SALES,
    "salesOrders": _SALES,
    "salesQuotes": _SALES,
    "salesCreditMemos": _SALES,
    "purchaseInvoices": (
        ("vendorInvoiceNumber", "vendorNumber"),
        ("vendorInvoiceNumber", "vendorId"),
        ("vendorInvoiceNumber",),
    ),
    "purchaseCreditMemos": (
        ("vendorCreditMemoNumber", "vendorNumber"),
        ("vendorCreditMemoNumber", "vendorId"),
        ("vendorCreditMemoNumber",),
    ),
    "customers": _PARTY,
    "vendors": _PARTY,
    "contacts": _PARTY,
    "items": (("number",), ("displayName",)),
    "bankAccounts": (("number",), ("displayName",)),
    "fixedAssets": (("number",), ("displayName",)),
    "projects": (("number",), ("displayName",)),
    "employees": (("number",), ("givenName", "surname")),
    "itemVariants": (("itemId", "code"), ("itemNumber", "code")),
    "defaultDimensions": (("parentId", "dimensionId"),),
    "attachments": (("parentId", "fileName"),),
    "documentAttachments": (("parentId", "fileName"),),
    "salesInvoiceLines": _LINE,
    "salesOrderLines": _LINE,
    "salesQuoteLines": _LINE,
    "salesCreditMemoLines": _LINE,
    "purchaseInvoiceLines": _LINE,
    "purchaseOrderLines": _LINE,
    "purchaseCreditMemoLines": _LINE,
    "journalLines": _PAYMENT,
    "customerPayments": _PAYMENT,
    "vendorPayments": _PAYMENT,
}
"""By object of API v2.0, best first. Objects that are not named here have `number` or `code`, or none."""

GENERAL_KEYS: Final = (("number",), ("code",))
ONCE: Final = frozenset(
    {
        "number",
        "code",
        "sequence",
        "lineNumber",
        "dimensionId",
        "externalDocumentNumber",
        "vendorInvoiceNumber",
        "vendorCreditMemoNumber",
    }
)
"""Fields whose value belongs to one record, of its parent, customer or vendor: a second one would be the duplicate that
nobody wants. Every other key, a name or a file's name, may be that of several."""

BLANK: Final = (b'""', b"null", b'"00000000-0000-0000-0000-000000000000"')


def natural_key(obj: ObjectInfo, body: bytes, match: Sequence[str] = ()) -> dict[str, bytes] | None:
    """The fields that identify the record to be created, with their JSON values; None when the body fills no key.

    `match` names them where the caller decides. Raises InvalidInput when one of those is missing.
    """
    members = {name: bytes(raw) for name, raw in members_of(body).items()}
    if match:
        lacking = [name for name in match if members.get(name, b"null") in BLANK]
        if lacking:
            raise InvalidInput(f"The body has no “{lacking[0]}”, by which the record should be looked for.")
        return {name: members[name] for name in match}
    types = {field.name for field in obj.fields}
    for names in NATURAL_KEYS.get(obj.name, ()) + GENERAL_KEYS:
        if all(name in types and members.get(name, b"null") not in BLANK for name in names):
            return {name: members[name] for name in names}
    return None


def belongs_to_one(key: Mapping[str, bytes]) -> bool:
    """Whether a second record with this key would be a duplicate."""
    return not ONCE.isdisjoint(key)
