"""Are the workers alive, are they ready? The judgement, from what they show of themselves and nothing else."""

from __future__ import annotations

from windlass.engine.processes import Process
from windlass.engine.slots import Slot

STALLED_AFTER = 30.0
"""Seconds without a turn of its event loop after which a worker process counts as dead."""
LATE_AFTER = 10.0
"""Seconds without a turn, or without the store's answer, after which a worker process does not count as ready: no less
than one lease, since one that holds all it can speaks to the store with each renewal only."""
STATES = ("starting", "working", "leaving", "suspects")


def stalled(slots: list[Slot], now: float, patience: float) -> list[str]:
    """Say of each process that should work, and whose loop has not turned for ``patience`` seconds, that it is so.

    Of those that start nothing is expected yet, and those that leave have a time limit or all the time that they want.
    One that runs suspects alone is not asked either: others must not be ended for what a suspect does.
    """
    found = []
    for process in _working(slots):
        silent = now - process.vitals().ticked_at
        if silent > patience:
            found.append(f"worker {process.pid}: its event loop has stood still for {silent:.0f} s")
    return found


def not_ready(slots: list[Slot], now: float) -> list[str]:
    """Say why these workers do not claim jobs as they should; nothing, if they do."""
    working = _working(slots)
    found = []
    if len(working) < len(slots):
        found.append(f"{len(working)} of {len(slots)} worker processes are ready")
    found += stalled(slots, now, LATE_AFTER)
    for process in working:
        vitals = process.vitals()
        patience = max(LATE_AFTER, vitals.lease)
        silent = now - max(vitals.answered_at, vitals.claimed_at)
        if vitals.stopping:
            found.append(f"worker {process.pid}: it is stopping")
        elif silent > patience:
            found.append(f"worker {process.pid}: the store has not answered for {silent:.0f} s")
        elif now - vitals.turned_at > patience:
            found.append(f"worker {process.pid}: it has not looked for jobs for {now - vitals.turned_at:.0f} s")
    return found


def describe(slots: list[Slot], now: float) -> list[dict[str, object]]:
    """All processes in numbers; ages in seconds."""
    return [{"pid": process.pid, "state": state, **_ages(process, now)} for state, process in states(slots)]


def states(slots: list[Slot]) -> list[tuple[str, Process]]:
    """All processes, each with its state: one of `STATES`."""
    return [
        (_state(slot, process), process)
        for slot in slots
        for process in (slot.process, slot.incoming, *slot.leaving)
        if process is not None
    ]


def _state(slot: Slot, process: Process) -> str:
    if process in slot.leaving:
        return "leaving"
    if process.ready_at is None:
        return "starting"
    return "suspects" if slot.alone else "working"


def _ages(process: Process, now: float) -> dict[str, object]:
    vitals = process.vitals()
    times = {
        "ready": process.ready_at,
        "loop_turned": vitals.ticked_at,
        "store_answered": max(vitals.answered_at, vitals.claimed_at),
        "last_claim": vitals.claimed_at,
    }
    ages = {name: round(now - at, 3) if at else None for name, at in times.items()}
    return {**ages, "held": vitals.held, "slots": vitals.slots}


def _working(slots: list[Slot]) -> list[Process]:
    return [slot.process for slot in slots if slot.process is not None and slot.process.ready_at is not None]
