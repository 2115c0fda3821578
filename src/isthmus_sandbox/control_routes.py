"""Every control route with an example of its body and what it does; the index page prints this table."""

from __future__ import annotations

from typing import Final, NamedTuple

from isthmus_sandbox.worlds.identities import ADMIN_NAME, CONFIDENTIAL_APP_ID, TENANT_DOMAIN, US_COMPANY, USER_NAME


class ControlRoute(NamedTuple):
    """`path` is as it is registered, `body` a JSON example (or none), `effect` says what happens and what else goes."""

    method: str
    path: str
    body: str
    effect: str


_AT: Final = f'"company": "{US_COMPANY}", "set": "customers"'
_WHO: Final = f'"tenant": "{TENANT_DOMAIN}", "app": "{CONFIDENTIAL_APP_ID}"'

GENERAL: Final = (
    ControlRoute("GET", "/_sandbox/", "", "this page"),
    ControlRoute("GET", "/_sandbox/state", "", "everything on this page, as JSON"),
    ControlRoute("GET", "/_sandbox/addresses", "", "the servers' addresses and the certificate authority's file"),
    ControlRoute("GET", "/_sandbox/clock", "", "the sandbox's time"),
    ControlRoute(
        "POST", "/_sandbox/clock/advance", '{"seconds": 60}', "moves the clock: tokens, secrets and windows expire"
    ),
    ControlRoute(
        "POST", "/_sandbox/reset", '{"world": "cronus"}', "fresh data; forgets faults, switches, limits and the journal"
    ),
    ControlRoute("POST", "/_sandbox/flush", "", "applies requests that were answered with a time-out and postponed"),
    ControlRoute("GET", "/_sandbox/faults", "", "the faults that wait for a request"),
    ControlRoute(
        "POST",
        "/_sandbox/faults",
        '{"action": "status", "status": 503, "path": "customers", "count": 1}',
        "spoils matching requests; action: delay, status, truncate, corrupt_json, drop, lose_answer or late_commit; "
        "also server, method, query, skip, every, probability, delay_s, retry_after_s, body, headers, …",
    ),
    ControlRoute("DELETE", "/_sandbox/faults", "", "forgets all faults"),
    ControlRoute("DELETE", "/_sandbox/faults/{number:int}", "", "forgets one"),
    ControlRoute("GET", "/_sandbox/limits", "", "the limits, and how much of them is used"),
    ControlRoute(
        "POST",
        "/_sandbox/limits",
        '{"scale": 100}',
        'shortens the windows, 100 means 60 requests in 3 s; {"enabled": false} switches limits off',
    ),
    ControlRoute("DELETE", "/_sandbox/limits/counters", "", "forgets what was used"),
    ControlRoute(
        "GET", "/_sandbox/journal", "", "the requests received; ?server= and ?path= filter, ?limit= takes the last ones"
    ),
    ControlRoute("DELETE", "/_sandbox/journal", "", "empties it"),
)

