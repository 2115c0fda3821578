"""Signing in through an identity provider: who comes in with which role, and every way a token can be wrong."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from html import unescape
from typing import Any

import httpx
import msgspec
import pytest
from joserfc.jwk import OctKey, RSAKey
from tests.api_server import serving
from tests.console.identity_provider import CLIENT_ID, CLIENT_SECRET, IdentityProvider, identity_provider
from tests.console_people import PASSWORD, Visitor, new_person, words
from tests.hub_fixtures import House
from tests.plain_http import plain_client

from isthmus.console.sessions import hashed
from isthmus.kernel.failures import InvalidInput
from isthmus.kernel.ids import new_id
from isthmus.settings_oidc import OidcSettings, load_oidc
from isthmus.store import console_people
from isthmus.store.console_people import Person
from isthmus_sandbox.worlds import identities

Opened = Callable[..., Awaitable[Visitor]]


@pytest.fixture
async def provider() -> AsyncIterator[IdentityProvider]:
    """A provider of its own, whose person is somebody new."""
    async with identity_provider() as running:
        running.person["sub"] = new_id().hex
        running.person["name"] = f"Ada {new_id().hex[-8:]}"
        yield running


@pytest.fixture
async def opened(house: House, provider: IdentityProvider) -> AsyncIterator[Opened]:
    """A console that knows the provider, and a browser in front of it."""
    async with AsyncExitStack() as stack:

        async def make(**changed: Any) -> Visitor:
            plain = {"issuer": provider.address, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
            house.settings = msgspec.structs.replace(house.settings, oidc=OidcSettings(**plain | changed))
            served = await stack.enter_async_context(serving(house))
            await console_people.forget_failures(served.hub.db, hashed("provider:127.0.0.1"))
            client = plain_client(served.address)
            return Visitor(served, await stack.enter_async_context(client))

        yield make


async def come_back(visitor: Visitor) -> httpx.Response:
    """Press the button, let the provider answer, come back."""
    left = await visitor.get("/console/sign-in/provider", next="/console/activity")
    assert left.status_code == 303, words(left.text)
    answered = await visitor.client.get(left.headers["location"])
    return await visitor.client.get(answered.headers["location"])


async def person_of(visitor: Visitor, provider: IdentityProvider) -> Person | None:
    """Who the console knows by the provider's subject."""
    return await console_people.identified(visitor.served.hub.db, provider.address, provider.person["sub"])


async def test_the_button_signs_in_and_leads_where_one_was_going(opened: Opened, provider: IdentityProvider) -> None:
    visitor = await opened(title="Acme single sign-on")
    await new_person(visitor.served, f"Somebody {new_id().hex}", "viewer")
    page = await visitor.text("/console/sign-in", next="/console/activity")
    assert "Acme single sign-on" in page
    assert "or with a password" in page
    back = await come_back(visitor)
    assert (back.status_code, back.headers["location"]) == (303, "/console/activity")
    person = await person_of(visitor, provider)
    assert person is not None
    assert (person.name, person.role, person.email) == (provider.person["name"], "viewer", "ada@acme.example")
    assert not person.has_password
    you = words(await visitor.text("/console/settings/you"))
    assert "identity provider" in you
    assert "there is no password here" in you
    assert (await visitor.sign_in(person.name, "")).status_code == 401, "no password is not an empty one"


WRONG: tuple[tuple[dict[str, Any], str], ...] = (
    ({"iss": "https://evil.example"}, "another issuer made it"),
    ({"aud": "another-client"}, "it is meant for another client"),
    ({"aud": [CLIENT_ID, "another"]}, "it was made for another client"),
    ({"azp": "another-client"}, "it was made for another client"),
    ({"exp": 1_000_000_000}, "it has expired"),
    ({"exp": None}, "it has no times"),
    ({"nbf": 9_000_000_000}, "it is not valid yet"),
    ({"nonce": "another"}, "it belongs to another sign-in"),
    ({"nonce": None}, "it belongs to another sign-in"),
    ({"sub": ""}, "it names nobody"),
)


async def test_a_token_is_believed_only_when_everything_about_it_is_right(
    opened: Opened, provider: IdentityProvider
) -> None:
    visitor = await opened()
    for wrong, said in WRONG:
        provider.claims = wrong
        back = await come_back(visitor)
        assert back.status_code == 502, wrong
        assert said in words(back.text), wrong
        assert (await visitor.get("/console")).status_code == 303, "nobody is signed in"
    provider.claims = {"aud": [CLIENT_ID, "another"], "azp": CLIENT_ID}
    assert (await come_back(visitor)).status_code == 303


async def test_a_signature_has_to_be_the_providers(opened: Opened, provider: IdentityProvider) -> None:
    visitor = await opened()
    mine = provider.published[0]
    provider.key = RSAKey.generate_key(2048, parameters={"kid": "one"})
    assert "its signature is not right" in words((await come_back(visitor)).text)
    provider.key, provider.algorithm = OctKey.import_key(b"0" * 32, {"kid": "one"}), "HS256"
    assert "its signature is not right" in words((await come_back(visitor)).text), "shared secrets are never taken"
    provider.algorithm = "RS256"
    two = provider.key = RSAKey.generate_key(2048, parameters={"kid": "two"})
    provider.published = [mine, two]
    assert (await come_back(visitor)).status_code == 303, "a new key is fetched once it is used"


