"""Steps, as a workflow function sees them: results that will be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, Literal, NoReturn, Self, TypeAlias, TypeVar

import msgspec

from windlass.core.errors import InvalidOption, UsageError
from windlass.core.foreign import enc_hook
from windlass.core.graph import EdgePolicy
from windlass.core.steps import Path

if TYPE_CHECKING:
    from windlass.call import Recipe

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

Needs: TypeAlias = Literal["succeeded", "done", "failed"]

_NEEDS: dict[str, EdgePolicy] = {
    "succeeded": EdgePolicy.SUCCEEDED,
    "done": EdgePolicy.DONE,
    "failed": EdgePolicy.FAILED,
}


Taken: TypeAlias = "tuple[Path, Draft | tuple[Draft, ...]]"
"""A place in arguments, and whose result goes there; of several steps, the list of their results."""
Takes: TypeAlias = "Sequence[Taken]"


_NONE: Mapping[Draft, None] = MappingProxyType({})


@dataclass(slots=True, eq=False, kw_only=True)
class Draft:
    """A step that is being traced: all that its job will need."""

    trace: object
    """The trace that it belongs to, and no other."""
    name: str
    recipe: Recipe
    payload: bytes
    """Arguments, with ``null`` where results go."""
    takes: Takes
    limit_key: str | None = None
    after: tuple[Draft, ...] = ()
    when: When | None = None
    needs: EdgePolicy = EdgePolicy.SUCCEEDED
    items: Items | None = None
    """Set for a map."""

    @property
    def parents(self) -> Mapping[Draft, None]:
        """The steps that it depends on, each once, in the order in which it names them."""
        if not self.takes and not self.after and self.when is None:
            return _NONE
        found: dict[Draft, None] = {}
        for _, source in self.takes:
            for one in source if isinstance(source, tuple) else (source,):
                found[one] = None
        if self.when is not None:
            found[self.when.draft] = None
        found.update(dict.fromkeys(self.after))
        return found


@dataclass(slots=True, frozen=True)
class Items:
    """How a map makes its items."""

    recipe: Recipe
    """Of the task that is mapped."""
    names: tuple[str, ...]
    """The parameters that each item fills."""
    constants: bytes
    """The arguments that all items share, with ``null`` where results go."""
    takes: Takes
    """As `Draft.takes`, of each item."""
    star: bool = False
    """An item is a list of arguments, or an object of them."""


@dataclass(slots=True, frozen=True)
class When:
    """A condition on the result of a step: see `Step.equals`, and ``when=`` and ``unless=`` of `Task.options`."""

    draft: Draft
    equals: str | None = None
    """JSON that the result must equal."""
    negated: bool = False

    def __bool__(self) -> NoReturn:
        raise UsageError(
            f"a condition on step {self.draft.name!r} was asked whether it holds while the workflow is traced, when no "
            "step has run; pass it on: task.options(when=...)"
        )


class Step(Generic[R_co]):
    """A step of the workflow that is being traced: the result that it will have.

    Pass it on as an argument of other steps, also inside lists, tuples and dicts. It has no value yet.
    """

    __slots__ = ("draft",)

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        """For the engine."""

    @property
    def name(self) -> str:
        """Its name within the run: of the task's function, with a number from the second such step on."""
        return self.draft.name

    def __repr__(self) -> str:
        return f"<Step {self.name}>"

    def after(self, *others: Step[Any] | Iterable[Step[Any]]) -> Self:
        """Run this step after others, whose results it does not take. Returns the step itself."""
        self.draft.after += drafts("after", others, self.draft.trace)
        return self

    def equals(self, value: object) -> When:
        """A condition, for ``when=`` or ``unless=``: that the result is this value.

        Raises `InvalidOption` if JSON cannot say the value.
        """
        try:
            return When(self.draft, msgspec.json.encode(value, enc_hook=enc_hook).decode())
        except (TypeError, ValueError) as error:
            raise InvalidOption(f"step {self.name!r}.equals({value!r}): {error}") from None

    def _has_no_value(self, what: str, instead: str) -> NoReturn:
        raise UsageError(f"step {self.name!r} {what} while the workflow is traced, when no step has run; {instead}")

    def __bool__(self) -> NoReturn:  # noqa: PLE0304 - it raises
        self._has_no_value("was asked whether it is true", "for a branch write task.options(when=step).step(...)")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Step):
            self._has_no_value("was compared with a value", "for a branch write task.options(when=step.equals(value))")
        return self is other

    __hash__ = object.__hash__

    def __format__(self, spec: str) -> NoReturn:
        self._has_no_value("was put into a text", "pass it to a task that makes the text")

    def __iter__(self) -> Iterator[NoReturn]:
        self._has_no_value("was iterated over", "to run a task for each of its items write task.map(step)")

    def __len__(self) -> NoReturn:  # noqa: PLE0303 - it raises
        self._has_no_value("was asked for its length", "pass it to a task that counts")

    def __getitem__(self, key: object) -> NoReturn:
        self._has_no_value("was asked for a part of its result", "pass it to a task that takes the part")

    def __await__(self) -> NoReturn:
        self._has_no_value("was awaited", "pass it on to other steps, and await run.result()")


