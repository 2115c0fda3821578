"""Where the rows of a set come from in this request: its table, or a computation over other tables."""

from __future__ import annotations

from isthmus_sandbox.business_central.catalogue import Entity
from isthmus_sandbox.business_central.render import ReadContext
from isthmus_sandbox.business_central.rowsets import ComputedRows, RowSet
from isthmus_sandbox.business_central.tables import Table

REPORT_SETS: frozenset[str] = frozenset({"pdfDocument"})


def stored_table(context: ReadContext, entity: Entity) -> Table:
    """The table of a set, as the replica sees it when the request may be served stale (BC-46)."""
    assert context.company is not None
    table = context.service.table(context.company, entity)
    if not context.stale:
        return table
    return table.as_of(context.service.clock.time_s() - context.environment.switches.replica_lag_s)


def rows_of(context: ReadContext, entity: Entity, filter_text: str | None = None) -> RowSet:
    """The rows of a set."""
    if context.company is None:
        return ComputedRows(())
    return stored_table(context, entity)
