"""Notices to people, through a real mail server."""

from __future__ import annotations

import datetime as dt
import ssl
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from tests.health.conftest import Mailbox, mail_server

from isthmus.app import Hub
from isthmus.delivery.mail import NotAccepted, postman
from isthmus.delivery.notices import Notifier
from isthmus.kernel.clock import SystemClock
from isthmus.kernel.failures import (
    ConfigurationFailure,
    DestinationFailure,
    Duplicate,
    InvalidInput,
    SecretExpired,
    VendorFault,
)
from isthmus.settings import MailServer, load_settings
from isthmus.store import connections, events, grants, notices
from isthmus.store.rows import Connection

ADDRESS = "support@acme.example"


def notifier(hub: Hub, box: Mailbox | None, public_url: str | None = "https://hub.example") -> Notifier:
    return Notifier(hub.db, SystemClock(), box.server if box else None, public_url)


async def tell(hub: Hub, *kinds: str, address: str = ADDRESS) -> None:
    async with hub.db.project(hub.project.id) as tx:
        await notices.add_address(tx, address, kinds)


async def connection(hub: Hub, name: str, state: str = "connected") -> Connection:
    async with hub.db.project(hub.project.id) as tx:
        grant = await grants.create(
            tx, provider="business_central", kind="client_credentials", cloud={}, tenant="t", client_id="c"
        )
        return await connections.create(
            tx, grant_id=grant.id, provider="business_central", environment="Production", name=name, state=state
        )


async def break_it(hub: Hub, which: Connection, failure: Any = None) -> None:
    async with hub.db.project(hub.project.id) as tx:
        await connections.set_state(tx, which.id, "needs_reauth", failure or SecretExpired())


async def heal(hub: Hub, which: Connection) -> None:
    async with hub.db.project(hub.project.id) as tx:
        await connections.set_state(tx, which.id, "connected")


async def time_passes(hub: Hub, seconds: float = 61.0) -> None:
    """As if all that is written had been written so long ago."""
    async with hub.db.project(hub.project.id) as tx:
        for table, columns in (("notices", ("at", "due_at", "told_at")), ("mails", ("at", "next_attempt_at"))):
            moved = ", ".join(f"{name} = {name} - make_interval(secs => %(s)s)" for name in columns)
            await tx.execute(f"UPDATE {table} SET {moved}", {"s": seconds})  # noqa: S608  (names from above)


async def outcomes(hub: Hub) -> list[str | None]:
    async with hub.db.project(hub.project.id) as tx:
        return [each.outcome for each in await notices.history(tx)]


async def outbox(hub: Hub) -> list[notices.Mail]:
    async with hub.db.project(hub.project.id) as tx:
        return await notices.mails(tx)


async def test_one_outage_of_fifty_connections_is_one_mail_that_leads_to_each(hub: Hub, post: Mailbox) -> None:
    await tell(hub)
    broken = [await connection(hub, f"customer {number:02}") for number in range(50)]
    for each in broken:
        await break_it(hub, each)
    letters = notifier(hub, post)
    assert await letters.work() == 0, "others of the same outage may still come"
    await time_passes(hub)
    assert await letters.work() == 1
    assert await letters.work() == 0
    (text,) = post.texts
    assert f"Subject: [{hub.project.name}] 50 connections need somebody" in text
    assert f"To: {ADDRESS}" in text
    for each in broken:
        assert f"https://hub.example/console/connections/{each.id}" in text
        assert f"{each.name}: The client secret has expired" in text
    assert "Create a new client secret in Entra" in text
    assert set(await outcomes(hub)) == {"mailed"}


async def test_the_same_trouble_is_told_again_after_an_hour_at_the_earliest(hub: Hub, post: Mailbox) -> None:
    await tell(hub, "connection_trouble")
    flapping = await connection(hub, "flapping")
    letters = notifier(hub, post)
    for _ in range(3):
        await break_it(hub, flapping)
        await time_passes(hub)
        await letters.work()
        await heal(hub, flapping)
    assert len(post.mails) == 1
    await time_passes(hub, 3_600)
    await break_it(hub, flapping)
    await time_passes(hub)
    await letters.work()
    assert len(post.mails) == 2