async def test_what_was_not_begun_in_this_browser_is_refused(opened: Opened, provider: IdentityProvider) -> None:
    visitor = await opened()
    left = await visitor.get("/console/sign-in/provider")
    answered = await visitor.client.get(left.headers["location"])
    stranger = await opened()
    foreign = await stranger.client.get(
        answered.headers["location"].replace(visitor.served.address, stranger.served.address)
    )
    assert "This sign-in was not begun here" in words(foreign.text)
    tampered = await visitor.client.get(answered.headers["location"] + "x")
    assert tampered.status_code == 400
    denied = await visitor.client.get(answered.headers["location"].replace("code=", "error=access_denied&x="))
    assert "was cancelled or refused" in words(denied.text)
    done = await visitor.client.get(answered.headers["location"])
    assert done.status_code == 303
    assert (await visitor.client.get(answered.headers["location"])).status_code == 400, "an answer is good once"


async def test_groups_give_roles_and_their_loss_takes_them(opened: Opened, provider: IdentityProvider) -> None:
    visitor = await opened(role_claim="realm_access.roles", roles=(("admin", "ops"), ("operator", "support")))
    refused = await come_back(visitor)
    assert "You have no role here" in words(refused.text)
    assert await person_of(visitor, provider) is None
    for groups, role in ((["support", "x"], "operator"), (["x", "ops", "support"], "admin")):
        provider.claims = {"realm_access": {"roles": groups}}
        assert (await come_back(visitor)).status_code == 303
        person = await person_of(visitor, provider)
        assert person is not None
        assert person.role == role
    provider.claims = {}
    assert (await come_back(visitor)).status_code == 403
    assert (await visitor.get("/console")).status_code == 303, "who has lost every group is out at once"


async def test_only_the_domains_that_are_allowed_come_in(opened: Opened, provider: IdentityProvider) -> None:
    visitor = await opened(domains=("acme.example",))
    provider.claims = {"email_verified": True}
    assert (await come_back(visitor)).status_code == 303
    for unproven in ({"email_verified": False}, {"email_verified": "false"}, {}):
        provider.claims = unproven
        assert "which your identity provider has not verified" in words((await come_back(visitor)).text)
    provider.claims = {"email": None, "preferred_username": "eve@acme.example", "email_verified": True}
    assert (await come_back(visitor)).status_code == 403, "a name that people choose proves nothing"
    provider.claims = {"email": "ada@evil.example", "email_verified": True}
    assert "you came as ada@evil.example." in words((await come_back(visitor)).text)
    provider.claims = {"email": "ada@notacme.example", "email_verified": True}
    assert (await come_back(visitor)).status_code == 403


async def test_entra_proves_the_domain_of_an_address_by_a_claim_of_its_own(
    opened: Opened, provider: IdentityProvider
) -> None:
    visitor = await opened(domains=("acme.example",))
    for proven in (True, 1, "1", "true", "True"):
        provider.claims = {"xms_edov": proven}
        assert (await come_back(visitor)).status_code == 303, proven
    for unproven in (False, 0, "0", "false", "", None, ["true"]):
        provider.claims = {"xms_edov": unproven}
        assert (await come_back(visitor)).status_code == 403, unproven
    provider.claims = {"xms_edov": True, "email_verified": False}
    assert (await come_back(visitor)).status_code == 403, "a clear no is not overruled"
    provider.claims = {"xms_edov": True, "email": None, "preferred_username": "eve@acme.example"}
    assert (await come_back(visitor)).status_code == 403, "it speaks of the claim email and of nothing else"


async def test_signing_out_ends_the_providers_session_too(opened: Opened, provider: IdentityProvider) -> None:
    visitor = await opened()
    await come_back(visitor)
    page = await visitor.send("/console/sign-out")
    assert (await visitor.get("/console")).status_code == 303, "signed out here whatever happens there"
    assert "You are signed out here" in words(page.text)
    found = re.search(r'http-equiv="refresh" content="0;url=([^"]+)"', page.text)
    assert found is not None
    ended = await visitor.client.get(unescape(found.group(1)))
    assert ended.status_code == 302
    assert ended.headers["location"] == f"{visitor.served.address}/console/sign-in/signed-out"
    home = await visitor.client.get(ended.headers["location"], follow_redirects=True)
    assert "You are signed out." in words(home.text)


async def test_signing_out_stays_here_when_the_provider_has_no_part_in_it(
    opened: Opened, provider: IdentityProvider
) -> None:
    visitor = await opened()
    await new_person(visitor.served, name := f"Somebody {new_id().hex}", "viewer")
    await visitor.sign_in(name)
    by_password = await visitor.send("/console/sign-out")
    assert by_password.headers["location"] == "/console/sign-in?notice=signed-out"
    left_alone = await opened(sign_out=False)
    await come_back(left_alone)
    assert (await left_alone.send("/console/sign-out")).status_code == 303
    provider.signs_out = False
    nowhere = await opened()
    await come_back(nowhere)
    assert (await nowhere.send("/console/sign-out")).status_code == 303


