"""Every action of Business Central through the product: answered, its answer lost, and lost before it arrived."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec
import pytest
from tests.actions_writing.conftest import Pen, confirmed

from isthmus.providers.business_central.lookup_actions import SIGNS
from isthmus.store.operations import Operation, OperationState

Action = tuple[str, str]
Made = Callable[[Pen, str], Awaitable[str]]
"""Makes what an action is done to, known by a name; its id."""


class Play(msgspec.Struct, frozen=True):
    """How an action is played: what it is done to, and how often that has taken effect."""

    made: Made
    effects: Callable[[Pen, str, str], int]


# -- what actions are done to --------------------------------------------------------------------------------------


def document(object: str, *, after: str | None = None) -> Made:
    """A document with one line, and what has to be done to it first."""
    sales = object.startswith("sales")
    singular = object.removesuffix("s")

    async def made(pen: Pen, name: str) -> str:
        item = pen.rows("items")[0]
        line = {"lineType": "Item", "lineObjectNumber": item["number"], "quantity": 2}
        head: dict[str, Any] = {"externalDocumentNumber": name, "customerNumber": "10000"}
        if not sales:
            head = {"vendorNumber": "10000"} | ({NUMBERS[object]: name} if object in NUMBERS else {})
        body = head | {f"{singular}Lines": [line]}
        record = confirmed(await pen.submit("create", object, body)).remote_id
        if after is not None:
            confirmed(await pen.submit("action", object, record_id=record, action=after))
        return str(record)

    return made


NUMBERS: Final = {"purchaseInvoices": "vendorInvoiceNumber", "purchaseCreditMemos": "vendorCreditMemoNumber"}


async def journal(pen: Pen, name: str) -> str:
    """A journal with one balanced line."""
    (bank,) = pen.rows("accounts", number="10100")
    body = {"code": name, "balancingAccountId": bank["id"]}
    made = str(confirmed(await pen.submit("create", "journals", body)).remote_id)
    line = {"journalId": made, "documentNumber": name, "accountNumber": "60100", "amount": 10.0}
    confirmed(await pen.submit("create", "journalLines", line))
    return made


async def job(pen: Pen, name: str) -> str:
    """A job that stands still."""
    return pen.house.insert("jobQueueEntries", records=[{"description": name, "status": "Error"}])[0]


# -- what they bring about -----------------------------------------------------------------------------------------


def status_is(object: str, wanted: str) -> Callable[[Pen, str, str], int]:
    """The record, under the id that it had, has a status."""
    return lambda pen, made, name: len([row for row in pen.rows(object, id=made) if row["status"] == wanted])


def there_is(object: str, field: str, *, of_name: bool = False) -> Callable[[Pen, str, str], int]:
    """A record appears that names the document, or the name that it was given."""
    return lambda pen, made, name: len(pen.rows(object, **{field: name if of_name else made}))


def nothing_left(pen: Pen, made: str, name: str) -> int:
    """The journal's lines are gone, and their one entry is in the ledger."""
    if pen.rows("journalLines", journalId=made):
        return 0
    return len([row for row in pen.rows("generalLedgerEntries", documentNumber=name) if row["creditAmount"]])