async def test_a_trouble_that_is_over_before_its_mail_leaves_is_not_mailed(hub: Hub, post: Mailbox) -> None:
    await tell(hub)
    short = await connection(hub, "short")
    await break_it(hub, short)
    await heal(hub, short)
    await time_passes(hub)
    assert await notifier(hub, post).work() == 0
    assert await outcomes(hub) == ["passed"]


async def test_who_was_told_of_a_trouble_is_told_of_its_end(hub: Hub, post: Mailbox) -> None:
    await tell(hub)
    one = await connection(hub, "one")
    letters = notifier(hub, post)
    await break_it(hub, one)
    await time_passes(hub)
    await letters.work()
    await heal(hub, one)
    await time_passes(hub, 1_000)
    await letters.work()
    assert [text.splitlines()[0] for text in post.texts] == [
        f"Subject: [{hub.project.name}] one needs somebody: The client secret has expired",
        f"Subject: [{hub.project.name}] one works again",
    ]


async def test_whoever_is_connecting_right_now_is_not_mailed(hub: Hub, post: Mailbox) -> None:
    await tell(hub)
    await break_it(hub, await connection(hub, "new", state="pending"))
    await time_passes(hub)
    assert await notifier(hub, post).work() == 0
    assert await outcomes(hub) == []


async def test_an_address_hears_of_the_kinds_that_it_wants(hub: Hub, post: Mailbox) -> None:
    await tell(hub, "secret_expiring", address="expiry@acme.example")
    await tell(hub, "connection_trouble", address="trouble@acme.example")
    await break_it(hub, await connection(hub, "one"))
    await time_passes(hub)
    assert await notifier(hub, post).work() == 1
    assert post.mails[0].rcpt_tos == ["trouble@acme.example"]


async def test_a_mail_never_holds_a_secret_or_the_vendors_raw_answer(hub: Hub, post: Mailbox) -> None:
    await tell(hub)
    vendor = VendorFault(status=401, code="AADSTS7000222", message="canary-in-message", raw="canary-in-raw")
    await break_it(hub, await connection(hub, "<script>alert(1)</script>"), SecretExpired(vendor=vendor))
    await time_passes(hub)
    await notifier(hub, post).work()
    (text,) = post.texts
    assert "canary" not in text
    assert "<strong>&lt;script&gt;alert(1)&lt;/script&gt;</strong>" in text, "a name is text in the HTML part"


async def test_a_mail_server_that_is_away_costs_patience_and_no_mail(hub: Hub) -> None:
    await tell(hub)
    await break_it(hub, await connection(hub, "one"))
    await time_passes(hub)
    nowhere = MailServer(host="127.0.0.1", port=1, tls="none", sender="isthmus@hub.example")
    away = Notifier(hub.db, SystemClock(), nowhere, None)
    assert await away.work() == 0
    (mail,) = await outbox(hub)
    assert (mail.attempts, mail.sent_at, mail.given_up_at) == (1, None, None)
    assert mail.failure is not None
    assert mail.next_attempt_at is not None
    async with mail_server() as box:
        assert await notifier(hub, box).work() == 0, "not at once again"
        await time_passes(hub)
        assert await notifier(hub, box, None).work() == 1
        assert "Open in the console" not in box.texts[0], "the console's address is not known here"
    (mail,) = await outbox(hub)
    assert mail.sent_at is not None
    assert mail.next_attempt_at is None


async def test_a_refused_address_is_given_up_and_keeps_no_other_waiting(hub: Hub, post: Mailbox) -> None:
    await tell(hub, address="gone@acme.example")
    await tell(hub, address="busy@acme.example")
    await tell(hub)
    post.refuse = {"gone@acme.example": "550 no such user", "busy@acme.example": "450 come back later"}
    await break_it(hub, await connection(hub, "one"))
    await time_passes(hub)
    assert await notifier(hub, post).work() == 1
    by_address = {mail.address: mail for mail in await outbox(hub)}
    assert by_address[ADDRESS].sent_at is not None
    assert by_address["gone@acme.example"].given_up_at is not None
    assert by_address["busy@acme.example"].next_attempt_at is not None


