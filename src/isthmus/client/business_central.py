"""The library: Business Central without a hub, a database or a configuration file.

async with BusinessCentral(tenant=…, environment="Production", client_id=…, client_secret=…) as client:
    async for page in client.read("customers", select=["number", "displayName"]):
        for record in page.records():
            …
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from isthmus.auth.entra.assertion import read_certificate
from isthmus.auth.entra.clouds import Cloud, find_cloud
from isthmus.auth.entra.credentials import ClientCertificate, ClientSecret
from isthmus.auth.entra.errors import token_failure
from isthmus.auth.entra.grants import client_credentials, refresh
from isthmus.auth.entra.scopes import delegated_scope
from isthmus.auth.tokens import TokenSet
from isthmus.client.access import Access
from isthmus.client.call import AuthorisedCall, RetryingCall
from isthmus.client.protocols import JournalEntry
from isthmus.client.sandbox import SANDBOX, example_app, read_sandbox, sandbox_cloud, usual_home
from isthmus.client.tokens import CachedTokenSource, run_grant
from isthmus.kernel.clock import SystemClock
from isthmus.kernel.failures import CompanyNotFound, InvalidInput
from isthmus.odata.values import decode_record
from isthmus.providers.base import Company, Environment, ObjectInfo, Page, ReadSpec, Target
from isthmus.providers.business_central import BUSINESS_CENTRAL
from isthmus.transport.http import HttpTransport, TransportSettings
from isthmus.transport.limiter import SlidingWindowBudget

JOURNAL_ENTRIES_MAX = 500
"""Requests that a client remembers, for a look after a failure."""


class RecordPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some records of one company. `raws` are the vendor's bytes, `ids` their keys in the same order."""

    company: Company | None
    ids: list[str]
    raws: list[bytes]
    types: dict[str, str]

    def __len__(self) -> int:
        return len(self.raws)

    def records(self) -> list[dict[str, Any]]:
        """Typed records: money as Decimal, dates as dates, the vendor's blanks as None, enum members as people read
        them. The bytes in `raws` stay the truth."""
        return [{name: each.value for name, each in decode_record(raw, self.types).items()} for raw in self.raws]


