"""Carrying a plan out, one apply at a time over all processes, with an audit entry for every step."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from isthmus.configuration.ground import Ground
from isthmus.configuration.planning import Plan
from isthmus.configuration.steps import AUTHOR, Shown, Step, counted
from isthmus.kernel.failures import Conflict, InvalidInput
from isthmus.store.exclusive import exclusive

WAIT_S: Final = 60.0
"""How long an apply waits for another one of the same project."""

OnStep = Callable[[Step, Sequence[Shown]], Awaitable[None]]
"""Hears of every step that was carried out, and at once of what is shown only now."""


@dataclass(kw_only=True)
class Outcome:
    """What an apply did: steps carried out, what was made and is shown once, and what stays for want of leave."""

    done: list[Step] = field(default_factory=list)
    shown: list[Shown] = field(default_factory=list)
    kept: tuple[Step, ...] = ()


@asynccontextmanager
async def serialised(ground: Ground, *, wait_s: float = WAIT_S) -> AsyncIterator[None]:
    """Plan and apply inside: no other apply of this project begins meanwhile. Raises Conflict after `wait_s`."""
    async with exclusive(ground.db, f"configuration/{ground.project.id}", wait_s=wait_s) as ours:
        if not ours:
            raise Conflict(
                f"Another apply of project {ground.project.name} is under way and did not end within {wait_s:.0f} s.",
                remedy="Run it again when the other one has ended.",
            )
        yield


async def apply(
    ground: Ground, plan: Plan, *, destroy: bool = False, on_step: OnStep | None = None, outcome: Outcome | None = None
) -> Outcome:
    """Carry out what the plan allows; what was done so far stands in `outcome` when a step fails.

    Raises InvalidInput, before anything is changed, when a step loses something and there is no leave to.
    """
    refused = plan.refused(destroy=destroy)
    if refused:
        lost = "; ".join(f"{step.kind} {step.name}: {step.loses}" for step in refused[:5])
        raise InvalidInput(
            f"{counted(len(refused), 'change')} would lose something ({lost}). Nothing was changed.",
            remedy="Look at `isthmus plan`; if that is what you want, add --destroy.",
        )
    done = outcome or Outcome()
    done.kept = plan.kept(destroy=destroy)
    for step in plan.chosen(destroy=destroy):
        shown = await step.perform()
        done.shown += shown
        if not step.noted:
            async with ground.db.project(ground.project.id) as tx:
                await AUTHOR.note(tx, step.act, step.name, **_detail(step))
        done.done.append(step)
        if on_step is not None:
            await on_step(step, shown)
    return done


def _detail(step: Step) -> dict[str, str | None]:
    lost = {"lost": step.loses} if step.loses else {}
    return {each.name: each.after for each in step.differences} | lost
