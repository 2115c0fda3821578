"""What a measurement gives: every single sample, its median, its target, and whether that is met."""

from __future__ import annotations

import statistics
from typing import Literal

import msgspec

Unit = Literal["x", "share", "s", "MiB", "us/record", "records/s", "operations/s", "ms", "changes/s"]


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of a bench.

    `samples` holds a value per round; ratios also carry the seconds on both sides (`seconds`, `bare_seconds`), so that
    anybody can compute them anew. `target` None means that the figure is only reported.
    """

    name: str
    unit: Unit
    samples: list[float]
    value: float
    target: float | None = None
    wanted: Literal["at least", "at most"] = "at least"
    seconds: list[float] = []
    bare_seconds: list[float] = []
    note: str = ""

    @property
    def met(self) -> bool | None:
        """True or False against the target; None without one."""
        if self.target is None:
            return None
        return self.value >= self.target if self.wanted == "at least" else self.value <= self.target

    @property
    def spread(self) -> tuple[float, float]:
        """The smallest and the largest sample."""
        return (min(self.samples), max(self.samples)) if self.samples else (self.value, self.value)


def ratio(
    name: str, bare_s: list[float], road_s: list[float], *, target: float | None = None, note: str = ""
) -> Measure:
    """How fast a road is beside the bare loop: the median of one over the median of the other.

    The spread comes from the rounds, in each of which both took turns.
    """
    return Measure(
        name=name,
        unit="x",
        samples=[bare / road for bare, road in zip(bare_s, road_s, strict=True)],
        value=statistics.median(bare_s) / statistics.median(road_s),
        target=target,
        seconds=road_s,
        bare_seconds=bare_s,
        note=note,
    )


def figure(
    name: str,
    unit: Unit,
    samples: list[float],
    *,
    target: float | None = None,
    wanted: Literal["at least", "at most"] = "at least",
    note: str = "",
) -> Measure:
    """A figure that stands by itself: the median of its samples."""
    value = statistics.median(samples)
    return Measure(name=name, unit=unit, samples=samples, value=value, target=target, wanted=wanted, note=note)