class BusinessCentral:
    """One environment of one tenant. Give a client secret, a certificate (PEM or PFX file), or a refresh token.

    `cloud` is a built-in name (`public`, `us_government`, `china`), a `Cloud` of your own, or `sandbox`: the one that
    `isthmus sandbox up` runs for this folder (or `ISTHMUS_HOME`), which brings a tenant and an app of its own. The
    client stays inside the vendor's request budget by itself, repeats what is safe to repeat, and raises a `Failure`
    that says whose turn it is.
    """

    def __init__(
        self,
        *,
        tenant: str = "",
        client_id: str = "",
        environment: str = "Production",
        client_secret: str | None = None,
        certificate_file: str | Path | None = None,
        certificate_password: str | None = None,
        refresh_token: str | None = None,
        cloud: str | Cloud = "public",
        route: str = "v2.0",
    ) -> None:
        if cloud == SANDBOX:
            running = read_sandbox(usual_home())
            cloud = sandbox_cloud(running)
            if not (tenant or client_id or client_secret or certificate_file or refresh_token):
                example = example_app(running)
                tenant, client_id, client_secret = example.tenant, example.client_id, example.client_secret
        _check_given(tenant=tenant, client_id=client_id)
        self._cloud = find_cloud(cloud) if isinstance(cloud, str) else cloud
        self._tenant = tenant
        self._client_id = client_id
        self._environment = environment
        self._route = BUSINESS_CENTRAL.parse_route(route)
        self._credential = _credential(client_secret, certificate_file, certificate_password)
        self._refresh_token = refresh_token
        if self._credential is None and refresh_token is None:
            raise InvalidInput(
                "There is nothing to sign in with.", remedy="Give client_secret, certificate_file or refresh_token."
            )
        self._clock = SystemClock()
        self._stack = AsyncExitStack()
        self._access: Access | None = None
        self._tokens_call: RetryingCall | None = None
        self._objects: dict[str, list[ObjectInfo]] = {}
        self._companies: list[Company] | None = None
        self.journal: deque[JournalEntry] = deque(maxlen=JOURNAL_ENTRIES_MAX)

    def note(self, entry: JournalEntry) -> None:
        """Keep a request in `journal`."""
        self.journal.append(entry)

    def __repr__(self) -> str:
        return (
            f"BusinessCentral(tenant={self._tenant!r}, environment={self._environment!r}, cloud={self._cloud.name!r})"
        )

    async def __aenter__(self) -> BusinessCentral:
        session = await self._stack.enter_async_context(HttpTransport(TransportSettings()))
        transport = session.trusting(self._cloud.ca_file)
        self._tokens_call = RetryingCall(errors=token_failure, transport=transport, journal=self, clock=self._clock)
        call = AuthorisedCall(
            api_url=self._cloud.business_central_url,
            errors=BUSINESS_CENTRAL.failure,
            tokens=CachedTokenSource(self._obtain, self._clock),
            budget=SlidingWindowBudget(BUSINESS_CENTRAL.declaration.limits, self._clock),
            journal=self,
            transport=transport,
            clock=self._clock,
        )
        target = Target(api_url=self._cloud.business_central_url, tenant=self._tenant, environment=self._environment)
        self._access = Access(provider=BUSINESS_CENTRAL, target=target, call=call)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def access(self) -> Access:
        """The way in for code that wants slices and readers of its own."""
        if self._access is None:
            raise RuntimeError("BusinessCentral is used outside its `async with` block")
        return self._access

    async def environments(self) -> list[Environment]:
        """The tenant's environments."""
        return await self.access.environments()

    async def companies(self) -> list[Company]:
        """The environment's companies."""
        if self._companies is None:
            self._companies = await self.access.companies()
        return self._companies

    async def objects(self, route: str | None = None) -> list[ObjectInfo]:
        """What can be read, as the environment describes itself today."""
        wanted = BUSINESS_CENTRAL.parse_route(route) if route else self._route
        if wanted not in self._objects:
            self._objects[wanted] = await self.access.objects(wanted)
        return self._objects[wanted]

    async def describe(self, name: str, route: str | None = None) -> ObjectInfo:
        """One object with its fields. Case does not matter; raises UnknownObject with the nearest names."""
        return BUSINESS_CENTRAL.find_object(await self.objects(route), name)

    async def count(self, name: str, *, company: str | None = None, filter: str | None = None) -> int | None:
        """How many records there are, over all companies or in one; None where the vendor does not tell."""
        obj = await self.describe(name)
        spec = ReadSpec(filter=BUSINESS_CENTRAL.checked_filter(obj, filter) if filter else None)
        ids = await self._company_ids(company)
        counts = [await self.access.count(obj, spec, part) for part in BUSINESS_CENTRAL.parts(obj, ids)]
        return None if any(count is None for count in counts) else sum(count or 0 for count in counts)

    async def read(
        self,
        name: str,
        *,
        select: Sequence[str] = (),
        filter: str | None = None,
        expand: Sequence[str] = (),
        since: datetime | None = None,
        until: datetime | None = None,
        company: str | None = None,
        limit: int | None = None,
        page_records: int | None = None,
        route: str | None = None,
    ) -> AsyncIterator[RecordPage]:
        """Pages of an object, company by company; the next page is fetched while you use the present one.

        `filter` is written as people write it (`balanceDue gt 100 and blocked eq ' '`) and checked before it is sent.
        `since` and `until` are inclusive bounds of the modification stamp; without `since` records that were never
        touched are included (BC-97).
        """
        _check_list("select", select)
        _check_list("expand", expand)
        obj = await self.describe(name, route)
        spec = ReadSpec(
            select=tuple(select),
            filter=BUSINESS_CENTRAL.checked_filter(obj, filter) if filter else None,
            expand=tuple(expand),
            since=since,
            until=until,
            limit=limit,
        )
        types = {field.name: field.type for field in obj.fields}
        known = {each.id: each for each in await self.companies()}
        left = limit
        for part in BUSINESS_CENTRAL.parts(obj, await self._company_ids(company)):
            part_spec = msgspec.structs.replace(spec, limit=left)
            reader = self.access.reader(obj, part_spec, part, page_records=page_records, hashed=False)
            async for fetched in reader.pages():
                page: Page = fetched.page
                if left is not None:
                    left -= len(page)
                if len(page):
                    yield RecordPage(
                        company=known.get(part.company_id or ""), ids=page.ids, raws=page.raws, types=types
                    )
            if left is not None and left <= 0:
                return

    async def _company_ids(self, company: str | None) -> list[str]:
        companies = await self.companies()
        if company is None:
            return [each.id for each in companies]
        wanted = company.casefold()
        for each in companies:
            if wanted in (each.id.casefold(), each.name.casefold(), each.display_name.casefold()):
                return [each.id]
        raise CompanyNotFound(
            f"There is no company “{company}”.", nearest=[each.name for each in companies][:5], subject=company
        )

    async def _obtain(self, claims: str | None) -> TokenSet:
        assert self._tokens_call is not None
        resource = self._cloud.business_central_resource
        authority = self._cloud.authority(self._tenant)
        now = self._clock.now()
        if self._refresh_token is not None:
            scope = delegated_scope(resource, BUSINESS_CENTRAL.declaration.delegated_scopes)
            grant = refresh(
                authority,
                client_id=self._client_id,
                credential=self._credential,
                refresh_token=self._refresh_token,
                scope=scope,
                now=now,
                claims=claims,
            )
            tokens = await run_grant(grant, self._tokens_call)
            self._refresh_token = tokens.refresh_token or self._refresh_token
            return tokens
        assert self._credential is not None
        grant = client_credentials(
            authority,
            client_id=self._client_id,
            credential=self._credential,
            resource=resource,
            now=now,
            claims=claims,
        )
        return await run_grant(grant, self._tokens_call)


def _check_given(**texts: str) -> None:
    for name, text in texts.items():
        if not text:
            raise InvalidInput(f"{name} is missing.", remedy=f"Give {name}=…, as the app registration shows it.")


def _check_list(name: str, value: Sequence[str]) -> None:
    """A text is a sequence of its letters, which nobody means."""
    if isinstance(value, str):
        raise InvalidInput(
            f"{name} is the text “{value[:60]}”, not a list.",
            remedy=f"Pass a list: {name}={[part.strip() for part in value.split(',')][:10]!r}.",
            subject=name,
        )


def _credential(
    secret: str | None, certificate_file: str | Path | None, password: str | None
) -> ClientSecret | ClientCertificate | None:
    if secret is not None and certificate_file is not None:
        raise InvalidInput("Give a client secret or a certificate, not both.")
    if secret is not None:
        return ClientSecret(secret)
    if certificate_file is not None:
        return read_certificate(Path(certificate_file).read_bytes(), password=password)
    return None
