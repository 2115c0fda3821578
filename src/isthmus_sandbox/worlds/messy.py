"""The `messy` world: every quirk that the reference names, exaggerated, on top of `cronus`."""

from __future__ import annotations

from decimal import Decimal

from isthmus_sandbox.business_central import changes
from isthmus_sandbox.business_central.service import BusinessCentralService, Environment, Place
from isthmus_sandbox.business_central.values import Value
from isthmus_sandbox.entra.directory import Directory
from isthmus_sandbox.worlds.books import LOADED_AT_MS, Books
from isthmus_sandbox.worlds.cronus import add_cronus
from isthmus_sandbox.worlds.masters import write_accounts, write_codes

MESSY_COMPANY = "Ærø & Søn's “Messy” A/S"
TWIN_COMPANY = "Messy Copy"
MESSY_TAIL = "0d0d-ef11-9346-00155d01f3a2"

NAMES = (
    'O\'Brien & Sons, "The" Ltd.',
    "Zażółć gęślą jaźń S.A.",
    "株式会社クロノス",
    "شركة الخليج للتجارة",
    "👩‍💼 Emoji Partners 🚀",
    "100% Cotton; (half) price / more\\less",
    "tab\tand line\u2028separator",
    "<script>alert('x')</script>",
    "e\u0301 decomposed vs é composed",
    " leading and trailing ",
)
_BLOCKED = ("_x0020_", "Ship", "Invoice", "All")
_EXACT = ("999999999999999.999", "-0.000000000000000001", "6.00006", "0.10", "123456789012345678", "0")

TIES = 60
UNSTAMPED = 40


def build_messy(directory: Directory, service: BusinessCentralService) -> None:
    """Fill the demo tenant, add the messy company and its copy, and switch odd behaviour on in production."""
    demo = add_cronus(directory, service)
    for name in (MESSY_COMPANY, TWIN_COMPANY):
        _write_messy(service, demo.production, name)
    demo.production.switches.change(empty_page_every=4, full_page_links=True, next_link_tenant="msweua2905t5512389")
    for set_name in ("customers", "items"):
        place = service.place(MESSY_COMPANY, set_name)
        changes.gain_field(service, place, "contosoExtra")


def _write_messy(service: BusinessCentralService, environment: Environment, name: str) -> None:
    company = service.add_company(environment, name, tail=MESSY_TAIL)
    books = Books(service, environment, company, "US")
    write_codes(books)
    write_accounts(books)
    for index, display in enumerate(NAMES):
        books.add(
            "customers",
            number=f"M{index:05d}",
            displayName=display,
            addressLine1=display[::-1],
            blocked=_BLOCKED[index % len(_BLOCKED)],
            creditLimit=Decimal(_EXACT[index % len(_EXACT)]),
            currencyCode="USD",
        )
    for index in range(TIES):
        books.add("customers", number=f"T{index:05d}", displayName=f"Tie {index}", stamp_ms=LOADED_AT_MS)
    for index in range(UNSTAMPED):
        books.add("customers", number=f"U{index:05d}", displayName=f"Never touched {index}", stamped=False)
    for index, kind in enumerate(("Inventory", "Service", "Non_x002D_Inventory")):
        books.add("items", number=f"X-{index}", displayName="x" * 100, type=kind, unitPrice=Decimal(_EXACT[index]))
    entity = service.catalogue.entity("v2.0", "vendors")
    assert entity is not None
    place = Place(environment, company, entity)
    changes.seed(service, place, 500, prefix="V", stamped=False)
    long_values: dict[str, Value] = {
        prop.name: "ü" * (prop.max_length or 2_000)
        for prop in entity.properties
        if prop.type == "Edm.String" and not prop.is_code
    }
    changes.insert(service, place, records=[long_values])