async def test_passwords_can_be_off_and_still_nobody_is_locked_out(opened: Opened, provider: IdentityProvider) -> None:
    visitor = await opened(passwords=False, roles=(("admin", "ops"),))
    names = {role: f"{role} {new_id().hex}" for role in ("admin", "viewer")}
    for role, name in names.items():
        await new_person(visitor.served, name, role)
    assert (await visitor.sign_in(names["viewer"])).status_code == 401
    assert (await visitor.sign_in(names["admin"])).status_code == 303, "no administrator has come through the provider"
    provider.claims = {"roles": "ops"}
    assert (await come_back(visitor)).status_code == 303
    visitor.client.cookies.clear()
    page = await visitor.text("/console/sign-in")
    assert "Passwords are switched off here" in words(page)
    assert 'name="password"' not in page
    proof_less = await visitor.client.post("/console/sign-in", data={"name": names["admin"], "password": PASSWORD})
    assert proof_less.status_code == 403


async def test_a_provider_that_is_set_up_wrongly_is_told_to_whom_it_concerns(
    opened: Opened, provider: IdentityProvider
) -> None:
    provider.methods = ["client_secret_post"]
    visitor = await opened()
    assert (await come_back(visitor)).status_code == 303
    wrong = await opened(client_secret="wrong")
    assert "Check ISTHMUS_OIDC_CLIENT_ID" in words((await come_back(wrong)).text)
    elsewhere = await opened(issuer=f"{provider.address}/nowhere")
    assert "Check ISTHMUS_OIDC_ISSUER" in words((await elsewhere.get("/console/sign-in/provider")).text)
    provider.refuse = "invalid_grant"
    assert "the provider says invalid_grant" in words((await come_back(visitor)).text)
    asked = len(provider.requests)
    subject = hashed("provider:127.0.0.1")
    await console_people.note_failure(visitor.served.hub.db, subject, 0, 900.0)
    assert (await visitor.get("/console/sign-in/provider")).status_code == 429, "every try would ask the provider"
    await console_people.forget_failures(visitor.served.hub.db, subject)
    assert len(provider.requests) == asked


async def test_entra_as_the_sandbox_plays_it_signs_in_too(opened: Opened, house: House) -> None:
    cloud = house.cloud
    visitor = await opened(
        issuer=f"{cloud.login_url}/{identities.TENANT_ID}/v2.0",
        client_id=identities.WEB_APP_ID,
        client_secret=identities.WEB_APP_SECRET,
        ca_file=cloud.ca_file,
        scopes=("openid", "profile", f"{cloud.business_central_resource}/.default"),
    )
    redirect = f"{visitor.served.address}/console/sign-in/callback"
    app = house.sandbox.directory.apps[identities.WEB_APP_ID]
    known = {**app.redirect_uris, "web": (*app.redirect_uris["web"], redirect)}
    house.sandbox.call(lambda: setattr(app, "redirect_uris", known))
    left = await visitor.get("/console/sign-in/provider")
    back = await house.browse(visitor.served.hub, left.headers["location"])
    done = await visitor.get("/console/sign-in/callback", **back)
    assert done.status_code == 303, words(done.text)
    assert "identity provider" in words(await visitor.text("/console/settings/you"))


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"ISTHMUS_OIDC_ISSUER": "http://login.example.com"}, "ISTHMUS_OIDC_ISSUER"),
        ({"ISTHMUS_OIDC_ISSUER": "https://login.example.com"}, "ISTHMUS_OIDC_CLIENT_ID"),
        ({"ISTHMUS_PASSWORDS": "0"}, "ISTHMUS_PASSWORDS"),
        (
            {
                "ISTHMUS_OIDC_ISSUER": "https://login.example.com",
                "ISTHMUS_OIDC_CLIENT_ID": "x",
                "ISTHMUS_OIDC_ROLES": "boss=ops",
            },
            "ISTHMUS_OIDC_ROLES",
        ),
    ],
)
def test_the_environment_is_checked_by_name(environ: dict[str, str], named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        load_oidc(environ)


def test_the_environment_says_which_groups_give_which_role() -> None:
    loaded = load_oidc(
        {
            "ISTHMUS_OIDC_ISSUER": "https://login.example.com/realms/people",
            "ISTHMUS_OIDC_CLIENT_ID": "isthmus",
            "ISTHMUS_OIDC_CLIENT_SECRET": "canary-secret",
            "ISTHMUS_OIDC_ROLES": "viewer=* admin=ops, operator=support",
            "ISTHMUS_OIDC_DOMAINS": "Acme.example other.example",
        }
    )
    assert loaded is not None
    assert loaded.roles == (("admin", "ops"), ("operator", "support"), ("viewer", "*"))
    assert loaded.domains == ("acme.example", "other.example")
    assert "canary" not in repr(loaded)
