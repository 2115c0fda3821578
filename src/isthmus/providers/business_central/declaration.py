"""Business Central as data: hosts, token audience, scopes, limits, and what a person must type (behaviour.md 3, 4,
9)."""

from __future__ import annotations

from typing import Final

from isthmus.providers.base import Declaration, InputField, VendorLimits
from isthmus.providers.business_central.addressing import STANDARD_ROUTE
from isthmus.providers.business_central.facts import packaged_facts

PAGE_RECORDS_MAX: Final = 20_000
"""The service's own page; never asked to exceed it (BC-25, BC-26)."""

URL_BYTES_MAX: Final = 15_000
"""About 15.7 KB work, more is refused with 400 and then 500 [verify]; this keeps a margin (BC-14)."""

LIMITS: Final = VendorLimits(
    requests_per_window=6_000,
    window_s=300.0,
    concurrent=5,
    queued=95,
    page_records_max=PAGE_RECORDS_MAX,
    page_records_default=5_000,
    page_records_min=10,
    operation_s_max=600.0,
    batch_parts_max=100,
    url_bytes_max=URL_BYTES_MAX,
)
"""Per app user and environment (BC-85). `operation_s_max` is the gateway's 10 minutes: after that nothing can still
commit."""

DECLARATION: Final = Declaration(
    name="business_central",
    title="Microsoft Dynamics 365 Business Central",
    delegated_scopes=("Financials.ReadWrite.All",),
    limits=LIMITS,
    standard_objects=tuple(packaged_facts()[STANDARD_ROUTE]),
    inputs=(
        InputField(
            name="tenant",
            label="Tenant id or domain",
            help="Microsoft Entra admin centre → Overview → Tenant ID, or the domain such as contoso.onmicrosoft.com.",
        ),
        InputField(
            name="environment",
            label="Environment",
            help="The name after the tenant in Business Central's address, such as Production. Case does not matter.",
        ),
        InputField(
            name="client_id",
            label="Client id",
            help="Entra admin centre → App registrations → your app → Application (client) ID.",
        ),
        InputField(
            name="client_secret",
            label="Client secret",
            help="App registrations → Certificates & secrets → Value, not Secret ID. Browser sign-ins need none.",
            secret=True,
            optional=True,
        ),
    ),
)
