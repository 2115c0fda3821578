"""What the write side remembers besides the rows: number series, open amounts of posted documents, locks.

Plain values only, so that a transaction can take a copy and put it back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from isthmus_sandbox.business_central.writing.webhooks import Webhooks


@dataclass(frozen=True, slots=True)
class Posting:
    """A posted document: what is still open of it, and whether it was cancelled or cancels another one.

    `amount` and `remaining` are positive for invoices and credit memos alike; `correction` is empty, `Canceled` or
    `Corrective`; `ledger_row_id` is its row in the customer or vendor ledger.
    """

    document_id: str
    set_name: str
    party_number: str
    amount: Decimal
    remaining: Decimal
    ledger_row_id: str = ""
    correction: str = ""
    applied: bool = False


@dataclass(slots=True)
class CompanyState:
    """The memory of one company's write side."""

    postings: dict[str, Posting] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    entry_numbers: dict[str, int] = field(default_factory=dict)
    locked_until_s: dict[str, float] = field(default_factory=dict)

    def copied(self) -> CompanyState:
        """A copy that later changes do not reach; locks are not part of a transaction."""
        return CompanyState(dict(self.postings), dict(self.counters), dict(self.entry_numbers), self.locked_until_s)


@dataclass(slots=True)
class WriteState:
    """All companies' memories and the hooks of the transactions that are open now, outermost first."""

    companies: dict[object, CompanyState] = field(default_factory=dict)
    commit_hooks: list[Callable[[], None]] = field(default_factory=list)
    webhooks: Webhooks | None = None

    def of(self, company: object) -> CompanyState:
        """The memory of a company, made on first use."""
        state = self.companies.get(company)
        if state is None:
            state = self.companies[company] = CompanyState()
        return state

    def commit(self) -> None:
        """What AL's Commit does: nothing that happened until now is undone any more (BC-82)."""
        for hook in reversed(self.commit_hooks):
            hook()
