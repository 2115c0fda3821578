"""Progress on stderr: bars with totals on a terminal, a line now and then elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Task as BarTask
from rich.text import Text

from isthmus.cli.output import err

Advance = Callable[[int], None]


class _Rate(TransferSpeedColumn):
    """Records a second instead of bytes."""

    def render(self, task: BarTask) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed else "", style="dim")


def bars() -> Progress:
    """Bars with done, total, rate and time left. Nothing is drawn where nobody looks."""
    console = err()
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(compact=True),
        console=console,
        disable=not console.is_terminal,
        transient=False,
    )


@contextmanager
def counting(description: str, total: int | None) -> Iterator[Advance]:
    """One bar."""
    with bars() as progress:
        task: TaskID = progress.add_task(description, total=total)
        yield lambda records: progress.advance(task, records)