async def test_without_a_mail_server_the_notices_say_so(hub: Hub) -> None:
    await tell(hub)
    await break_it(hub, await connection(hub, "one"))
    await time_passes(hub)
    silent = notifier(hub, None)
    assert await silent.work() == 0
    assert await outcomes(hub) == ["no_mail"]
    with pytest.raises(ConfigurationFailure, match="No mail server is set"):
        await silent.send_trial(hub.project.id, ADDRESS)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1 with its key."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    import ipaddress

    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "mail.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


async def test_starttls_checks_the_server_and_signs_in(hub: Hub, certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    known = {"tls": "starttls", "user": "hub", "password": "post"}
    async with mail_server(context, ca_file=str(certificate), **known) as box:
        await notifier(hub, box).send_trial(hub.project.id, ADDRESS)
        assert box.users == ["hub"]
        assert f"Subject: [{hub.project.name}] Test of the notices" in box.texts[0]
        box.password = "another"
        with pytest.raises(DestinationFailure, match="does not accept user and password"):
            await notifier(hub, box).send_trial(hub.project.id, ADDRESS)
        assert box.server is not None
        with pytest.raises(NotAccepted, match="certificate"):
            async with postman(msgspec.structs.replace(box.server, ca_file=None), SystemClock()):
                pytest.fail("a server that nobody vouches for was believed")
    async with mail_server(tls="starttls") as plain:
        assert plain.server is not None
        with pytest.raises(NotAccepted, match="STARTTLS"):
            async with postman(plain.server, SystemClock()):
                pytest.fail("a mail went out without TLS")


async def test_addresses_are_checked_and_told_once(hub: Hub) -> None:
    for wrong in ("", "nobody", "a@b", "a b@acme.example", "a@acme.example\r\nBcc: x@evil.example", "<a@acme.example>"):
        with pytest.raises(InvalidInput):
            await tell(hub, address=wrong)
    with pytest.raises(InvalidInput, match="no kind of notice"):
        await tell(hub, "gossip")
    await tell(hub)
    with pytest.raises(Duplicate):
        await tell(hub)


def test_the_mail_server_is_set_by_the_environment(tmp_path: Path) -> None:
    home = {"ISTHMUS_HOME": str(tmp_path)}
    assert load_settings(home).mail is None
    found = load_settings(
        home | {"ISTHMUS_SMTP_HOST": "mail.example.com", "ISTHMUS_SMTP_USER": "hub", "ISTHMUS_SMTP_PASSWORD": "s3cret"}
    ).mail
    assert found is not None
    assert (found.port, found.tls, found.sender) == (587, "starttls", "isthmus@mail.example.com")
    assert "s3cret" not in repr(found)
    for name, value in {"TLS": "maybe", "PORT": "0"}.items():
        with pytest.raises(InvalidInput, match=f"ISTHMUS_SMTP_{name}"):
            load_settings(home | {"ISTHMUS_SMTP_HOST": "m", f"ISTHMUS_SMTP_{name}": value})


async def test_a_mail_whose_sender_dies_is_sent_by_somebody_else_and_sent_once(hub: Hub, post: Mailbox) -> None:
    async with hub.db.project(hub.project.id) as tx:
        mail = await notices.post(tx, address=ADDRESS, subject="one", plain="plain", html="<p>html</p>")
        claimed = await notices.claim(tx, mail.id, lease_s=60.0)
        assert claimed is not None
        assert await notices.claim(tx, mail.id, lease_s=60.0) is None, "one sender at a time"
    letters = notifier(hub, post)
    assert await letters.work() == 0, "its sender may still be at it"
    await time_passes(hub)
    assert await letters.work() == 1
    await time_passes(hub, 100_000)
    assert await letters.work() == 0
    assert len(post.mails) == 1


async def test_what_waits_for_people_elsewhere_is_mailed_too(hub: Hub, post: Mailbox) -> None:
    await tell(hub)
    async with hub.db.project(hub.project.id) as tx:
        for number in (1, 1, 2):
            await events.append(
                tx,
                type="destination.paused",
                subject={"destination_id": f"d{number}"},
                data={"name": f"hook {number}", "reason": "The receiver answered 410."},
            )
        await events.append(tx, type="run.failed", subject={"run_id": "r"}, data={})
    await time_passes(hub)
    assert await notifier(hub, post).work() == 1
    assert "2 destinations are paused" in post.texts[0]
    assert post.texts[0].count("hook 1") == 2, "told once, in the plain part and in the HTML part"
