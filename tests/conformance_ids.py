"""Every vendor fact that Isthmus promises to keep, by id, in our own words.

The ids are those of the checklists that the project started from: `BC-01` … `BC-99` (Business Central) and `OA-01` …
`OA-60` (sign-in). A fact concerns two sides: the *product* must cope with it, the *sandbox* must show it. `today` says
which sides reading and connecting need; whatever the product leaves for later carries its reason. Tests name the ids
they carry with `@pytest.mark.conformance("BC-07")`; `tests/generate_docs.py` joins both into one page.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Side(StrEnum):
    """Who has to behave."""

    PRODUCT = "product"
    SANDBOX = "sandbox"


class Later(StrEnum):
    """Why the product does not keep a fact yet; the value is the sentence that the page prints."""

    WEBHOOKS = "belongs to push subscriptions; changes are found by polling until then"
    UNIFIED = "belongs to the unified models; records are handed out as the vendor wrote them"
    USERS = "belongs to the unified user directory; the objects themselves can be read"
    TWO_APPS = "advice for people: the administrator's guide gives it, nothing in the product depends on it"
    SALESFORCE = "Salesforce, later"


class VendorFact(NamedTuple):
    """One id. `today` is empty when both sides wait; `later` is None when the product keeps the fact today."""

    id: str
    title: str
    today: frozenset[Side]
    later: Later | None

    @property
    def needs_test(self) -> bool:
        """True when the product promises the fact today."""
        return self.later is None


_BOTH = frozenset(Side)
_SANDBOX = frozenset({Side.SANDBOX})
_NEITHER: frozenset[Side] = frozenset()

_BUSINESS_CENTRAL = {
    1: "Base address with or without tenant; environment name in any case",
    2: "Company in path or query; tenant-level sets at the root",
    3: "Several companies in one connection",
    4: "The same record id in two companies or environments",
    5: "A wrong environment name is answered in XML",
    6: "Not found, without any body",
    7: "An older version offers fewer sets",
    8: "Definitions can be filtered by entity name only",
    9: "Entity and set names follow no rule of English",
    10: "Definitions list enum types among entities; captions in several languages",
    11: "Fields that extensions add",
    12: "Custom API routes",
    13: "Published OData pages as a second road",
    14: "A request address may be only so long",
    15: "Environments are listed with type and country",
    16: "Metadata carries no ETag and is the same for every company",
    17: "A good token, but the app has no record inside Business Central",
    18: "An expired access token is renewed once",
    19: "An expired client secret at the token endpoint",
    20: "A token without the Automation permission",
    21: "A set that the app may not read",
    22: "Consent differs from environment to environment",
    23: "No refresh token unless offline access was asked for",
    24: "Passwords and access keys are the wrong kind of sign-in",
    25: "The page size is asked for in every read",
    26: "A page size above the vendor's limit",
    27: "A total cap is not a page size",
    28: "The next link is followed byte for byte",
    29: "A next link to another host never gets the token",
    30: "An empty page with a next link is not the end",
    31: "Page sizes halve on time-outs, and the winner is kept",
    32: "Rows that move while a set is paged",
    33: "Query options that are silently ignored",
    34: "An unknown field is named",
    35: "`or` across two fields is refused",
    36: "`in` and nested functions need schema version 2.1",
    37: "Quotes, percent, plus and dates in literals",
    38: "Filter values that collide with AL filter syntax",
    39: "Enum members in filters, by their escaped names",
    40: "Sets that refuse to be read without their parent",
    41: "Lines of many documents come with their headers",
    42: "Parts that cost a report run per record",
    43: "Report sets have a date filter and no stamp",
    44: "Trial balance amounts are formatted text",
    45: "The language is pinned in every request",
    46: "The read replica is for reads only",
    47: "Counts on request; single records come unwrapped",
    48: "API queries have no key and no order",
    49: "A body cut short is never stored in part",
    50: "Navigation gives an object or an array by its kind",
    51: "Blanks are values on the wire and null when decoded",
    52: "Enum names with escaped characters",
    53: "Money keeps all of its digits",
    54: "Time stamps with zero to three fraction digits",
    55: "A zero currency id means the company's own currency",
    56: "ETags are opaque and unescaped before use",
    57: "Codes come back in upper case",
    58: "Media are behind links of their own",
    59: "Create, change and delete answer with or without a body",
    60: "A change without an ETag is refused",
    61: "A stale ETag is a conflict",
    62: "Read-only sets refuse writes",
    63: "Only changed, writable fields may be sent",
    64: "Texts longer than the field are refused",
    65: "Header with lines in one create, never in one change",
    66: "Lines of one parent are written one after another",
    67: "A create whose answer was lost",
    68: "Ids chosen by the client are refused",
    69: "The order of properties matters; contradictions are refused",
    70: "A manual number that the series forbids",
    71: "Changing an unknown id never creates",
    72: "Shapes of the older API are refused",
    73: "Bound actions, and only the listed ones",
    74: "A posted draft keeps its id and gets a new number",
    75: "The status rules of sales and purchase documents",
    76: "A paid invoice cannot be cancelled",
    77: "Attachments are uploaded in two steps",
    78: "No invented payment date",
    79: "A batch succeeds although parts of it fail",
    80: "Parts behind a failed one are missing",
    81: "A batch can continue after an error",
    82: "A snapshot batch undoes all or nothing",
    83: "A batch holds a hundred parts",
    84: "Retry-After as seconds, as date, or missing",
    85: "Five requests at once, 6,000 in five minutes, per app user",
    86: "Each refusal has a class and an action of its own",
    87: "Code, reference id and body of an error are kept",
    88: "A request body over the limit",
    89: "A subscription is proven by a handshake",
    90: "Subscriptions live three days and are capped",
    91: "Subscriptions vanish when the receiver fails",
    92: "Notifications come twice, late, mixed or not at all",
    93: "Many changes come as one collection notification",
    94: "Resources that cannot be subscribed to",
    95: "A refusal at the first call says nothing about stamps",
    96: "Equal stamps, late commits and an overlap without duplicates",
    97: "Rows without a stamp, and a restamp of all rows",
    98: "Deletions and changes that leave no stamp",
    99: "People of a company, with fallbacks",
}

_SIGN_IN = {
    1: "A token answer that tells no expiry",
    2: "A renewal with or without a new refresh token",
    3: "Two workers renew at once",
    4: "Approvals per user are capped",
    5: "Login host of test and customer domains",
    6: "Audience, algorithm and life of a signed assertion",
    7: "A reconnect to another organisation is refused",
    8: "An uninstalled app is blocked",
    9: "Each connection has its own app and secret",
    10: "Offline access is always asked for",
    11: "One token request per resource",
    12: "The default scope is never mixed with named ones",
    13: "App sign-in uses the tenant's own endpoint",
    14: "Secrets with plus, slash, equals, percent, ampersand",
    15: "A wrong or expired secret keeps tokens and consent",
    16: "An idle connection is renewed before its window ends",
    17: "Access tokens are opaque",
    18: "A token is not yet a connection",
    19: "A dead grant is not tried again",
    20: "Throttling of token requests",
    21: "A redirect registered for single-page apps",
    22: "State, nonce, issuer, audience and tenant of a callback",
    23: "National clouds",
    24: "A clock that is wrong",
    25: "A callback that arrives twice",
    26: "A sign-in that never comes back",
    27: "PKCE with S256, always",
    28: "A renewal whose answer is lost",
    29: "A renewal slower than its lock",
    30: "The newest refresh token is kept",
    31: "Revoked, too old, or its owner left",
    32: "A second factor is demanded with claims",
    33: "The API demands claims",
    34: "A policy blocks the sign-in",
    35: "Administrator consent, given or refused",
    36: "Consent needs a moment to spread",
    37: "Warnings before a secret expires",
    38: "Two secrets valid at once",
    39: "Certificate instead of secret: PS256 with a thumbprint",
    40: "The full shape of an Entra error",
    41: "Life of a token as number or text",
    42: "Fewer scopes granted than asked for",
    43: "One grant, a token for each resource",
    44: "Which refusals may renew a session",
    45: "The API host moves on renewal",
    46: "Signature and time of a token answer",
    47: "A second connection to the same org and user",
    48: "Disconnecting revokes the token",
    49: "HTML or a server error from the token endpoint",
    50: "Login hours, rate limits, temporary refusals",
    51: "Inactive users or orgs, blocked addresses and apps",
    52: "Missing run-as user or pre-approval",
    53: "Tokens and secrets are never shown",
    54: "Rights are checked before activation",
    55: "Old kinds of sign-in are not offered",
    56: "The old `resource` parameter is never sent",
    57: "A code is redeemed where it was issued",
    58: "Single-tenant apps use the tenant's endpoint",
    59: "A resource that does not exist in the tenant",
    60: "One app for development and one for production",
}

_LATER: dict[str, tuple[frozenset[Side], Later]] = {
    "BC-78": (_SANDBOX, Later.UNIFIED),
    **{f"BC-{number}": (_NEITHER, Later.WEBHOOKS) for number in range(89, 95)},
    "BC-99": (_SANDBOX, Later.USERS),
    **{
        f"OA-{number:02}": (_NEITHER, Later.SALESFORCE)
        for number in (1, 4, 5, 6, 7, 8, 44, 45, 46, 47, 48, 51, 52, 54, 55)
    },
    "OA-60": (_SANDBOX, Later.TWO_APPS),
}


def _facts() -> dict[str, VendorFact]:
    titles = {f"BC-{number:02}": title for number, title in _BUSINESS_CENTRAL.items()}
    titles |= {f"OA-{number:02}": title for number, title in _SIGN_IN.items()}
    return {name: VendorFact(name, title, *_LATER.get(name, (_BOTH, None))) for name, title in titles.items()}


FACTS = _facts()
"""Every fact by id, in order."""