POSTED, CANCELED = "Open", "Canceled"
PLAYS: Final[Mapping[Action, Play]] = {
    ("salesInvoices", "post"): Play(document("salesInvoices"), status_is("salesInvoices", POSTED)),
    ("salesInvoices", "postAndSend"): Play(document("salesInvoices"), status_is("salesInvoices", POSTED)),
    ("salesInvoices", "cancel"): Play(
        document("salesInvoices", after="post"), there_is("salesCreditMemos", "invoiceId")
    ),
    ("salesInvoices", "cancelAndSend"): Play(
        document("salesInvoices", after="post"), there_is("salesCreditMemos", "invoiceId")
    ),
    ("salesInvoices", "makeCorrectiveCreditMemo"): Play(
        document("salesInvoices", after="post"), there_is("salesCreditMemos", "invoiceId")
    ),
    ("salesCreditMemos", "post"): Play(document("salesCreditMemos"), status_is("salesCreditMemos", POSTED)),
    ("salesCreditMemos", "postAndSend"): Play(document("salesCreditMemos"), status_is("salesCreditMemos", POSTED)),
    ("salesCreditMemos", "cancel"): Play(
        document("salesCreditMemos", after="post"), status_is("salesCreditMemos", CANCELED)
    ),
    ("salesCreditMemos", "cancelAndSend"): Play(
        document("salesCreditMemos", after="post"), status_is("salesCreditMemos", CANCELED)
    ),
    ("purchaseInvoices", "post"): Play(document("purchaseInvoices"), status_is("purchaseInvoices", POSTED)),
    ("purchaseCreditMemos", "post"): Play(document("purchaseCreditMemos"), status_is("purchaseCreditMemos", POSTED)),
    ("purchaseCreditMemos", "cancel"): Play(
        document("purchaseCreditMemos", after="post"), status_is("purchaseCreditMemos", CANCELED)
    ),
    ("salesQuotes", "makeInvoice"): Play(
        document("salesQuotes"), there_is("salesInvoices", "externalDocumentNumber", of_name=True)
    ),
    ("salesQuotes", "makeOrder"): Play(
        document("salesQuotes"), there_is("salesOrders", "externalDocumentNumber", of_name=True)
    ),
    ("salesQuotes", "send"): Play(document("salesQuotes"), status_is("salesQuotes", "Sent")),
    ("salesOrders", "shipAndInvoice"): Play(document("salesOrders"), there_is("salesInvoices", "orderId")),
    ("purchaseOrders", "receiveAndInvoice"): Play(document("purchaseOrders"), there_is("purchaseInvoices", "orderId")),
    ("journals", "post"): Play(journal, nothing_left),
    ("jobQueueEntries", "restart"): Play(job, status_is("jobQueueEntries", "Ready")),
}


def test_every_action_that_leaves_a_sign_is_played() -> None:
    assert PLAYS.keys() == SIGNS.keys()


async def test_every_action_that_the_vendor_offers_has_a_sign_or_is_known_to_leave_none(pen: Pen) -> None:
    routes = pen.house.service.catalogue.routes["v2.0"]
    offered = {(name, action) for name, entity in routes.items() for action in entity.actions}
    assert offered - SIGNS.keys() == {("salesInvoices", "send"), ("salesCreditMemos", "send")}


@pytest.fixture
def posting(pen: Pen) -> Pen:
    """Customers have addresses to which documents can be sent."""
    customers = [row["id"] for row in pen.rows("customers", number="10000")]
    pen.house.change("customers", ids=customers, values={"email": "orders@adatum.example"})
    return pen


async def act(pen: Pen, object: str, record_id: str, action: str) -> Operation:
    return await pen.submit("action", object, record_id=record_id, action=action)


@pytest.mark.conformance("BC-67", "BC-73")
@pytest.mark.parametrize(("object", "action"), PLAYS)
async def test_an_action_takes_place_once_however_its_answer_is_lost(posting: Pen, object: str, action: str) -> None:
    play = PLAYS[object, action]

    async def begun(name: str) -> str:
        made = await play.made(posting, name)
        assert play.effects(posting, made, name) == 0
        return made

    answered = await begun("ANSWERED")
    done = confirmed(await act(posting, object, answered, action))
    assert (done.attempts, play.effects(posting, answered, "ANSWERED")) == (1, 1)

    unheard = await begun("UNHEARD")
    posting.house.sandbox.fault("lose_answer", method="POST", path=f"Microsoft.NAV.{action}$")
    lost = await act(posting, object, unheard, action)
    assert lost.state is OperationState.UNCERTAIN
    found = confirmed(await posting.settled(lost))
    assert (found.attempts, play.effects(posting, unheard, "UNHEARD")) == (1, 1)

    unsent = await begun("UNSENT")
    posting.house.sandbox.fault("drop", method="POST", path=f"Microsoft.NAV.{action}$")
    lost = await act(posting, object, unsent, action)
    assert lost.state is OperationState.UNCERTAIN
    again = confirmed(await posting.settled(lost))
    assert (again.attempts, play.effects(posting, unsent, "UNSENT")) == (2, 1)
