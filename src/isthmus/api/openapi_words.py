"""The words of the API's description: what it is, its groups, its refusals, examples of bodies, and the proxy."""

from __future__ import annotations

from typing import Any, Final

DESCRIPTION: Final = """\
One API for a project: connect your customers' Business Central, keep objects in step, follow changes, call through.

**Keys.** Send `Authorization: Bearer isth_…`. A key belongs to one project and has scopes: `read`, `write`, `proxy`,
`connect`, `admin` (which includes the others). `isthmus keys create NAME --scope admin` makes the first one.

**Lists** take `limit` and `cursor` and answer with `result`, `next_cursor`, `prev_cursor` and `more`.

**Records** are the vendor's JSON, byte for byte: amounts are never rounded.

**Refusals** are problems (RFC 9457) with a stable `code`, a `remedy`, and whose `turn` it is; `vendor` holds the
vendor's own words. 424 means that the connection's credentials are refused at the vendor: the connection tells why.
Every answer carries `x-request-id`; quote it when you ask for help.

**Versions.** Fields are added within `/v1`, never removed or given another meaning; read what you know and pass over
the rest.
"""

TAGS: Final = {
    "consumers": "Your customers, under your own ids.",
    "connections": "Links to their environments: how they are made, whether they work.",
    "integrations": "A provider set up once: your app, what is shared and why, and how the connect pages look.",
    "connect sessions": "Short-lived links by which your customers connect.",
    "objects": "What an environment offers.",
    "syncs": "Configured, scheduled reads.",
    "runs": "Executions of syncs, with every request that they sent.",
    "records": "Stored records.",
    "changes": "What was created, updated or deleted, in one order.",
    "events": "What happened besides changes: connections, syncs, runs, writes, destinations.",
    "destinations": "Signed webhooks and files for changes and events.",
    "operations": "Writes that are never done twice.",
    "approvals": "Writes that wait for a person.",
    "proxy": "Raw calls with credentials, limits and safe repeats added.",
    "notices": "Whom to mail when something needs people, and what was told.",
    "keys": "Who may call this API.",
    "projects": "The workspaces of this hub, for keys with the scope `hub`.",
    "retention": "How long things are kept, and what is never forgotten too early.",
    "audit": "What was done by whom.",
    "health": "For load balancers and monitoring.",
}

REFUSALS: Final = {
    "401": "No key (`key_missing`), or one that is not known, was revoked or has expired (`key_unknown`, "
    "`key_revoked`, `key_expired`).",
    "403": "The key lacks the scope.",
    "404": "There is no such thing in this project.",
    "422": "The input cannot be used; the message names the field.",
    "429": "Too many requests: with this key, or (where `vendor` is filled) at the vendor.",
}

_ID: Final = "019353d4-8c5e-7b1a-9f3e-2a6b7c8d9e0f"

