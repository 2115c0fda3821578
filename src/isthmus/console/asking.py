"""From a failure to the field of a form it is about, with the remedy in the same breath."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from isthmus.client.protocols import JournalEntry
from isthmus.console.remedies import remedy_here
from isthmus.kernel.failures import Failure

FIELDS: Final[Mapping[str, str]] = {
    "secret_wrong": "client_secret",
    "secret_expired": "client_secret",
    "environment_not_found": "environment",
    "company_not_found": "companies",
    "filter_refused": "filter",
    "unknown_field": "fields",
}
"""Which field of a form a failure is about, by its code."""


class QuietJournal:
    """Requests made for a page are not kept: their failure, if any, is on the page."""

    def note(self, entry: JournalEntry) -> None:
        """Let it go."""


def errors_of(failure: Failure, default: str = "") -> dict[str, str]:
    """The failure at its field, or above the form."""
    said = "Did you mean" in failure.message
    near = f" Did you mean {', '.join(failure.nearest)}?" if failure.nearest and not said else ""
    return {FIELDS.get(failure.code, default): f"{failure.message}{near} {remedy_here(failure.to_dict())}"}
