"""How patient writing is. Every wait and count has its limit here."""

from __future__ import annotations

from typing import Final

import msgspec

BATCH_ROWS_MAX: Final = 1_000
"""Rows of one call; the vendor's batches of 100 are made of them."""

KEY_CHARACTERS_MAX: Final = 255
"""Of an idempotency key, as everybody has it."""


class WriterSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Durations in seconds.

    operation_s_max: after so long a request that timed out can no longer take effect; None is the provider's own.
    deadline_s, batch_deadline_s: one call with its repetitions. grace_s: between noting *sent* and the socket.
    lock_wait_s: how long a submit waits for its turn at a record. attempts_max: sendings after which one that never
    shows is given up. look_first_s, look_max_s: pauses between looks for an uncertain write. give_up_s: age at which a
    write that cannot be sent has failed, and for one that cannot be looked for a person is asked. background_max:
    writes under way in one process for which nobody waits; more are left to whoever reconciles.
    """

    operation_s_max: float | None = None
    deadline_s: float = 180.0
    batch_deadline_s: float = 600.0
    grace_s: float = 30.0
    lock_wait_s: float = 30.0
    attempts_max: int = 8
    look_first_s: float = 2.0
    look_max_s: float = 60.0
    give_up_s: float = 24 * 3_600.0
    background_max: int = 256

    def lease_s(self, *, batch: bool) -> float:
        """How long a sender holds an operation: as long as it may still touch the socket."""
        return (self.batch_deadline_s if batch else self.deadline_s) + self.grace_s

    def pause_s(self, looks: int) -> float:
        """The pause before the next look."""
        return min(self.look_max_s, self.look_first_s * 2.0 ** min(looks, 16))
