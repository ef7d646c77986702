"""What jobs need of the worker that runs them, and what workers offer.

A *requirement signature* is text such as ``gpu=1,memory=4GiB,process,@ssd``: amounts of resources, which a worker
counts while the job runs; the word ``process``, for a child process; and labels, which a worker has or has not. It is
the same text for the same needs, since it names the lane in which the job waits. Empty: any worker will do.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from windlass.core.errors import InvalidOption

Amount: TypeAlias = int | float | str
"""How much of a resource: a number of up to three decimals, or text with a unit of bytes, such as ``"4GiB"``."""
Resources: TypeAlias = Mapping[str, Amount]
"""Amounts by name: ``{"gpu": 1, "memory": "4GiB"}``."""

PROCESS = "process"
"""What jobs of process tasks require, which is their lane: so a worker asks for as many as it has processes for, and
what waits behind them in the same queue, and needs no process, passes."""
MOST = 8
"""Resources, and labels, that one task may ask for."""
MOST_OFFERED = 64
"""The same of what one worker may offer."""
_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,31}", re.ASCII)
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/=-]{0,62}", re.ASCII)
_AMOUNT = re.compile(r"([0-9]{1,19}(?:\.[0-9]{1,9})?) ?(?:([KMGT])(i?)B)?", re.ASCII)
_UNITS = "KMGT"
_MILLI = 1000
_NANO = 10**9
_LARGEST = 2**60 * _MILLI


@dataclass(frozen=True, slots=True)
class Needs:
    """What one signature says."""

    amounts: tuple[tuple[str, int], ...] = ()
    """Resources, in thousandths, by name."""
    labels: frozenset[str] = frozenset()
    process: bool = False


@dataclass(frozen=True, slots=True)
class Offer:
    """What one worker has."""

    amounts: Mapping[str, int] = field(default_factory=dict)
    """Resources, in thousandths, by name."""
    labels: frozenset[str] = frozenset()

    @classmethod
    def of(cls, resources: Resources, labels: Iterable[str] = ()) -> Offer:
        """Check what a worker says that it offers. Raises `InvalidOption`."""
        return cls(_amounts(resources, least=0, most=MOST_OFFERED), _labels(labels, MOST_OFFERED))

    def covers(self, needs: Needs | None) -> bool:
        """Whether a job that needs this could run here, if nothing else did; ``None``: nobody knows what it needs."""
        return needs is not None and needs.labels <= self.labels and room(needs, self.amounts) != 0

    def __str__(self) -> str:
        return ",".join([*_said(self.amounts.items()), *_marked(self.labels)])


def signature(resources: Resources | None = None, labels: Iterable[str] | None = None, *, process: bool = False) -> str:
    """The requirement signature of a task. Raises `InvalidOption`."""
    amounts = _amounts(resources or {})
    return _join(Needs(tuple(amounts.items()), _labels(labels or ()), process))


def changed(old: str, resources: Resources | None, labels: Iterable[str] | None) -> str:
    """The signature with other resources or labels, where these are given. Raises `InvalidOption`."""
    needs = parse(old) or Needs()
    amounts = needs.amounts if resources is None else tuple(_amounts(resources).items())
    return _join(Needs(amounts, needs.labels if labels is None else _labels(labels), needs.process))


@functools.lru_cache(maxsize=1024)
def parse(signature: str) -> Needs | None:
    """Read a signature; ``None``: it says something that this version does not know, so that it cannot serve it."""
    amounts, labels, process = {}, set(), False
    for part in signature.split(",") if signature else ():
        name, equals, amount = part.partition("=")
        if part == PROCESS:
            process = True
        elif part.startswith("@"):
            labels.add(part[1:])
        elif equals and (found := _milli(amount)) is not None:
            amounts[name] = found
        else:
            return None
    return Needs(tuple(sorted(amounts.items())), frozenset(labels), process)


def room(needs: Needs, free: Mapping[str, int]) -> int | None:
    """How many jobs that need this have room in what is free; ``None``: as many as you like."""
    return min((free.get(name, 0) // amount for name, amount in needs.amounts), default=None)


def check_resources(resources: Resources) -> dict[str, Amount]:
    """Check the amounts that a job asks for. Raises `InvalidOption`."""
    _amounts(resources)
    return dict(resources)


def check_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """Check the labels that a job asks for. Raises `InvalidOption`."""
    return tuple(sorted(_labels(labels)))


def _join(needs: Needs) -> str:
    process = [PROCESS] if needs.process else []
    return ",".join([*_said(needs.amounts), *process, *_marked(needs.labels)])


def _said(amounts: Iterable[tuple[str, int]]) -> list[str]:
    return [f"{name}={_in_words(amount)}" for name, amount in sorted(amounts)]


def _marked(labels: Iterable[str]) -> list[str]:
    return [f"@{label}" for label in sorted(labels)]


def _in_words(milli: int) -> str:
    """An amount as people write it, without loss."""
    whole, rest = divmod(milli, _MILLI)
    if rest:
        return f"{whole}.{rest:03d}".rstrip("0")
    for power in range(len(_UNITS), 1, -1):
        if whole >= 1024**power and whole % 1024**power == 0:
            return f"{whole // 1024**power}{_UNITS[power - 1]}iB"
    return str(whole)


def _amounts(resources: object, *, least: int = 1, most: int = MOST) -> dict[str, int]:
    if not isinstance(resources, Mapping):
        raise InvalidOption(
            f'resources={ascii(resources)[:60]}: expected a mapping such as {{"gpu": 1, "memory": "4GiB"}}'
        )
    if len(resources) > most:
        raise InvalidOption(f"resources: {len(resources)} are named; at most {most} can be")
    checked = {_name(name): amount for name, amount in resources.items()}
    return {name: _amount(name, amount, least) for name, amount in sorted(checked.items())}


def _name(name: object) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name == PROCESS:
        hint = "; executor='process' asks for a process" if name == PROCESS else ""
        raise InvalidOption(
            f"resources: name {ascii(name)[:60]}: expected up to 32 lower-case letters, digits and _ . -, "
            f"starting with a letter{hint}"
        )
    return name


def _amount(name: str, amount: object, least: int) -> int:
    known = isinstance(amount, int | float | str) and not isinstance(amount, bool)
    milli = _milli(str(amount)) if known else None
    if milli is None or not least <= milli <= _LARGEST:
        bound = ", at least 0.001," if least else ""
        raise InvalidOption(
            f"resources: {name}={ascii(amount)[:60]}: expected a number of at most three decimals{bound} or an amount "
            'of bytes such as "4GiB"'
        )
    return milli


def _milli(text: str) -> int | None:
    found = _AMOUNT.fullmatch(text.strip())
    if found is None:
        return None
    whole, _, fraction = found[1].partition(".")
    nano = int(whole) * _NANO + int(fraction.ljust(9, "0"))
    if found[2]:
        unit: int = (1024 if found[3] else 1000) ** (_UNITS.index(found[2]) + 1)
        return nano * _MILLI * unit // _NANO
    milli, rest = divmod(nano * _MILLI, _NANO)
    return None if rest else milli


def _labels(labels: object, most: int = MOST) -> frozenset[str]:
    if isinstance(labels, str) or not isinstance(labels, Iterable):
        raise InvalidOption(f'labels={ascii(labels)[:60]}: expected a list of words, such as ["ssd", "zone=eu"]')
    found = frozenset(labels)
    for label in found:
        if not isinstance(label, str) or not _LABEL.fullmatch(label):
            raise InvalidOption(
                f"labels: {ascii(label)[:60]}: expected up to 63 letters, digits and _ . : / = -, "
                "starting with a letter or digit"
            )
    if len(found) > most:
        raise InvalidOption(f"labels: {len(found)} are given; at most {most} can be")
    return found
