"""The state of the simulator: tenants, environments, companies and their tables. No HTTP here.

Everything that the control API can do is a method here, so tests and worlds use the same calls.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from isthmus_sandbox.business_central.catalogue import (
    STANDARD_ROUTE,
    Catalogue,
    Entity,
    EnumType,
    load_catalogue,
    platform_entities,
)
from isthmus_sandbox.business_central.custom_api import custom_entities, custom_enums
from isthmus_sandbox.business_central.page_cache import PageCache
from isthmus_sandbox.business_central.switches import Switches
from isthmus_sandbox.business_central.tables import Row, Table
from isthmus_sandbox.business_central.values import Value, blank, now_ms, stamp_text
from isthmus_sandbox.business_central.writing.state import WriteState
from isthmus_sandbox.clock import SandboxClock

COMPANIES_MAX = 300
"""Companies per environment (behaviour.md section 9)."""

DEMO_TAIL = "f6f9-ef11-9344-6045bdc8c234"
"""The shared end of the GUIDs of one demo load, as recorded (behaviour.md section 14)."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record lives: environment, company, entity."""

    environment: Environment
    company: Company
    entity: Entity


@dataclass(frozen=True, slots=True)
class RecordChange:
    """What observers (webhooks) learn about a committed change; `kind` is `created`, `updated` or `deleted`."""

    place: Place
    row_id: str
    kind: str
    time_s: float


Observer = Callable[[RecordChange], None]


@dataclass(slots=True)
class AppRegistration:
    """A record on the page "Microsoft Entra applications" of one environment (BC-17, BC-22)."""

    app_id: str
    enabled: bool = True
    user_security_id: str = ""


@dataclass(eq=False, slots=True)
class Company:
    """A company with its tables by (route, set name)."""

    id: str
    name: str
    display_name: str
    tail: str
    currency_code: str
    created_at_ms: int
    timestamp: int
    tables: dict[tuple[str, str], Table] = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class Environment:
    """One environment of a tenant: companies, registered apps, switches, and changes to the schema."""

    tenant_id: str
    name: str
    kind: str
    country: str
    switches: Switches = field(default_factory=Switches)
    companies: list[Company] = field(default_factory=list)
    apps: dict[str, AppRegistration] = field(default_factory=dict)
    changed_entities: dict[tuple[str, str], Entity] = field(default_factory=dict)
    pages_served: dict[str, int] = field(default_factory=dict)
    report_runs: int = 0
    media: dict[tuple[str, str, str, str], tuple[str, bytes]] = field(default_factory=dict)
    """Uploaded streams by (company id, set, row id, property): content type and bytes."""

    def company(self, key: str) -> Company | None:
        """A company by GUID (any case) or by name."""
        wanted = key.lower()
        return next((c for c in self.companies if c.id == wanted or c.name == key), None)

    def register_app(self, app_id: str) -> None:
        """Put an app on the page "Microsoft Entra applications", state Enabled."""
        self.apps[app_id] = AppRegistration(app_id, True, str(uuid.uuid5(uuid.NAMESPACE_OID, app_id)))


@dataclass(eq=False, slots=True)
class Tenant:
    """An Entra tenant as Business Central knows it."""

    id: str
    domain: str
    environments: dict[str, Environment] = field(default_factory=dict)

    def environment(self, name: str) -> Environment | None:
        """An environment by name in any case (BC-01)."""
        return self.environments.get(name.lower())


