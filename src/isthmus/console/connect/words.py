"""How the connect pages speak: to somebody who runs a company, not a program. No jargon without its explanation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from isthmus.connections.integrations import Mode, SharedObject, plain_title
from isthmus.connections.sessions import SessionScene

PROVIDERS: Final = {"business_central": "Business Central"}
"""What people call a provider."""

WAYS: Final = {
    Mode.SIGN_IN: ("Sign in with Microsoft", "The quickest way. You sign in on Microsoft's own page and agree there."),
    Mode.APP: (
        "Agree for the whole organization",
        "An administrator agrees once on Microsoft's page. It keeps working when people leave or change passwords.",
    ),
    Mode.OWN_APP: (
        "Use an app that you registered",
        "For organizations that register their own app in Microsoft Entra and let it work on its own.",
    ),
    Mode.OWN_APP_SIGN_IN: (
        "Sign in through an app that you registered",
        "For organizations that want people to sign in through an app of their own.",
    ),
}
"""Every way to connect: its title, and for whom it is."""

TICKS: Final = {
    "token": "Microsoft accepts the sign-in",
    "environment": "The environment is there",
    "companies": "Business Central lets us in and shows its companies",
    "metadata": "Business Central answers",
    "read": "Records can be read",
}
"""The steps of a check in the customer's words; others keep their own, and `automation` is not shown."""

HIDDEN: Final = ("automation",)


