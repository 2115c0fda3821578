"""The page at `/_sandbox/` that tells a person what this server is and what can be done with it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape
from typing import Any

from isthmus_sandbox.business_central.switches import Switches
from isthmus_sandbox.control_routes import BUSINESS_CENTRAL, ENTRA, GENERAL, ON_THE_SIGN_IN_PAGE, ControlRoute
from isthmus_sandbox.entra.pages import page
from isthmus_sandbox.entra.switches import SWITCHES
from isthmus_sandbox.estate import Estate


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
        "<p>Bodies are JSON, answers too; in Business Central, environment, tenant and route may be named as well "
        "(otherwise: the first environment, v2.0). For example:</p>",
        f"<pre>{escape(_example(addresses))}</pre>",
        "<h3>The sandbox itself</h3>",
        _routes(GENERAL),
        "<h3>Business Central</h3>",
        _routes(BUSINESS_CENTRAL),
        "<h3>Entra</h3>",
        _routes(ENTRA),
        f"<p>{escape(ON_THE_SIGN_IN_PAGE)}</p>",
        "<h2>Switches of Entra</h2>",
        _table(("switch", "effect"), list(SWITCHES.items())),
        "<h2>Switches of Business Central</h2>",
        _table(("switch", "to begin with"), asdict(Switches()).items()),
    ]
    return page("Isthmus sandbox", "".join(parts), wide=True)


def _routes(routes: Sequence[ControlRoute]) -> str:
    rows = [(f"{route.method} {route.path}", route.body, route.effect) for route in routes]
    return _table(("request", "body, an example", "effect"), rows)


def _example(addresses: Mapping[str, Any]) -> str:
    route = BUSINESS_CENTRAL[1]
    origin = str(addresses["control_url"]).removesuffix("/_sandbox")
    return f"curl --cacert {shlex.quote(str(addresses['ca_file']))} {origin}{route.path} -d {shlex.quote(route.body)}"


def _table(head: tuple[str, ...], rows: Any) -> str:
    if not rows:
        return "<p>None yet.</p>"
    header = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table></div>'