class BusinessCentralService:
    """All state behind the Business Central simulator."""

    def __init__(self, clock: SandboxClock) -> None:
        self.clock = clock
        self.catalogue: Catalogue = load_catalogue().with_entities(custom_entities(), custom_enums())
        self.platform = platform_entities()
        self.enums = dict(self.catalogue.enums)
        self.tenants: dict[str, Tenant] = {}
        self.observers: list[Observer] = []
        self.page_cache = PageCache()
        self.writing = WriteState()
        self._slots = {
            address: slot
            for slot, address in enumerate(
                (route, set_name) for route, sets in self.catalogue.routes.items() for set_name in sets
            )
        }

    # -- tenants, environments, companies --------------------------------------------------------------------------

    def add_tenant(self, tenant_id: str, domain: str) -> Tenant:
        """Make a tenant known."""
        tenant = Tenant(tenant_id.lower(), domain.lower())
        self.tenants[tenant.id] = tenant
        return tenant

    def tenant(self, name: str) -> Tenant | None:
        """A tenant by GUID or domain."""
        wanted = name.lower()
        return self.tenants.get(wanted) or next((t for t in self.tenants.values() if t.domain == wanted), None)

    def add_environment(self, tenant: Tenant, name: str, kind: str, country: str) -> Environment:
        """Add an environment; `kind` is `Production` or `Sandbox`."""
        environment = Environment(tenant.id, name, kind, country)
        tenant.environments[name.lower()] = environment
        return environment

    def add_company(
        self,
        environment: Environment,
        name: str,
        *,
        currency_code: str = "USD",
        company_id: str | None = None,
        tail: str | None = None,
    ) -> Company:
        """Add an empty company. `tail` is the end of its record GUIDs; copies of a company share it (BC-04)."""
        if len(environment.companies) >= COMPANIES_MAX:
            raise ValueError(f"an environment holds at most {COMPANIES_MAX} companies")
        if environment.company(name) is not None:
            raise ValueError(f"there is a company called {name!r} already")
        digest = hashlib.sha256(name.encode()).hexdigest()
        company = Company(
            id=(company_id or str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{environment.tenant_id}/{name}"))).lower(),
            name=name,
            display_name=name,
            tail=tail or f"{digest[:4]}-ef11-9344-{digest[4:16]}",
            currency_code=currency_code,
            created_at_ms=1_735_732_800_000,
            timestamp=len(environment.companies) + 2_411,
        )
        environment.companies.append(company)
        return company

    # -- entities and tables ---------------------------------------------------------------------------------------

    def entity(self, environment: Environment, route: str, set_name: str) -> Entity | None:
        """The entity that an environment serves under a set name now, or None (BC-07)."""
        entity = environment.changed_entities.get((route, set_name)) or self.catalogue.entity(route, set_name)
        if entity is not None and entity.since_29 and environment.switches.major < 29:
            return None
        return entity

    def entities(self, environment: Environment, route: str) -> list[Entity]:
        """All entities of a route that the environment serves now, in the order of the catalogue."""
        names = self.catalogue.routes.get(route, {})
        return [entity for name in names if (entity := self.entity(environment, route, name)) is not None]

    def has_route(self, route: str) -> str | None:
        """The canonical spelling of a route that is served, or None."""
        return next((known for known in self.catalogue.routes if known.lower() == route.lower()), None)

    def table(self, company: Company, entity: Entity) -> Table:
        """The table behind an entity of a company, made on first use."""
        address = (entity.route, entity.set_name)
        table = company.tables.get(address)
        if table is None:
            key = next((k for k in entity.key if entity.by_name[k].type == "Edm.Guid"), None)
            table = Table(self._slots[address], company.tail, entity.stamp, key if len(entity.key) == 1 else None)
            company.tables[address] = table
        return table

    def find_table(self, company: Company, set_name: str, route: str = "v2.0") -> tuple[Entity, Table]:
        """Entity and table by set name. Raises ValueError when there is no such set."""
        entity = self.catalogue.entity(route, set_name)
        if entity is None:
            raise ValueError(f"route {route!r} has no set {set_name!r}")
        return entity, self.table(company, entity)

    def place(
        self,
        company: str,
        set_name: str,
        *,
        environment: str | None = None,
        tenant: str | None = None,
        route: str = STANDARD_ROUTE,
    ) -> Place:
        """Environment, company and entity by name; the first tenant and its first environment unless named."""
        found = self.environment_named(environment, tenant)
        holder = found.company(company)
        if holder is None:
            raise ValueError(f"environment {found.name!r} has no company {company!r}")
        entity = self.entity(found, self.has_route(route) or route, set_name)
        if entity is None:
            raise ValueError(f"route {route!r} has no set {set_name!r}")
        return Place(found, holder, entity)

    def environment_named(self, name: str | None = None, tenant: str | None = None) -> Environment:
        """An environment by name, the first one when no name is given. Raises ValueError."""
        holder = self.tenant(tenant) if tenant else next(iter(self.tenants.values()), None)
        if holder is None:
            raise ValueError(f"there is no tenant {tenant or ''}".rstrip())
        environment = holder.environment(name) if name else next(iter(holder.environments.values()), None)
        if environment is None:
            raise ValueError(f"tenant {holder.domain!r} has no environment {name or ''}".rstrip())
        return environment

    # -- changes ---------------------------------------------------------------------------------------------------

    def now_ms(self) -> int:
        """The moved clock in milliseconds."""
        return now_ms(self.clock.time_s())

    def insert(
        self, place: Place, values: dict[str, Value], *, stamp_ms: int | None = None, row_id: str | None = None
    ) -> Row:
        """Add a row and tell the observers; stamped now unless told otherwise. Missing values become blanks."""
        time_s = self.clock.time_s()
        stamp = now_ms(time_s) if stamp_ms is None else stamp_ms
        complete = complete_values(place.entity, values, self.enums)
        row = self.table(place.company, place.entity).insert(complete, stamp, row_id=row_id, time_s=time_s)
        _show_stamp(place.entity, row)
        self._notify(RecordChange(place, row.id, "created", time_s))
        return row

    def update(
        self,
        place: Place,
        row_id: str,
        changes: dict[str, Value],
        *,
        stamp_ms: int | None = None,
        keep_stamp: bool = False,
    ) -> Row | None:
        """Change a row and tell the observers; `keep_stamp` is for calculated fields (BC-98)."""
        time_s = self.clock.time_s()
        stamp = None if keep_stamp else (now_ms(time_s) if stamp_ms is None else stamp_ms)
        row = self.table(place.company, place.entity).update(row_id, changes, stamp, time_s=time_s)
        if row is not None:
            _show_stamp(place.entity, row)
            if not keep_stamp:
                self._notify(RecordChange(place, row.id, "updated", time_s))
        return row

    def delete(self, place: Place, row_id: str) -> Row | None:
        """Remove a row and tell the observers."""
        time_s = self.clock.time_s()
        row = self.table(place.company, place.entity).delete(row_id, time_s=time_s)
        if row is not None:
            self._notify(RecordChange(place, row.id, "deleted", time_s))
        return row

    def settle(self) -> None:
        """Forget how the tables came to be: a world that was just built is old news to the read replica."""
        for tenant in self.tenants.values():
            for environment in tenant.environments.values():
                for company in environment.companies:
                    for table in company.tables.values():
                        table.journal.clear()

    def show_stamps(self, place: Place) -> None:
        """Write the stamps of stored rows into their values, after a mass restamp."""
        table = self.table(place.company, place.entity)
        for row in (*table.overlay.values(), *table.foreign.values()):
            _show_stamp(place.entity, row)

    def _notify(self, change: RecordChange) -> None:
        for observer in self.observers:
            observer(change)


def complete_values(entity: Entity, values: dict[str, Value], enums: dict[str, EnumType]) -> dict[str, Value]:
    """Every property of the entity in its order, blanks where no value is given, Code values upper-cased (BC-57)."""
    unknown = values.keys() - entity.by_name.keys()
    if unknown:
        raise ValueError(f"{entity.set_name} has no property {', '.join(sorted(unknown))}")
    complete: dict[str, Value] = {}
    for prop in entity.properties:
        if prop.type == "Edm.Stream" or prop.filter_only:
            continue
        value = values.get(prop.name)
        if value is None:
            value = blank(prop, enums)
        elif prop.is_code and isinstance(value, str):
            value = value.upper()
        complete[prop.name] = value
    return complete


def _show_stamp(entity: Entity, row: Row) -> None:
    if entity.stamp is not None:
        row.values[entity.stamp] = stamp_text(row.stamp_ms)