class Tick(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the check. `state` is done, failed, noted, now or later."""

    title: str
    state: str
    detail: str = ""


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong, for the customer: whose turn it is and what to do. `chapter` is the guide's part that helps;
    with `hosts` only the host can mend it."""

    title: str
    remedy: str
    turn: str
    chapter: str = ""
    needs_administrator: bool = False
    field: str = ""
    consent: bool = False
    hosts: bool = False


def provider_title(name: str) -> str:
    """What people call the provider."""
    return PROVIDERS.get(name, plain_title(name))


def ticks_of(scene: SessionScene, shared: Sequence[SharedObject]) -> list[Tick]:
    """What was checked, what is being checked, and what is still to come."""
    session = scene.session
    taken = {str(each["name"]): each for each in session.checks if each["name"] not in HIDDEN}
    expected = [*TICKS, *(f"object:{each.object}" for each in shared)]
    titles = {f"object:{each.object}": f"{each.shown} can be read" for each in shared}
    names = [*(name for name in expected), *(name for name in taken if name not in expected)]
    ticks: list[Tick] = []
    running = session.status == "opened" and session.step == "checking"
    for name in names:
        title = TICKS.get(name) or titles.get(name) or str(taken.get(name, {}).get("title", name))
        step = taken.get(name)
        if step is None:
            if not running:
                continue
            first = all(each.state in ("done", "noted") for each in ticks)
            ticks.append(Tick(title=title, state="now" if first else "later"))
        elif step["passed"]:
            ticks.append(Tick(title=title, state="done"))
        else:
            told = "" if _known(step["failure"] or {}) else step["detail"]  # else the page says it in its own words
            ticks.append(Tick(title=title, state="noted" if step["optional"] else "failed", detail=told))
    return ticks


def trouble_of(failure: Mapping[str, Any], host: str, support: str = "") -> Trouble:
    """A failure in the customer's words; one that is not known keeps its own, which says what to do as well.

    `support` is where the host can be told of what only the host can mend.
    """
    if failure.get("code") == UNKNOWN_OBJECT:
        return Trouble(
            title=f"{host} asks for something that this Business Central does not offer ({failure.get('subject')})",
            remedy=f"You cannot mend this. Tell {host}{f': {support}' if support else ''}. Everything that you have "
            "entered is kept; afterwards check again.",
            turn=f"{host}'s turn",
            hosts=True,
        )
    known = _known(failure)
    turn = {
        "you": "Your turn",
        "your customer's administrator": "Your administrator's turn",
        "the vendor": "Microsoft's turn",
        "isthmus": f"{host}'s turn",
    }.get(str(failure.get("turn")), "Your turn")
    if known is None:
        return Trouble(title=str(failure["message"]), remedy=str(failure["remedy"]), turn=turn)
    own_title = str(failure["message"]) if not known.title else known.title
    return msgspec.structs.replace(
        known,
        title=own_title,
        remedy=known.remedy or str(failure["remedy"]),
        turn="Your administrator's turn" if known.needs_administrator else "Your turn" if known is _DECLINED else turn,
    )


def _known(failure: Mapping[str, Any]) -> Trouble | None:
    """Our own words for a failure. Entra tells apart who has declined: 65004 is the person in front of the page."""
    vendor = str((failure.get("vendor") or {}).get("code") or "")
    if failure.get("code") == UNKNOWN_OBJECT:
        return Trouble(title="", remedy="", turn="", hosts=True)  # `trouble_of` says it
    if vendor == DECLINED:
        return _DECLINED
    return _KNOWN.get(str(failure.get("code", "")))


UNKNOWN_OBJECT: Final = "unknown_object"
DECLINED: Final = "AADSTS65004"

_DECLINED: Final = Trouble(
    title="You did not agree on Microsoft's page",
    remedy="Nothing was connected. If that was a slip, try again. "
    "If Microsoft asked for an administrator, pass this page on to yours.",
    turn="",
    consent=True,
)

_KNOWN: Final[Mapping[str, Trouble]] = {
    "secret_wrong": Trouble(
        title="The client secret is wrong",
        remedy="Paste the secret's Value. The Secret ID beside it is not the secret. "
        "If the Value is no longer shown, make a new secret.",
        turn="",
        chapter="secret",
        field="client_secret",
    ),
    "secret_expired": Trouble(
        title="The client secret has expired",
        remedy="Make a new secret in Microsoft Entra and enter its Value.",
        turn="",
        chapter="secret",
        field="client_secret",
    ),
    "app_not_registered": Trouble(
        title="Business Central does not know the app yet",
        remedy="Somebody who administers Business Central opens “Microsoft Entra Applications” there, adds the app's "
        "client ID, sets State to Enabled and adds the permission set D365 BASIC ISV. Then check again.",
        turn="",
        chapter="inside",
        needs_administrator=True,
    ),
    "permission_missing": Trouble(
        title="A permission is missing",
        remedy="Somebody who administers Business Central adds the permission sets that cover what is shared. "
        "Then check again.",
        turn="",
        chapter="inside",
        needs_administrator=True,
    ),
    "consent_missing": Trouble(
        title="An administrator has to agree first",
        remedy="Your organization lets only administrators agree to new apps. An administrator opens this page and "
        "agrees for everybody; then you go on.",
        turn="",
        chapter="entra",
        needs_administrator=True,
        consent=True,
    ),
    "sign_in_again": Trouble(
        title="",
        remedy="Start the sign-in again; what you have entered is kept.",
        turn="",
    ),
    "identity_mismatch": Trouble(
        title="That was another organization",
        remedy="Sign in with an account of the organization that is connected here. "
        "To connect another organization, start from the product again.",
        turn="",
    ),
    "environment_not_found": Trouble(
        title="There is no environment of that name",
        remedy="Choose one of the list, or type its name as Business Central shows it.",
        turn="",
        chapter="environment",
        field="environment",
    ),
    "access_token_rejected": Trouble(
        title="Business Central did not accept the sign-in",
        remedy="Check that your account, or the app, may use this environment. Then check again.",
        turn="",
        chapter="inside",
        needs_administrator=True,
    ),
}


def administrator_message(scene: SessionScene, host: str, link: str, trouble: Trouble | None, client_id: str) -> str:
    """What to send to the administrator: who asks, for what, what to do, and where."""
    provider = provider_title(scene.integration.provider)
    lines = [
        "Hello,",
        "",
        f"I am connecting {provider} to {host}, and need an administrator for it.",
    ]
    if trouble is not None and trouble.needs_administrator:
        lines += ["", f"What is missing: {trouble.title}.", trouble.remedy]
    if client_id:
        lines += ["", f"The app's client ID: {client_id}"]
    lines += [
        "",
        "This page shows what will be shared and why, and takes you through it. It needs no account and works for "
        "three days:",
        link,
        "",
        "Thank you",
    ]
    return "\n".join(lines)
