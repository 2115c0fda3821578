"""A tenant as bytes: one small `$metadata` document and the objects it describes."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from isthmus.kernel.messages import Response
from isthmus.providers.base import ObjectInfo, Slice, Target
from isthmus.providers.business_central import BUSINESS_CENTRAL

COMPANY = "be3a6b9c-f6f9-ef11-9344-6045bdc8c234"

TYPES = {
    "customer": (
        [
            "id:Edm.Guid",
            "number:Edm.String:20",
            "displayName:Edm.String:100",
            "balanceDue:Edm.Decimal",
            "blocked:Microsoft.NAV.customerBlocked",
            "contosoScore:Edm.Int32",
            "lastModifiedDateTime:Edm.DateTimeOffset",
        ],
        ["id"],
        [
            "customerFinancialDetail:customerFinancialDetail",
            "agedAccountsReceivable:agedAccountsReceivable",
            "defaultDimensions:*defaultDimension",
            "picture:picture",
        ],
    ),
    "customerFinancialDetail": (["id:Edm.Guid"], ["id"], []),
    "vendor": (
        ["id:Edm.Guid", "lastModifiedDateTime:Edm.DateTimeOffset"],
        ["id"],
        ["defaultDimensions:*defaultDimension"],
    ),
    "salesInvoice": (
        ["id:Edm.Guid", "status:Edm.String", "lastModifiedDateTime:Edm.DateTimeOffset"],
        ["id"],
        ["salesInvoiceLines:*salesInvoiceLine", "pdfDocument:pdfDocument", "customer:customer"],
    ),
    "salesInvoiceLine": (
        ["id:Edm.Guid", "documentId:Edm.Guid", "quantity:Edm.Decimal"],
        ["id"],
        ["salesInvoice:salesInvoice"],
    ),
    "journal": (["id:Edm.Guid", "lastModifiedDateTime:Edm.DateTimeOffset"], ["id"], ["journalLines:*journalLine"]),
    "journalLine": (["id:Edm.Guid", "lastModifiedDateTime:Edm.DateTimeOffset"], ["id"], ["journal:journal"]),
    "defaultDimension": (["id:Edm.Guid", "lastModifiedDateTime:Edm.DateTimeOffset"], ["id"], []),
    "picture": (["id:Edm.Guid", "pictureContent:Edm.Stream"], ["id"], []),
    "pdfDocument": (["id:Edm.Guid"], ["id"], []),
    "unitOfMeasure": (["id:Edm.Guid", "lastModifiedDateTime:Edm.DateTimeOffset"], ["id"], []),
    "countryRegion": (["id:Edm.Guid", "lastModifiedDateTime:Edm.DateTimeOffset"], ["id"], []),
    "salespersonPurchaser": (["id:Edm.Guid", "lastModifiedDateTime:Edm.DateTimeOffset"], ["id"], []),
    "project": (["id:Edm.Guid", "lastModifiedDateTime:Edm.DateTimeOffset"], ["id"], ["journalLine:journalLine"]),
    "disputeStatus": (["id:Edm.Guid"], ["id"], []),
    "approvalEntry": (["id:Edm.Guid", "lastDateTimeModified:Edm.DateTimeOffset"], ["id"], []),
    "attachment": (["id:Edm.Guid", "lastModifiedDateTime:Edm.DateTimeOffset"], ["id"], []),
    "salesShipmentLine": (["id:Edm.Guid"], ["id"], []),
    "balanceSheet": (["lineNumber:Edm.Int32", "balance:Edm.Decimal", "dateFilter:Edm.Date"], ["lineNumber"], []),
    "agedAccountsReceivable": (["customerId:Edm.Guid", "periodLengthFilter:Edm.String"], ["customerId"], []),
    "customerSale": (["customerId:Edm.Guid", "totalSalesAmount:Edm.Decimal", "dateFilter_FilterOnly:Edm.Date"], [], []),
    "company": (
        ["id:Edm.Guid", "name:Edm.String", "systemModifiedAt:Edm.DateTimeOffset"],
        ["id"],
        ["customers:*customer"],
    ),
    "subscription": (["subscriptionId:Edm.String", "lastModifiedDateTime:Edm.DateTimeOffset"], ["subscriptionId"], []),
    "entityDefinition": (["entityName:Edm.String"], ["entityName"], []),
    "securityGroupMember": (
        ["securityGroupCode:Edm.String", "userSecurityId:Edm.Guid"],
        ["securityGroupCode", "userSecurityId"],
        [],
    ),
    "user": (["userSecurityId:Edm.Guid"], ["userSecurityId"], ["scheduledJobs:*scheduledJob"]),
    "scheduledJob": (["id:Edm.Guid"], ["id"], []),
}
SETS = {
    "customers": "customer",
    "customerFinancialDetails": "customerFinancialDetail",
    "vendors": "vendor",
    "salesInvoices": "salesInvoice",
    "salesInvoiceLines": "salesInvoiceLine",
    "journals": "journal",
    "journalLines": "journalLine",
    "defaultDimensions": "defaultDimension",
    "pictures": "picture",
    "pdfDocument": "pdfDocument",
    "unitsOfMeasure": "unitOfMeasure",
    "countriesRegions": "countryRegion",
    "salespeoplePurchasers": "salespersonPurchaser",
    "projects": "project",
    "disputeStatus": "disputeStatus",
    "approvalEntries": "approvalEntry",
    "attachments": "attachment",
    "salesShipmentLines": "salesShipmentLine",
    "balanceSheets": "balanceSheet",
    "agedAccountsReceivables": "agedAccountsReceivable",
    "customerSales": "customerSale",
    "companies": "company",
    "subscriptions": "subscription",
    "entityDefinitions": "entityDefinition",
}


def _type(name: str) -> str:
    properties, key, navigation = TYPES[name]
    parts = [f'<EntityType Name="{name}">']
    if key:
        parts.append("<Key>" + "".join(f'<PropertyRef Name="{each}"/>' for each in key) + "</Key>")
    for text in properties:
        field, edm, *length = text.split(":")
        nullable = ' Nullable="false"' if field in key else ""
        limit = f' MaxLength="{length[0]}"' if length else ""
        parts.append(f'<Property Name="{field}" Type="{edm}"{nullable}{limit}/>')
    for text in navigation:
        way, target = text.split(":")
        full = f"Microsoft.NAV.{target.lstrip('*')}"
        parts.append(f'<NavigationProperty Name="{way}" Type="{f"Collection({full})" if "*" in target else full}"/>')
    return "".join([*parts, "</EntityType>"])


def metadata(sets: dict[str, str]) -> bytes:
    containers = "".join(f'<EntitySet Name="{s}" EntityType="Microsoft.NAV.{e}"/>' for s, e in sets.items())
    return (
        '<edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx"><edmx:DataServices>'
        '<Schema Namespace="Microsoft.NAV" xmlns="http://docs.oasis-open.org/odata/ns/edm">'
        + "".join(_type(name) for name in TYPES)
        + '<EnumType Name="customerBlocked"><Member Name="_x0020_" Value="0"/><Member Name="Ship" Value="1"/>'
        '<Member Name="Invoice" Value="2"/><Member Name="All" Value="3"/></EnumType>'
        '<Action Name="post" IsBound="true"><Parameter Name="b" Type="Microsoft.NAV.salesInvoice"/></Action>'
        f'<EntityContainer Name="NAV">{containers}</EntityContainer></Schema></edmx:DataServices></edmx:Edmx>'
    ).encode()


def _captions(*texts: tuple[int, str]) -> list[dict[str, object]]:
    return [{"languageCode": code, "caption": text} for code, text in texts]


DEFINITIONS = {
    "value": [
        {
            "entityName": "customer",
            "entitySetName": "customers",
            "entitySetCaptions": _captions((1036, "Clients"), (1033, "Customers")),
            "properties": [
                {"name": "displayName", "captions": _captions((1036, "Nom"), (1033, "Display Name"))},
                {"name": "number", "captions": _captions((1036, "N°"), (2058, "N.º"))},
            ],
            "actions": [],
            "enumMembers": [],
            "somethingNew": {"x": 1},
        },
        {
            "entityName": "customerBlocked",
            "entitySetName": "",
            "properties": [],
            "enumMembers": [{"name": "All", "captions": _captions((1033, "All transactions"))}],
        },
    ]
}


@pytest.fixture
def company_id() -> str:
    return COMPANY


@pytest.fixture
def target() -> Target:
    return Target(
        api_url="https://api.example.com", tenant="7f1c0a52-3c51-4a9e-9d0e-5b1f0c8e2a10", environment="Production"
    )


@pytest.fixture
def part() -> Slice:
    return Slice(company_id=COMPANY)


@pytest.fixture
def discovered() -> list[ObjectInfo]:
    """The objects of the standard route."""
    return BUSINESS_CENTRAL.objects(
        "v2.0",
        [Response(status=200, body=metadata(SETS)), Response(status=200, body=json.dumps(DEFINITIONS).encode())],
    )


@pytest.fixture
def objects(discovered: list[ObjectInfo]) -> dict[str, ObjectInfo]:
    """The same by name."""
    return {each.name: each for each in discovered}


@pytest.fixture
def describe() -> Callable[..., dict[str, ObjectInfo]]:
    """Describe some sets under any route."""

    def make(route: str, **sets: str) -> dict[str, ObjectInfo]:
        found = BUSINESS_CENTRAL.objects(route, [Response(status=200, body=metadata(sets))])
        return {each.name: each for each in found}

    return make
