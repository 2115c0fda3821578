"""Customers, vendors, contacts, employees and users of a CRONUS company, with the quirks of real ones."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from isthmus_sandbox.business_central.values import BLANK_GUID, Value
from isthmus_sandbox.worlds import identities
from isthmus_sandbox.worlds.books import Books, demo_facts

EIGHTEEN_DIGITS = Decimal("123456789012345.678")
"""As many significant digits as a Decimal field holds: a float would lose the last ones (BC-53)."""

_EMPLOYEES = (
    ("AH", "Annette", "Hill", "Secretary", "Active", "2001-06-01", "0001-01-01"),
    ("EH", "Ester", "Henderson", "Sales Manager", "Active", "2001-01-01", "0001-01-01"),
    ("JO", "Jim", "Olive", "Salesperson", "Active", "2001-01-01", "0001-01-01"),
    ("LT", "Lina", "Townsend", "Designer", "Inactive", "1999-06-01", "0001-01-01"),
    ("MH", "Marty", "Horst", "Production Assistant", "Active", "1996-01-01", "0001-01-01"),
    ("OF", "Otis", "Falls", "Production Manager", "Terminated", "2001-01-01", "2024-12-31"),
    ("TD", "Terry", "Dodds", "Production Assistant", "Active", "1996-03-01", "0001-01-01"),
)


def _merged(facts: dict[str, Any], kind: str, books: Books) -> list[dict[str, Any]]:
    """W1 facts, overlaid with the US ones for the US company."""
    merged = {fact["number"]: dict(fact) for fact in facts[f"{kind}W1"]}
    if books.is_us:
        for fact in facts[f"{kind}US"]:
            merged[fact["number"]].update(fact)
    return list(merged.values())


def write_customers(books: Books, shared_id: str | None) -> None:
    """Five customers; `shared_id` is a GUID that another company uses as well (BC-04)."""
    for index, fact in enumerate(_merged(demo_facts(), "customers", books)):
        mail = fact.get("email") or f"{fact['contact'].lower().replace(' ', '.')}@contoso.com"
        area = fact.get("taxAreaDisplayName", "")
        books.add(
            "customers",
            row_id=shared_id if index == 0 else None,
            stamped=fact["number"] != "50000",
            number=fact["number"],
            displayName=fact["displayName"],
            type="Company",
            addressLine1=fact["addressLine1"],
            addressLine2=fact.get("addressLine2", ""),
            city=fact.get("city", ""),
            state=fact.get("state", ""),
            country=fact["country"],
            postalCode=fact["postalCode"],
            email=mail,
            salespersonCode=fact.get("salespersonCode", "JO"),
            balanceDue=Decimal(str(fact.get("balanceDue", 0))),
            creditLimit=EIGHTEEN_DIGITS if fact["number"] == "50000" else Decimal(0),
            taxLiable=books.is_us,
            taxAreaId=books.id_of("taxAreas", area),
            taxAreaDisplayName=area,
            currencyId=BLANK_GUID,
            currencyCode=books.company.currency_code,
            paymentTermsId=books.id_of("paymentTerms", "CM" if index % 2 else "30 DAYS"),
            shipmentMethodId=books.id_of("shipmentMethods", "EXW"),
            paymentMethodId=books.id_of("paymentMethods", "BANK"),
            blocked="_x0020_",
        )
        books.add(
            "defaultDimensions",
            parentType="Customer",
            parentId=books.id_of("customers", fact["number"]),
            dimensionId=books.id_of("dimensions", "CUSTOMERGROUP"),
            dimensionCode="CUSTOMERGROUP",
            dimensionValueId=books.id_of("dimensionValues", "LARGE"),
            dimensionValueCode="LARGE",
        )


def write_vendors(books: Books) -> None:
    """Five vendors; the IRS code is filled in the US company only."""
    for fact in _merged(demo_facts(), "vendors", books):
        books.add(
            "vendors",
            number=fact["number"],
            displayName=fact["displayName"],
            addressLine1=fact["addressLine1"],
            addressLine2=fact.get("addressLine2", ""),
            city=fact.get("city", ""),
            state=fact.get("state", ""),
            country=fact["country"],
            postalCode=fact["postalCode"],
            phoneNumber=fact.get("phoneNumber", ""),
            email=fact.get("email") or f"{fact['contact'].lower().replace(' ', '.')}@contoso.com",
            currencyCode=books.company.currency_code,
            irs1099Code="MISC-01" if books.is_us and fact["number"] == "10000" else "",
            paymentTermsId=books.id_of("paymentTerms", "1M(8D)"),
            paymentMethodId=books.id_of("paymentMethods", "CHECK"),
            taxLiable=books.is_us,
            balance=Decimal(str(fact.get("balance", 0))),
        )


def write_contacts(books: Books) -> None:
    """A company contact and a person contact for each party; every third person has no e-mail."""
    number = 0
    facts = demo_facts()
    for kind, relation in (("customers", "Customer"), ("vendors", "Vendor")):
        for index, fact in enumerate(_merged(facts, kind, books)):
            company_number = f"CT{number + 1:06d}"
            for person in (False, True):
                number += 1
                name = fact.get("contact", "Accounts Department") if person else fact["displayName"]
                values: dict[str, Value] = {
                    "number": f"CT{number:06d}",
                    "type": "Person" if person else "Company",
                    "displayName": name,
                    "companyNumber": company_number,
                    "companyName": fact["displayName"],
                    "contactBusinessRelation": "None" if person else relation,
                    "addressLine1": fact["addressLine1"],
                    "country": fact["country"],
                    "postalCode": fact["postalCode"],
                    "email": "" if index % 3 == 0 else f"{name.lower().replace(' ', '.')[:60]}@contoso.com",
                    "searchName": name.upper(),
                }
                books.add("contacts", values)


def write_employees(books: Books) -> None:
    """Employees with a blank work address and a filled personal one (BC-99)."""
    for code, given, surname, title, status, employed, left in _EMPLOYEES:
        books.add(
            "employees",
            number=code,
            displayName=f"{given} {surname}",
            givenName=given,
            surname=surname,
            jobTitle=title,
            email="" if code in ("AH", "TD") else f"{given.lower()}@cronus.example",
            personalEmail=f"{code.lower()}@contoso.com",
            employmentDate=employed,
            terminationDate=left,
            status=status,
            birthDate="1973-12-12",
        )
    books.add(
        "timeRegistrationEntries",
        employeeId=books.id_of("employees", "AH"),
        employeeNumber="AH",
        lineNumber=10_000,
        date="2025-03-03",
        quantity=Decimal(8),
        status="Open",
    )


def write_users(books: Books) -> None:
    """The user directory of the Automation API: one blank e-mail, one disabled user, one application."""
    route = "microsoft/automation/v2.0"
    people = (
        ("7f1c0a52-3c51-4a9e-9d0e-5b1f0c8e2b01", "ADMIN", "Cronus Administrator", "Enabled", identities.ADMIN_NAME),
        ("7f1c0a52-3c51-4a9e-9d0e-5b1f0c8e2b02", "MEGAN", "Megan Bowen", "Enabled", identities.USER_NAME),
        ("7f1c0a52-3c51-4a9e-9d0e-5b1f0c8e2b03", "OTIS", "Otis Falls", "Disabled", "otis@cronus.example"),
        ("7f1c0a52-3c51-4a9e-9d0e-5b1f0c8e2b04", "ANNETTE", "Annette Hill", "Enabled", ""),
    )
    for user_id, name, display, state, mail in people:
        books.add(
            "users",
            route=route,
            row_id=user_id,
            userName=name,
            displayName=display,
            state=state,
            contactEmail=mail,
        )
        books.add(
            "usersPermissions",
            route=route,
            userSecurityId=user_id,
            userName=name,
            fullName=display,
            state=state,
            authenticationEmail=mail,
            contactEmail=mail,
            licenseType="Full_x0020_User",
        )
        books.add(
            "userPermissions",
            route=route,
            userSecurityId=user_id,
            roleId="D365 BUS FULL ACCESS",
            displayName="Dyn. 365 Full Business Acc.",
            scope="System",
        )
    for role, name in (("D365 AUTOMATION", "Dyn. 365 Automation"), ("D365 BUS FULL ACCESS", "Full Business Access")):
        books.add("permissionSets", route=route, id=role, displayName=name, scope="System")
    for name, publisher in (("Base Application", "Microsoft"), ("Contoso App 1", "Contoso")):
        books.add(
            "extensions",
            route=route,
            displayName=name,
            publisher=publisher,
            versionMajor=29,
            isInstalled=True,
            publishedAs="Global",
        )
