"""The page at `/_sandbox/` that tells a person what this server is and what can be done with it."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from isthmus_sandbox.entra.pages import page
from isthmus_sandbox.entra.switches import SWITCHES
from isthmus_sandbox.estate import Estate

ROUTES = (
    ("GET /_sandbox/state", "everything on this page, as JSON"),
    ("POST /_sandbox/clock/advance", '{"seconds": 86400} moves the clock: tokens, secrets and windows expire'),
    ("POST /_sandbox/reset", '{"world": "cronus"} builds fresh data and forgets faults, switches and the journal'),
    ("POST /_sandbox/faults", '{"action": "status", "status": 503, "path": "customers", "count": 1}'),
    ("GET, DELETE /_sandbox/faults", "list or clear them"),
    ("POST /_sandbox/flush", "apply requests that were answered with a time-out and postponed"),
    ("GET, POST /_sandbox/limits", '{"scale": 100} shortens the windows; counters show the share used'),
    ("GET, DELETE /_sandbox/journal", "the requests received; filter with ?server= and ?path="),
    (
        "GET /{tenant}/oauth2/v2.0/authorize?…&sandbox_auto=accept",
        "pages answered without a person; also =deny, a cookie",
    ),
    ("GET, POST, DELETE /_sandbox/entra/switches", '{"name": "secret-expired", "value": true, "app": "…"}'),
    ("POST /_sandbox/entra/next-error", '{"endpoint": "token", "code": 50076} answers any AADSTS code once'),
    ("GET /_sandbox/entra/token-requests", "how often which app used which grant"),
    ("GET /_sandbox/business-central/", "what the product's own control routes can do"),
)


def render_index(estate: Estate, addresses: Mapping[str, Any]) -> str:
    """The page as HTML."""
    summary = estate.directory.summary()
    where = [*addresses["login_urls"].items(), ("Business Central", addresses["business_central_url"])]
    parts = [
        "<p>This machine pretends to be Microsoft Entra and Business Central, for tests and for learning. Nothing here "
        "reaches Microsoft, and every secret shown is worthless elsewhere.</p>",
        "<h2>Addresses</h2>",
        _table(("server", "address"), where),
        f"<p>World <b>{escape(estate.world)}</b>, clock {escape(estate.clock.now().isoformat(timespec='seconds'))}. "
        f"Trust the certificate authority in <code>{escape(str(addresses['ca_file']))}</code>.</p>",
        "<h2>Tenants</h2>",
        _table(("tenant", "domain", "cloud"), [(t["tenant_id"], t["domain"], t["cloud"]) for t in summary["tenants"]]),
        "<h2>Apps</h2>",
        _table(
            ("app", "client id", "secrets"),
            [(a["display_name"], a["client_id"], ", ".join(s["value"] for s in a["secrets"])) for a in summary["apps"]],
        ),
        "<h2>Users</h2>",
        _table(("user", "password"), [(u["user_name"], u["password"]) for u in summary["users"]]),
        "<h2>What you can do</h2>",
        _table(("request", "effect"), ROUTES),
        "<h2>Switches of Entra</h2>",
        _table(("switch", "effect"), list(SWITCHES.items())),
    ]
    return page("Isthmus sandbox", "".join(parts), wide=True)


def _table(head: tuple[str, ...], rows: Any) -> str:
    if not rows:
        return "<p>None yet.</p>"
    header = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table></div>'
