"""The `large` world: `cronus` and a company with a hundred thousand to a million records in its main sets."""

from __future__ import annotations

from isthmus_sandbox.business_central.service import BusinessCentralService
from isthmus_sandbox.entra.directory import Directory
from isthmus_sandbox.worlds.cronus import add_cronus, add_large_company

FABRIKAM = "Fabrikam Trading Co."
FABRIKAM_CUSTOMERS = 1_000_000
FABRIKAM_INVOICES = 100_000


def build_large(directory: Directory, service: BusinessCentralService) -> None:
    """Fill the demo tenant and add the large company to production."""
    demo = add_cronus(directory, service)
    add_large_company(service, demo.production, FABRIKAM, customers=FABRIKAM_CUSTOMERS, invoices=FABRIKAM_INVOICES)