class MappedStep(Step[list[R]], Generic[R]):
    """A step for each item of something: its result is the list of theirs, in the order of the items."""

    __slots__ = ()


@dataclass(slots=True, frozen=True, kw_only=True)
class StepChoices:
    """Options that only a step has, checked; ``None``: not said."""

    after: tuple[Step[Any], ...] = ()
    when: When | None = None
    needs: EdgePolicy | None = None
    name: str | None = None

    def merged(self, newer: StepChoices) -> StepChoices:
        """What both say; where they differ, what ``newer`` says. What comes before a step adds up."""
        return StepChoices(
            after=self.after + newer.after,
            when=self.when if newer.when is None else newer.when,
            needs=self.needs if newer.needs is None else newer.needs,
            name=self.name if newer.name is None else newer.name,
        )


def step_choices(
    after: Step[Any] | Iterable[Step[Any]] | None,
    when: Step[Any] | When | None,
    unless: Step[Any] | When | None,
    needs: Needs | None,
    step_name: str | None,
) -> StepChoices | None:
    """Check options of steps as people give them; `windlass.Task.options` says what each means. ``None``: none was
    given. Raises `InvalidOption`."""
    if after is None and when is None and unless is None and needs is None and step_name is None:
        return None
    if when is not None and unless is not None:
        raise InvalidOption("when and unless: give one of the two")
    if needs is not None and needs not in _NEEDS:
        raise InvalidOption(f"needs={needs!r}: expected {', '.join(map(repr, _NEEDS))}")
    if step_name is not None and (
        not isinstance(step_name, str) or not 0 < len(step_name) <= 200 or not step_name.isprintable()
    ):
        raise InvalidOption(f"step_name={step_name!r}: expected 1 to 200 printable characters")
    return StepChoices(
        after=_listed("after", after),
        when=_condition("when", when) if unless is None else _condition("unless", unless),
        needs=None if needs is None else _NEEDS[needs],
        name=step_name,
    )


def _listed(what: str, given: object) -> tuple[Step[Any], ...]:
    if given is None:
        return ()
    if isinstance(given, Step):
        return (given,)
    if isinstance(given, Iterable) and not isinstance(given, (str, bytes)):
        return tuple(step for one in given for step in _listed(what, one))
    raise InvalidOption(f"{what}={given!r}: expected a step, or a list of steps")


def _condition(what: str, given: object) -> When | None:
    if given is None:
        return None
    if isinstance(given, Step):
        given = When(given.draft)
    if not isinstance(given, When):
        raise InvalidOption(f"{what}={given!r}: expected a step, or step.equals(value)")
    return When(given.draft, given.equals, negated=what == "unless")


def drafts(what: str, given: object, trace: object) -> tuple[Draft, ...]:
    """The drafts of steps, which must be of this trace. Raises `InvalidOption` and `UsageError`."""
    found = tuple(step.draft for step in _listed(what, given))
    for draft in found:
        check_known(draft, trace)
    return found


def check_known(draft: Draft, trace: object) -> None:
    """Raise `UsageError` for a step of another run."""
    if draft.trace is not trace:
        raise UsageError(
            f"step {draft.name!r} is unknown here: it was made while another workflow was traced; a step belongs to "
            "the run in which it was made"
        )
