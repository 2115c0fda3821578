"""A person waits for an answer: the step under way on stderr, and an end that comes soon."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from isthmus.cli.output import err

CALL_MAX_S: Final = 20.0
"""For one question with its repetitions: long enough for a slow vendor, short enough for a wrong address."""


@contextmanager
def waiting(call_max_s: float = CALL_MAX_S) -> Iterator[None]:
    """Calls inside end after `call_max_s`. A terminal shows each; elsewhere only repetitions are worth a line."""
    from isthmus.client.watching import Watch, watched

    console = err()
    with console.status("Connecting …") as status:

        def tell(words: str, attempt: int) -> None:
            again = f" (again, attempt {attempt})" if attempt > 1 else ""
            status.update(f"{words}{again} …")
            if attempt > 1 and not console.is_terminal:
                console.print(f"{words}{again} …")

        with watched(Watch(deadline_max_s=call_max_s, tell=tell)):
            yield
