"""A worker process that reads from the sandbox as fast as the shared budget lets it.

    python -m benchmarks.limit_worker READY_FILE DATABASE_URL SCALE

It prints `ready`, waits for a line with a number of seconds, works that long, and prints how many answers it got.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path
from typing import Any, Final

import msgspec
import uvloop

from benchmarks.road import NoJournal
from isthmus.auth.entra.clouds import Cloud
from isthmus.auth.entra.credentials import ClientSecret
from isthmus.auth.entra.errors import token_failure
from isthmus.auth.entra.grants import client_credentials
from isthmus.auth.tokens import TokenSet
from isthmus.client.access import Access
from isthmus.client.call import AuthorisedCall, RetryingCall
from isthmus.client.tokens import CachedTokenSource, run_grant
from isthmus.kernel.clock import SystemClock
from isthmus.kernel.ids import new_id
from isthmus.providers.base import ObjectInfo, ReadSpec, Slice, Target, VendorLimits
from isthmus.providers.business_central import BUSINESS_CENTRAL
from isthmus.store.database import Database
from isthmus.store.leases import DatabaseLeaseStore
from isthmus.transport.http import HttpTransport
from isthmus.transport.shared_budget import SharedBudget

READERS: Final = 8
"""More than the vendor lets run at once, so that somebody always waits."""

_CUSTOMERS: Final = ObjectInfo(
    name="customers", entity="customer", route="v2.0", key=("id",), fields=(), stamp="lastModifiedDateTime"
)


def scaled(scale: float) -> VendorLimits:
    """The vendor's budget in shorter windows: the same rate."""
    real = BUSINESS_CENTRAL.declaration.limits
    return msgspec.structs.replace(
        real, requests_per_window=int(real.requests_per_window / scale), window_s=real.window_s / scale
    )


async def work(facts: dict[str, Any], database_url: str, scale: float) -> None:
    """Sign in, wait for the start, read until the time is over."""
    cloud = Cloud(
        name="sandbox",
        title="sandbox",
        login_url=facts["login_urls"]["public"],
        business_central_url=facts["business_central_url"],
        ca_file=facts["ca_file"],
    )
    clock = SystemClock()
    async with (
        await Database.open(database_url) as db,
        HttpTransport() as session,
        SharedBudget(
            scaled(scale), clock, DatabaseLeaseStore(db), scope="bench/limits", holder=str(new_id())
        ) as budget,
    ):
        transport = session.trusting(cloud.ca_file)
        call = AuthorisedCall(
            api_url=cloud.business_central_url,
            errors=BUSINESS_CENTRAL.failure,
            tokens=_tokens(
                facts, cloud, RetryingCall(errors=token_failure, transport=transport, journal=NoJournal(), clock=clock)
            ),
            budget=budget,
            journal=NoJournal(),
            transport=transport,
            clock=clock,
        )
        target = Target(
            api_url=cloud.business_central_url, tenant=facts["tenants"][0]["tenant_id"], environment="Production"
        )
        access = Access(provider=BUSINESS_CENTRAL, target=target, call=call)
        company = (await access.companies())[0].id
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        seconds = float(await asyncio.to_thread(sys.stdin.readline))
        answers = await _read_for(seconds, access, company)
        sys.stdout.write(f"{answers}\n")
        sys.stdout.flush()


def _tokens(facts: dict[str, Any], cloud: Cloud, send: RetryingCall) -> CachedTokenSource:
    app = next(app for app in facts["apps"] if app["secrets"])

    async def obtain(claims: str | None) -> TokenSet:
        grant = client_credentials(
            cloud.authority(facts["tenants"][0]["tenant_id"]),
            client_id=app["client_id"],
            credential=ClientSecret(app["secrets"][0]["value"]),
            resource=cloud.business_central_resource,
            now=SystemClock().now(),
            claims=claims,
        )
        return await run_grant(grant, send)

    return CachedTokenSource(obtain, SystemClock())


async def _read_for(seconds: float, access: Access, company: str) -> int:
    """Small pages by many readers; how many answers came."""
    ends_s = time.monotonic() + seconds
    answers = 0

    async def reader() -> None:
        nonlocal answers
        request = access.provider.first_page(access.target, _CUSTOMERS, ReadSpec(limit=1), Slice(company_id=company), 1)
        while time.monotonic() < ends_s:
            await access.call(request)
            answers += 1

    readers = [asyncio.create_task(reader()) for _ in range(READERS)]
    _, late = await asyncio.wait(readers, timeout=seconds)
    for task in late:
        task.cancel()
    for outcome in await asyncio.gather(*readers, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome
    return answers


def main() -> None:
    """Read the arguments and work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ready_file", type=Path)
    parser.add_argument("database_url")
    parser.add_argument("scale", type=float)
    arguments = parser.parse_args()
    facts = msgspec.json.decode(arguments.ready_file.read_bytes())
    uvloop.run(work(facts, arguments.database_url, arguments.scale))


if __name__ == "__main__":
    main()
