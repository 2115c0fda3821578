"""Webhooks: one signed POST per batch."""

from __future__ import annotations

from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from typing import Final

from isthmus.delivery.batches import ENVELOPE_BYTES
from isthmus.delivery.contract import Delivery, Encoded, encode_change, encode_delivery, encode_event
from isthmus.delivery.drain import Outcome
from isthmus.delivery.payloads import Linker
from isthmus.delivery.ports import Destination, Sender, SigningSecrets
from isthmus.delivery.signing import signed_headers
from isthmus.delivery.target import check_target
from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import DestinationFailure, Failure, InvalidInput
from isthmus.kernel.limits import DELIVERY_BATCH_BYTES_MAX, DELIVERY_BATCH_RECORDS_MAX
from isthmus.kernel.messages import Repeat, Request, Response
from isthmus.store.events import Event
from isthmus.store.rows import Change
from isthmus.transport.redaction import redact_text

RECEIVER_TIMEOUT_S: Final = 15.0
"""What the Standard Webhooks scheme asks of receivers at most: answer first, work later."""

ANSWER_CHARACTERS_MAX: Final = 1_024
"""How much of a receiver's answer is kept."""

_PASSING_STATUSES: Final = frozenset({408, 425, 429})


class WebhookCarrier:
    """Posts batches. `public` serves production projects and opens sockets to public addresses only; `local` serves
    development projects. With a `linker` a record that is too large for the destination is replaced by a link.
    """

    records_max: int = DELIVERY_BATCH_RECORDS_MAX
    bytes_max: int = DELIVERY_BATCH_BYTES_MAX
    gives_up: bool = True
    mixed: bool = False

    def __init__(
        self,
        public: Sender,
        local: Sender,
        signing_secrets: SigningSecrets,
        clock: Clock,
        linker: Linker | None = None,
    ) -> None:
        self._public = public
        self._local = local
        self._signing_secrets = signing_secrets
        self._clock = clock
        self._linker = linker

    async def encoded(self, destination: Destination, found: Sequence[Change | Event]) -> list[Encoded]:
        """Events whole; changes whole too, unless the record alone is more than the destination takes."""
        room = (destination.bytes_max or self.bytes_max) - 2 * ENVELOPE_BYTES
        result: list[Encoded] = []
        for each in found:
            if isinstance(each, Event):
                result.append(encode_event(each))
            elif self._linker is not None and each.raw is not None and len(each.raw) > room:
                result.append(encode_change(each, await self._linker(destination, each)))
            else:
                result.append(encode_change(each))
        return result

    async def carry(self, destination: Destination, delivery: Delivery) -> Outcome:
        """Post once. Any 2xx is an acknowledgement; nothing else is."""
        try:
            check_target(destination.address, development=destination.development)
        except InvalidInput as refused:
            return Outcome(failure=DestinationFailure(refused.message, remedy=refused.remedy), gone=True)
        body = encode_delivery(delivery)
        signing_secrets = await self._signing_secrets(destination.id)
        headers = signed_headers(signing_secrets, delivery.id, self._clock.now(), body)
        request = Request(
            method="POST",
            url=destination.address,
            headers={"Content-Type": "application/json", **headers},
            body=body,
            repeat=Repeat.UNSENT_ONLY,
            timeout_s=RECEIVER_TIMEOUT_S,
            deadline_s=RECEIVER_TIMEOUT_S,
            purpose="webhook",
        )
        started_s = self._clock.monotonic_s()
        sender = self._local if destination.development else self._public
        try:
            response = await sender.send(request)
        except Failure as failure:
            return _unanswered(failure, self._clock.monotonic_s() - started_s)
        return self._judged(response, signing_secrets)

    def _judged(self, response: Response, signing_secrets: tuple[str, ...]) -> Outcome:
        status = response.status
        if response.ok:
            answer = kept_answer(response.body, signing_secrets)
            return Outcome(status=status, elapsed_s=response.elapsed_s, answer=answer)
        if 300 <= status < 400:
            message = f"The receiver answered {status}, a redirect, which is not followed."
            remedy = "Enter the final address of the receiver."
        elif status == 410:
            message = "The receiver answered 410: it wants no more deliveries."
            remedy = "Resume the destination once the receiver is back; nothing is lost meanwhile."
        else:
            message = f"The receiver answered {status}."
            remedy = None
        return Outcome(
            failure=DestinationFailure(message, remedy=remedy),
            permanent=is_permanent(status),
            gone=status == 410,
            retry_after_s=self._retry_after_s(response),
            status=status,
            elapsed_s=response.elapsed_s,
            error=kept_answer(response.body, signing_secrets),
        )

    def _retry_after_s(self, response: Response) -> float | None:
        text = response.headers.get("retry-after", "").strip()
        if text.isdecimal():
            return float(text[:9])
        try:
            return max(0.0, (parsedate_to_datetime(text) - self._clock.now()).total_seconds())
        except (ValueError, TypeError):  # absent, unreadable, or without a time zone
            return None


def is_permanent(status: int) -> bool:
    """True for an answer that repeating alone will not change: redirects and most of 4xx."""
    return 300 <= status < 500 and status not in _PASSING_STATUSES


def _unanswered(failure: Failure, elapsed_s: float) -> Outcome:
    return Outcome(failure=DestinationFailure(failure.message), elapsed_s=elapsed_s, error=failure.message)


def kept_answer(body: bytes, signing_secrets: tuple[str, ...]) -> str:
    """The first kilobyte of a receiver's answer as printable text, without anything secret that it may echo."""
    text = body[: 4 * ANSWER_CHARACTERS_MAX].decode("utf-8", "replace")
    for secret in signing_secrets:
        text = text.replace(secret, "[redacted]").replace(secret.removeprefix("whsec_"), "[redacted]")
    text = "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in redact_text(text))
    return text[:ANSWER_CHARACTERS_MAX]
