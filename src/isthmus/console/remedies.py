"""What to do about a failure, for somebody who sits in front of the console: places instead of commands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

COMMAND: Final = "`isthmus "

HERE: Final[Mapping[str, str]] = {
    "credential": "Press “Check again” on the connection: it shows which step fails.",
    "sign_in_again": "Sign in again in the connection's settings. Data and cursors stay.",
    "environment_not_found": "Enter the environment's name in the connection's settings, as Business Central shows it.",
    "company_not_found": "Look at the connection's companies and choose one that is there.",
    "unknown_object": "Look at the connection's objects for what this environment offers.",
    "unknown_field": "Change what is read on the sync's page: it lists the fields that there are.",
    "schema_drift": "Change what is read on the sync's page, without the fields that are gone; then run it again.",
    "outcome_unknown": "Look in the vendor's system. Then say here how it ended, or send it again.",
    "paused_after_restore": "The banner on top of the page leads to what may have happened since the backup.",
    "invalid_input": "Go back and follow a link of the page.",
}
"""By code. A remedy that names no command is right everywhere."""


READING: Final = frozenset({"unknown_field", "schema_drift", "filter_refused", "company_not_found"})
"""Codes of a failing sync that are mended by changing what it reads."""


def changes_reading(failure: Mapping[str, Any] | None) -> bool:
    """Whether a failing sync is mended by changing what it reads."""
    return (failure or {}).get("code") in READING


def remedy_here(failure: Mapping[str, Any] | None) -> str:
    """The remedy of a stored failure, in the console's own places."""
    told = str((failure or {}).get("remedy") or "")
    return HERE.get(str((failure or {}).get("code")), told) if COMMAND in told else told
