"""The `cronus` world: two CRONUS companies with linked demo data, an empty one, and a larger one for the demo."""

from __future__ import annotations

from functools import cache

from isthmus_sandbox.business_central import changes
from isthmus_sandbox.business_central.service import BusinessCentralService, Environment, Place
from isthmus_sandbox.clock import SandboxClock
from isthmus_sandbox.entra.directory import Directory
from isthmus_sandbox.worlds import identities
from isthmus_sandbox.worlds.books import Books
from isthmus_sandbox.worlds.copies import Copies
from isthmus_sandbox.worlds.documents import write_documents
from isthmus_sandbox.worlds.identities import DemoTenant, add_demo_tenant
from isthmus_sandbox.worlds.masters import write_accounts, write_codes, write_items
from isthmus_sandbox.worlds.parties import write_contacts, write_customers, write_employees, write_users, write_vendors

LARGE_COMPANY = "CRONUS Large Ltd."
LARGE_CUSTOMERS = 20_000


def build_cronus(directory: Directory, service: BusinessCentralService) -> None:
    """Fill the demo tenant. Its records are the same at any time: a process writes them once, then copies them."""
    add_demo_tenant(directory, service)
    service.tenants.update(_records().take())


@cache
def _records() -> Copies:
    clock = SandboxClock()
    service = BusinessCentralService(clock)
    demo = add_cronus(Directory(clock), service)
    add_large_company(service, demo.production, LARGE_COMPANY, customers=LARGE_CUSTOMERS, invoices=1_000)
    service.settle()
    return Copies(service)


def add_cronus(directory: Directory, service: BusinessCentralService) -> DemoTenant:
    """The demo tenant with its data, for worlds that add to it. The sandbox environment is a copy of production."""
    demo = add_demo_tenant(directory, service)
    for environment in (demo.production, demo.sandbox):
        _write_companies(service, environment)
    return demo


def _write_companies(service: BusinessCentralService, environment: Environment) -> None:
    shared_id: str | None = None
    for name, layer in ((identities.US_COMPANY, "US"), (identities.W1_COMPANY, "W1")):
        company = environment.company(name)
        assert company is not None
        books = Books(service, environment, company, layer)
        write_codes(books)
        write_accounts(books)
        write_items(books)
        write_customers(books, shared_id)
        shared_id = books.id_of("customers", "10000")
        write_vendors(books)
        write_contacts(books)
        write_employees(books)
        write_users(books)
        write_documents(books)


def add_large_company(
    service: BusinessCentralService, environment: Environment, name: str, *, customers: int, invoices: int
) -> None:
    """A company of generated rows: parties, items, ledger entries and invoices with three lines each."""
    company = service.add_company(environment, name)
    books = Books(service, environment, company, "US")
    write_codes(books)
    write_accounts(books)
    for set_name, count, lines, prefix in (
        ("items", max(customers // 10, 1), 0, "I"),
        ("customers", customers, 0, "C"),
        ("vendors", max(customers // 10, 1), 0, "V"),
        ("contacts", max(customers // 2, 1), 0, "CT"),
        ("generalLedgerEntries", customers, 0, ""),
        ("salesInvoices", invoices, 3, "S-INV"),
        ("purchaseInvoices", max(invoices // 2, 1), 2, "P-INV"),
    ):
        entity = service.catalogue.entity("v2.0", set_name)
        assert entity is not None
        changes.seed(service, Place(environment, company, entity), count, lines=lines, prefix=prefix)
