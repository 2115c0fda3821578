"""How long the work at hand may wait for the house's own database.

Whoever asks over HTTP gets an answer within seconds, even if it is that there is none; work that nobody waits for has
the long patience of the database itself. Tasks inherit the hurry of whoever starts them, so that what has to be noted
whatever it costs (a vendor has been asked already) is begun `unhurried`.
"""

from __future__ import annotations

import math
from contextvars import ContextVar

from isthmus.kernel.within import Within

_WAIT_MAX_S: ContextVar[float] = ContextVar("isthmus_database_wait_max_s", default=math.inf)


def wait_max_s() -> float:
    """Seconds that the work at hand may wait for the database; infinite where nobody is in a hurry."""
    return _WAIT_MAX_S.get()


def hurried(seconds: float) -> Within[float]:
    """Inside, and in tasks that are started inside, the database is waited for no longer than this."""
    return Within(_WAIT_MAX_S, seconds)


def unhurried() -> Within[float]:
    """Inside, and in tasks that are started inside, the database's own patience holds again."""
    return hurried(math.inf)
