"""What is measured: a group has a probe of ours, the floors beside it, and the metrics that all of them give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Probe:
    """A function ``(folder, **arguments) -> {metric: number}``, run in a process of its own (`bench.sample`)."""

    function: str
    """``package.module:function``."""
    arguments: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Aim:
    """What a metric should reach."""

    share: float | None = None
    """At least this share of the reference floor."""
    of_floor: float | None = None
    """At least this share of the floor, which keeps the same promises."""
    at_most: float | None = None
    """At most this value."""

    def met(self, value: float, floor: float | None, reference: float | None) -> bool | None:
        """Whether it is reached; ``None`` where there is nothing to compare with."""
        if self.at_most is not None:
            return value <= self.at_most
        share, base = (self.share, reference) if self.of_floor is None else (self.of_floor, floor)
        return None if share is None or base is None else value >= share * base

    def __str__(self) -> str:
        if self.at_most is not None:
            return f"≤ {self.at_most:g}"
        return f"≥ {self.share:g} of the reference" if self.of_floor is None else f"≥ {self.of_floor:g} of the floor"


@dataclass(frozen=True)
class Metric:
    """One number of a group."""

    key: str
    """What the probes call it."""
    name: str
    """What the report calls it."""
    unit: str
    aim: Aim | None = None


@dataclass(frozen=True)
class Group:
    """Figures that come from the same run."""

    name: str
    store: str
    metrics: tuple[Metric, ...]
    ours: Probe
    floor: Probe | None = None
    """The same promises, by hand."""
    reference: Probe | None = None
    """The least that deserves the name."""
    scale: Mapping[str, object] = field(default_factory=dict)
    """Arguments that all probes share."""
    quick: Mapping[str, object] = field(default_factory=dict)
    """What ``--quick`` puts in their place."""
    rounds: int | None = None
    """At most so many rounds, for what takes long."""

    def probes(self) -> dict[str, Probe]:
        """The probes by kind, in the order in which they alternate."""
        found = {"reference": self.reference, "floor": self.floor, "ours": self.ours}
        return {kind: probe for kind, probe in found.items() if probe is not None}