EXAMPLES: Final[dict[str, Any]] = {
    "create_consumer": {"external_id": "customer-4711", "name": "Contoso Ltd."},
    "create_connection": {
        "name": "Contoso / Production",
        "tenant": "contoso.onmicrosoft.com",
        "environment": "Production",
        "client_id": "11111111-2222-3333-4444-555555555555",
        "client_secret": "the secret's value, not its id",
    },
    "create_integration": {
        "name": "Business Central",
        "client_id": "11111111-2222-3333-4444-555555555555",
        "client_secret": "the secret's value, not its id",
        "objects": [{"object": "customers", "reason": "So that invoices carry the right name and address."}],
        "modes": ["sign_in", "own_app"],
    },
    "replace_integration": {
        "name": "Business Central",
        "client_id": "11111111-2222-3333-4444-555555555555",
        "objects": [{"object": "customers", "reason": "So that invoices carry the right name and address."}],
    },
    "replace_secret": {"client_secret": "the new secret's value", "secret_expires_at": "2028-11-20T00:00:00Z"},
    "date_app_secret": {"secret_expires_at": "2028-11-20T00:00:00Z"},
    "stage_app_secret": {"client_secret": "the next secret's value", "secret_expires_at": "2028-11-20T00:00:00Z"},
    "save_connect_page": {
        "host_name": "Acme Billing",
        "accent": "#7a3cc0",
        "allowed_origins": ["https://app.acme.example"],
    },
    "create_connect_session": {
        "consumer": {"external_id": "customer-4711", "name": "Contoso Ltd."},
        "integration": "Business Central",
        "return_url": "https://app.acme.example/settings",
    },
    "import_connection": {
        "name": "Contoso / Production",
        "client_id": "11111111-2222-3333-4444-555555555555",
        "client_secret": "the secret's value, not its id",
        "refresh_token": "0.AXoA…",
    },
    "change_connection": {"consumer": _ID},
    "renew_secret": {"client_secret": "the new secret's value", "secret_expires_at": "2028-11-20T00:00:00Z"},
    "date_secret": {"secret_expires_at": "2028-11-20T00:00:00Z"},
    "stage_secret": {"client_secret": "the next secret's value", "from": "2027-10-01T00:00:00Z"},
    "move_connection": {"environment": "Production"},
    "disconnect_connection": {"data": "keep", "confirm": "Contoso / Production"},
    "create_portal_link": {"expires_in": 86_400},
    "add_notice_address": {"address": "support@acme.example", "kinds": ["connection_trouble", "secret_expiring"]},
    "change_notice_address": {"kinds": ["secret_expiring"]},
    "change_retention": {"requests": 14, "records": 365, "audit": None},
    "erase_consumer": {"confirm": "customer-4711"},
    "send_test_mail": {"address": "support@acme.example"},
    "select_companies": {"companies": ["CRONUS USA, Inc."]},
    "authorize": {"name": "Contoso by sign-in", "client_id": "11111111-2222-3333-4444-555555555555"},
    "create_sync": {
        "connection": _ID,
        "object": "customers",
        "fields": ["number", "displayName", "balanceDue"],
        "filter": "balanceDue gt 0",
        "schedule": "every 10m",
    },
    "change_sync": {"state": "paused"},
    "run_sync": {"kind": "sweep"},
    "create_destination": {"name": "product", "url": "https://hooks.example.com/isthmus", "objects": ["customers"]},
    "pause_destination": {"reason": "moving house"},
    "replay": {"first": 100, "last": 250},
    "change_destination": {"events": ["records.changed", "run.failed"]},
    "write": {
        "verb": "create",
        "object": "customers",
        "company": "CRONUS USA, Inc.",
        "body": {"displayName": "Contoso Ltd.", "creditLimit": 1000.5},
    },
    "write_batch": {
        "rows": [
            {"verb": "create", "object": "customers", "body": {"displayName": "One"}},
            {"verb": "create", "object": "customers", "body": {"displayName": "Two"}},
        ]
    },
    "create_record": {"displayName": "Contoso Ltd.", "creditLimit": 1000.5},
    "upsert_record": {"number": "C00010", "displayName": "Contoso Ltd."},
    "update_record": {"displayName": "Contoso Group"},
    "replace_record": {"displayName": "Contoso Group"},
    "set_approval_rule": {"required": True, "object": "salesInvoices"},
    "approve_operation": {},
    "refuse_operation": {"reason": "The amount is wrong."},
    "decide_operation": {"took_place": True, "remote_id": _ID},
    "set_proxy_limits": {"request_bytes": 64 * 1024 * 1024, "timeout_s": 600},
    "create_key": {"name": "billing service", "scopes": ["read"], "expires_days": 90},
    "change_key": {"requests_per_s": 50},
    "create_project": {"name": "Acme Billing", "key": {"name": "billing backend", "scopes": ["admin"]}},
    "change_project": {"name": "Acme Invoicing"},
    "change_consumer": {"name": "Contoso Group"},
}
"""A body for each operation that takes one."""


def proxy_paths() -> dict[str, Any]:
    """The proxy, which takes any path and body and is therefore described by hand."""
    parameters = [
        {
            "name": "path",
            "in": "path",
            "required": True,
            "description": "Below the connection's environment, for example `api/v2.0/companies`.",
            "schema": {"type": "string", "minLength": 1},
        },
        {
            "name": "isthmus-connection",
            "in": "header",
            "required": True,
            "description": "The id of the connection.",
            "schema": {"type": "string", "format": "uuid"},
        },
    ]
    if_wanted = {
        "name": "isthmus-paginate",
        "in": "header",
        "description": "GET only: `true` follows the vendor's links and answers with one JSON array of all records, "
        "`lines` with JSON lines, the last of which says whether it is complete. An array that ends early is broken "
        "off.",
        "schema": {"type": "string", "enum": ["true", "lines", "false"]},
    }
    whatever = {"*/*": {"schema": {"description": "The vendor's answer, as it was."}}}
    told = {
        "x-isthmus-attempts": "Requests on the wire.",
        "x-isthmus-retries": "Repeats among them; a write is repeated only when the vendor certainly did not act.",
        "x-isthmus-waited-ms": "Time spent waiting for the vendor's budget and between repeats.",
        "x-isthmus-budget-remaining": "Requests that this process has left of the vendor's window.",
    }
    headers = {name: {"description": text, "schema": {"type": "integer"}} for name, text in told.items()}
    answer = {"description": "The vendor's status, headers and body.", "headers": headers, "content": whatever}
    verbs: dict[str, Any] = {}
    for verb in ("get", "post", "put", "patch", "delete"):
        verbs[verb] = {
            "tags": ["proxy"],
            "operationId": f"proxy_{verb}",
            "summary": f"{verb.upper()} through a connection",
            "description": "Credentials, base URL and needed headers are added; redirects are returned, never "
            "followed; nothing outside the connection's environment can be reached. Bodies pass by in parts, both "
            "ways, within the limits of GET /v1/proxy-limits; one above 256 KiB is never sent twice.",
            "parameters": [*parameters, if_wanted] if verb == "get" else parameters,
            "responses": {"default": answer},
        }
        if verb not in ("get", "delete"):
            verbs[verb]["requestBody"] = {"content": {"*/*": {"schema": {}}}}
    return {"/v1/proxy/{path}": verbs}
