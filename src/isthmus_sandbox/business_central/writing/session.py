"""A company as the write side works in it: rows found, added, changed and removed by set name."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal

from isthmus_sandbox.business_central.catalogue import STANDARD_ROUTE, Entity
from isthmus_sandbox.business_central.render import ReadContext
from isthmus_sandbox.business_central.service import BusinessCentralService, Company, Environment, Place
from isthmus_sandbox.business_central.switches import Switches
from isthmus_sandbox.business_central.tables import Row, Table
from isthmus_sandbox.business_central.values import BLANK_GUID, Value
from isthmus_sandbox.business_central.writing.state import CompanyState


@dataclass(frozen=True, slots=True)
class Session:
    """One company of one environment, for the time of a request."""

    context: ReadContext
    company: Company
    in_batch: bool = False

    @property
    def service(self) -> BusinessCentralService:
        """The state of the simulator."""
        return self.context.service

    @property
    def environment(self) -> Environment:
        """The environment of the request."""
        return self.context.environment

    @property
    def switches(self) -> Switches:
        """What is switchable here."""
        return self.context.environment.switches

    @property
    def state(self) -> CompanyState:
        """Number series, open amounts and locks of the company."""
        return self.service.writing.of(self.company)

    def place(self, set_name: str, route: str = STANDARD_ROUTE) -> Place:
        """Where the records of a set live. Raises ValueError for an unknown set."""
        entity = self.service.entity(self.environment, route, set_name) or self.service.catalogue.entity(
            route, set_name
        )
        if entity is None:
            raise ValueError(f"route {route!r} has no set {set_name!r}")
        return Place(self.environment, self.company, entity)

    def table(self, set_name: str, route: str = STANDARD_ROUTE) -> Table:
        """The table of a set."""
        return self.service.table(self.company, self.place(set_name, route).entity)

    def get(self, set_name: str, row_id: Value) -> Row | None:
        """A row by id; a blank id finds nothing."""
        if row_id in ("", BLANK_GUID):
            return None
        return self.table(set_name).get(str(row_id))

    def find(self, set_name: str, property_name: str, value: Value) -> list[Row]:
        """Rows whose property equals a value."""
        return self.table(set_name).matching(property_name, value)

    def find_stored(self, set_name: str, property_name: str, value: Value, route: str = STANDARD_ROUTE) -> list[Row]:
        """The same among rows that are kept one by one: generated rows would have to be computed by the million."""
        table = self.table(set_name, route)
        stored = (*table.overlay.values(), *table.foreign.values())
        return [row for row in stored if row.values.get(property_name) == value]

    def first(self, set_name: str, property_name: str, value: Value) -> Row | None:
        """The first such row."""
        return next(iter(self.find(set_name, property_name, value)), None)

    def insert(
        self, set_name: str, values: dict[str, Value], *, route: str = STANDARD_ROUTE, row_id: str | None = None
    ) -> Row:
        """Add a row; values of properties that this environment does not have are left out."""
        place = self.place(set_name, route)
        return self.service.insert(place, _known(place.entity, values), row_id=row_id)

    def update(
        self,
        set_name: str,
        row_id: str,
        changes: dict[str, Value],
        *,
        route: str = STANDARD_ROUTE,
        keep_stamp: bool = False,
    ) -> None:
        """Change a row if it exists; `keep_stamp` for calculated fields, which do not touch the record (BC-98)."""
        place = self.place(set_name, route)
        self.service.update(place, row_id, _known(place.entity, changes), keep_stamp=keep_stamp)

    def delete(self, set_name: str, row_id: str) -> None:
        """Remove a row if it exists."""
        self.service.delete(self.place(set_name), row_id)

    def today(self) -> str:
        """The working date by the sandbox clock."""
        return datetime.fromtimestamp(self.service.clock.time_s(), UTC).date().isoformat()


def _known(entity: Entity, values: dict[str, Value]) -> dict[str, Value]:
    return {name: value for name, value in values.items() if name in entity.by_name}


def amount(row_values: dict[str, Value], name: str) -> Decimal:
    """A Decimal property, zero when the record has none."""
    value = row_values.get(name, 0)
    return value if isinstance(value, Decimal) else Decimal(str(value or 0))


def cents(value: Decimal) -> Decimal:
    """Rounded to 0.01, halves away from zero, as the currency's rounding precision asks."""
    return value.quantize(Decimal("0.01"), ROUND_HALF_UP)