ENTRA: Final = (
    ControlRoute("GET", "/_sandbox/entra/", "", "tenants, apps with their secrets, users, consents"),
    ControlRoute("POST", "/_sandbox/entra/tenants", '{"domain": "new.example"}', "another tenant; also cloud"),
    ControlRoute(
        "POST",
        "/_sandbox/entra/resources",
        '{"uri": "https://api.new.example", "scopes": ["read"]}',
        "an API that tokens can be for; also roles, tenant",
    ),
    ControlRoute(
        "POST",
        "/_sandbox/entra/apps",
        f'{{"display_name": "New app", "tenant": "{TENANT_DOMAIN}", "secrets": ["canary-secret~new"]}}',
        "registers an app; also kind (single_tenant, multi_tenant), certificates, web_redirect_uris, public_client, …",
    ),
    ControlRoute(
        "POST", "/_sandbox/entra/apps/{client_id}", '{"assignment_required": true}', "changes it; also assigned_users"
    ),
    ControlRoute(
        "POST",
        "/_sandbox/entra/apps/{client_id}/secrets",
        '{"valid_for_s": 3600}',
        "a new secret beside the old ones; its value may be given as value",
    ),
    ControlRoute("DELETE", "/_sandbox/entra/apps/{client_id}/secrets/{key_id}", "", "removes a secret"),
    ControlRoute("POST", "/_sandbox/entra/apps/{client_id}/certificates", '{"pem": "…"}', "trusts a certificate"),
    ControlRoute(
        "POST",
        "/_sandbox/entra/users",
        f'{{"tenant": "{TENANT_DOMAIN}", "user_name": "new@{TENANT_DOMAIN}"}}',
        "a new person; also password, is_admin",
    ),
    ControlRoute(
        "POST",
        "/_sandbox/entra/users/{name}",
        '{"revoke_sessions": true}',
        "ends all sign-ins of a person; enabled: false is a person who has left",
    ),
    ControlRoute(
        "POST",
        "/_sandbox/entra/consents",
        f'{{{_WHO}, "roles": ["API.ReadWrite.All"]}}',
        "consents for everybody, or for one user; also scopes, resource",
    ),
    ControlRoute("DELETE", "/_sandbox/entra/consents", "", "withdraws it; ?tenant= and ?app= say whose"),
    ControlRoute("GET", "/_sandbox/entra/switches", "", "what is switched, and what can be"),
    ControlRoute(
        "POST",
        "/_sandbox/entra/switches",
        f'{{"name": "secret-expired", "app": "{CONFIDENTIAL_APP_ID}", "times": 1}}',
        "switches a behaviour from the list below; also value, tenant",
    ),
    ControlRoute("DELETE", "/_sandbox/entra/switches", "", "switches back; ?name=, ?tenant= and ?app= narrow it"),
    ControlRoute(
        "POST",
        "/_sandbox/entra/next-error",
        '{"endpoint": "token", "code": 50076}',
        "answers an AADSTS code once; endpoint: token, authorize, adminconsent; also times, claims, retry_after_s",
    ),
    ControlRoute(
        "POST",
        "/_sandbox/entra/tokens",
        f'{{{_WHO}, "roles": ["API.ReadWrite.All"]}}',
        "an access token without any dance; also user, scopes, lifetime_s",
    ),
    ControlRoute(
        "POST", "/_sandbox/entra/tokens/revoke", '{"kind": "access"}', "ends tokens early; kind refresh: sign-ins"
    ),
    ControlRoute("GET", "/_sandbox/entra/token-requests", "", "how often which app used which grant"),
    ControlRoute("POST", "/_sandbox/entra/keys/rotate", "", "other signing keys from now on"),
)

BUSINESS_CENTRAL: Final = (
    ControlRoute("GET", "/_sandbox/business-central", "", "environments, companies, sets with their size, switches"),
    ControlRoute(
        "POST",
        "/_sandbox/business-central/change",
        f'{{{_AT}, "count": 3}}',
        "edits some records; or ids and values; keep_stamp; backdate_s commits late",
    ),
    ControlRoute(
        "POST", "/_sandbox/business-central/insert", f'{{{_AT}, "count": 2}}', "adds plausible records; or records"
    ),
    ControlRoute("POST", "/_sandbox/business-central/delete", f'{{{_AT}, "count": 1}}', "removes some; or ids"),
    ControlRoute(
        "POST",
        "/_sandbox/business-central/seed",
        f'{{{_AT}, "count": 1000}}',
        "appends up to a million records; also lines (for documents), prefix, stamped",
    ),
    ControlRoute(
        "POST", "/_sandbox/business-central/restamp", f"{{{_AT}}}", "new stamps, same content, as an upgrade does"
    ),
    ControlRoute(
        "POST",
        "/_sandbox/business-central/late-commit",
        f'{{{_AT}, "count": 1, "backdate_s": 300}}',
        "records that appear now with an older stamp; kind: insert or change",
    ),
    ControlRoute(
        "POST",
        "/_sandbox/business-central/schema",
        f'{{{_AT}, "gain": "loyaltyLevel"}}',
        "a set gains a field (type: Edm.String), or loses one: lose",
    ),
    ControlRoute(
        "POST",
        "/_sandbox/business-central/switches",
        '{"page_records_max": 100}',
        "switches behaviours from the list below, in one environment or in all",
    ),
    ControlRoute(
        "POST", "/_sandbox/business-central/companies", '{"name": "New Company"}', "another company; currency_code"
    ),
    ControlRoute(
        "POST",
        "/_sandbox/business-central/apps",
        f'{{"app_id": "{CONFIDENTIAL_APP_ID}", "registered": true}}',
        "puts an app on the page Microsoft Entra applications, or takes it off",
    ),
    ControlRoute(
        "POST",
        "/_sandbox/business-central/draft-state",
        f'{{"company": "{US_COMPANY}", "set": "salesOrders", "id": "…", "state": "released"}}',
        "makes a document draft, review or released",
    ),
    ControlRoute("POST", "/_sandbox/business-central/webhooks", "", "sends the notifications that are due by now"),
)

ON_THE_SIGN_IN_PAGE: Final = (
    f"Add sandbox_auto=accept (or =deny) to /{{tenant}}/oauth2/v2.0/authorize?…, with login_hint={ADMIN_NAME} or "
    f"{USER_NAME}, and its pages are answered without a person."
)
