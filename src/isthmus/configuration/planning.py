"""The way from what is there to what the file asks for, as steps in the order in which they are carried out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from isthmus.configuration.approvals import plan_approvals
from isthmus.configuration.destinations import plan_destinations
from isthmus.configuration.ground import Ground
from isthmus.configuration.integrations import plan_integrations
from isthmus.configuration.loading import Loaded
from isthmus.configuration.project import plan_project
from isthmus.configuration.steps import Sign, Step
from isthmus.configuration.syncs import plan_syncs

STEPS_MAX = 5_000


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Steps: what is added and changed first, in the file's order, removals last.

    `remarks` tell of what could not be seen, and of what is allowed and yet leads nowhere.
    """

    steps: tuple[Step, ...]
    remarks: tuple[str, ...] = ()

    def chosen(self, *, destroy: bool) -> tuple[Step, ...]:
        """What is carried out: without leave, things that the file does not name stay."""
        return tuple(step for step in self.steps if destroy or not step.unnamed)

    def kept(self, *, destroy: bool) -> tuple[Step, ...]:
        """What would be removed with leave."""
        return () if destroy else tuple(step for step in self.steps if step.unnamed)

    def refused(self, *, destroy: bool) -> tuple[Step, ...]:
        """Steps that the file asks for and that lose something, without leave."""
        return () if destroy else tuple(step for step in self.steps if step.destructive and not step.unnamed)

    def plain(self) -> dict[str, Any]:
        """For programs."""
        counts = {sign.name.lower(): sum(step.sign is sign for step in self.steps) for sign in Sign}
        return {
            **counts,
            "destructive": sum(step.destructive for step in self.steps),
            "remarks": list(self.remarks),
            "steps": [step.plain() for step in self.steps],
        }


async def plan(ground: Ground, loaded: Loaded) -> Plan:
    """Compare. Nothing is changed. Raises Mistaken for what the project or the vendor does not know."""
    steps: list[Step] = []
    remarks: list[str] = []
    steps += await plan_project(ground, loaded)
    steps += await plan_integrations(ground, loaded, remarks)
    steps += await plan_approvals(ground, loaded)
    steps += await plan_destinations(ground, loaded)
    steps += await plan_syncs(ground, loaded, remarks)
    return Plan(steps=tuple(sorted(steps, key=lambda step: step.sign is Sign.REMOVE)), remarks=tuple(remarks))
