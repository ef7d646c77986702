"""Tracing: which graphs a workflow function may build, and what is said of the others."""

import json
from typing import Any

import pytest

from windlass import App, InvalidArguments, InvalidName, InvalidOption, UsageError
from windlass.core.graph import EdgePolicy
from windlass.core.ids import Family, new_run_id
from windlass.core.options import decode_options
from windlass.core.steps import StepInfo, each
from windlass.workflows.compose import chain, chord, group
from windlass.workflows.plan import MOST_PARENTS, Plan
from windlass.workflows.running import FINISH_RUN
from windlass.workflows.step import Step

app = App("memory://tracing")


@app.task
async def number(n: int) -> int:
    return n


@app.task
async def add(a: int, b: int = 0) -> int:
    return a + b


@app.task
async def total(numbers: list[int]) -> int:
    return sum(numbers)


@app.task
async def deep(things: dict[str, list[int | None]], plain: str = "x") -> None: ...


def plan(function: Any, *args: Any) -> Plan:
    app._client.tasks.pop("it", None)
    return app.workflow(name="it")(function).plan(*args)


def infos(planned: Plan) -> list[StepInfo]:
    run = new_run_id()
    return [planned.info(draft, run) for draft in planned.order]


def parents(planned: Plan) -> dict[str, list[str]]:
    names = {n: draft.name for draft, n in planned.numbers.items()}
    return {names[one.number]: [names[n] for n in each(one.parents)] for one in infos(planned)}


# -------------------------------------------------------------------------------------------------------- graphs


def test_arguments_make_edges_wherever_they_are() -> None:
    def flow() -> Step[None]:
        one, two = number.step(1), number.step(2)
        return deep.step({"a": [one, 5], "b": [two, None]}, plain="y")  # type: ignore[return-value]

    made = plan(flow)
    assert parents(made) == {"number": [], "number-2": [], "deep": ["number", "number-2"]}
    draft = made.order[2]
    assert json.loads(draft.payload) == {"things": {"a": [None, 5], "b": [None, None]}, "plain": "y"}
    assert [path for path, _ in draft.takes] == [("things", "a", 0), ("things", "b", 0)]


def test_a_list_of_steps_is_one_input() -> None:
    made = plan(lambda: total.step([number.step(n) for n in range(1000)]))
    (one,) = infos(made)[-1].inputs
    assert (one.path, one.steps, one.kind) == (("numbers",), ((1, 1000),), "many")


def test_order_only_edges_by_option_and_by_method() -> None:
    def flow() -> None:
        first = number.step(1)
        second = number.options(after=[first]).step(2)
        number.step(3).after(first, [second])

    assert parents(plan(flow)) == {"number": [], "number-2": ["number"], "number-3": ["number", "number-2"]}


def test_a_step_may_be_made_before_what_it_waits_for() -> None:
    def flow() -> None:
        early = number.step(1)
        late = number.options(step_name="late").step(2)
        early.after(late)

    made = plan(flow)
    assert [draft.name for draft in made.order] == ["late", "number"]


def test_circles_are_refused_with_their_path() -> None:
    def flow() -> None:
        first = number.options(step_name="first").step(1)
        second = add.options(step_name="second").step(first)
        third = add.options(step_name="third").step(second)
        first.after(third)
        number.step(9)

    with pytest.raises(UsageError, match="'first' -> 'second' -> 'third' -> 'first'"):
        plan(flow)


def test_a_step_after_itself_is_a_circle() -> None:
    def flow() -> None:
        one = number.step(1)
        one.after(one)

    with pytest.raises(UsageError, match="'number' -> 'number'"):
        plan(flow)


def test_steps_of_another_run_are_unknown() -> None:
    kept: list[Step[int]] = []

    def flow() -> None:
        if kept:
            add.step(kept[0])
        kept.append(number.step(1))

    plan(flow)
    with pytest.raises(UsageError, match="step 'number' is unknown here"):
        plan(flow)
    with pytest.raises(UsageError, match="step 'number' is unknown here"):
        plan(lambda: number.step(1).after(kept[0]))
    with pytest.raises(UsageError, match="step 'number' is unknown here"):
        plan(lambda: number.options(when=kept[0]).step(1))
    with pytest.raises(UsageError, match="step 'number' is unknown here"):
        plan(lambda: kept[0])


def test_what_is_known_is_checked_while_tracing() -> None:
    with pytest.raises(InvalidArguments, match="argument `b`: expected `int`, got `str`"):
        plan(lambda: add.step(number.step(1), "two"))
    with pytest.raises(InvalidArguments, match="too many positional arguments"):
        plan(lambda: add.step(number.step(1), 2, 3))
    with pytest.raises(InvalidArguments, match="unexpected keyword argument"):
        plan(lambda: add.step(number.step(1), c=3))
    with pytest.raises(InvalidArguments, match="argument `n`"):
        plan(lambda: number.map([1, "two"]))
    with pytest.raises(InvalidArguments, match="unexpected keyword argument"):
        plan(lambda: add.map([1], b=number.step(1), c=2))


def test_steps_are_no_values_yet() -> None:
    for use in (bool, list, len, lambda step: step[0], lambda step: "a" if step.equals(1) else "b"):
        with pytest.raises(UsageError, match="while the workflow is traced"):
            plan(lambda use=use: use(number.step(1)))


def test_outside_of_a_workflow_there_are_no_steps() -> None:
    for use in (lambda: number.step(1), lambda: number.map([1]), lambda: add.starmap([[1, 2]])):
        with pytest.raises(UsageError, match="outside of a workflow"):
            use()
    flow = app.workflow(name="outside")(lambda: number.step(1))
    with pytest.raises(UsageError, match="outside of a workflow"):
        flow()


def test_options_of_steps_are_checked() -> None:
    for options, said in (
        ({"when": 3}, "when=3: expected a step"),
        ({"after": 3}, "after=3: expected a step"),
        ({"needs": "all"}, "needs='all': expected 'succeeded', 'done', 'failed'"),
        ({"step_name": ""}, "step_name=''"),
    ):
        with pytest.raises(InvalidOption, match=said):
            number.options(**options)  # type: ignore[arg-type]

    def both() -> None:
        one = number.step(1)
        number.options(when=one, unless=one)

    with pytest.raises(InvalidOption, match="give one of the two"):
        plan(both)
    with pytest.raises(InvalidOption, match="are for steps of workflows"):
        number.options(needs="done").bind(1)
    with pytest.raises(InvalidOption, match="connection= is not for steps"):
        plan(lambda: number.options(connection=object()).step(1))


def test_a_limit_key_has_to_be_known_when_the_step_is_stored() -> None:
    @app.task(name="limited", limit_by="customer")
    async def limited(customer: int) -> int:
        return customer

    made = plan(lambda: limited.step(7))
    assert made.order[0].limit_key == "customer:7"
    with pytest.raises(InvalidOption, match="limited by its argument `customer`"):
        plan(lambda: limited.step(number.step(1)))


def test_maps_know_which_parameters_their_items_fill() -> None:
    def flow() -> None:
        found = number.step(1)
        add.map([1, 2], [3, 4])
        add.map(found, b=found)
        add.starmap([[1, 2], {"a": 1}])

    made = plan(flow)
    maps = [draft.items for draft in made.order[1:]]
    assert [items and items.names for items in maps] == [("a", "b"), ("a",), ("a", "b")]
    assert [items and [path for path, _ in items.takes] for items in maps] == [[], [("b",)], []]


def test_maps_refuse_what_cannot_be_mapped() -> None:
    for make in (lambda: add.map(*()), lambda: add.map(3), lambda: add.map("text"), lambda: add.starmap([3])):
        with pytest.raises(InvalidOption, match="map of task"):
            plan(make)
    with pytest.raises(InvalidOption, match="expected lists of at most 2 arguments"):
        plan(lambda: add.starmap([[1, 2, 3]]))

    @app.task(name="several")
    async def several(*numbers: int) -> None: ...

    with pytest.raises(InvalidOption, match=r"items cannot go to `\*numbers`"):
        plan(lambda: several.map([1]))


def test_a_workflow_inside_another_is_a_part_of_it() -> None:
    inner = app.workflow(name="inner")(lambda n: add.step(number.step(n), 1))
    made = plan(lambda: add.step(inner(1), inner(2)))
    assert parents(made) == {
        "number": [],
        "add": ["number"],
        "number-2": [],
        "add-2": ["number-2"],
        "add-3": ["add", "add-2"],
    }


def test_chain_group_and_chord() -> None:
    def flow() -> Step[int]:
        last = chain(number.step(1), add, lambda step: add.step(step, 2))
        return chord(group(last, [number.step(5)]), total)

    made = plan(flow)
    assert parents(made) == {
        "number": [],
        "add": ["number"],
        "add-2": ["add"],
        "number-2": [],
        "total": ["add-2", "number-2"],
    }
    with pytest.raises(InvalidOption, match="expected a step first"):
        plan(lambda: chain(number, add))  # type: ignore[arg-type]
    with pytest.raises(InvalidOption, match="which is no step"):
        plan(lambda: chain(number.step(1), lambda _: 3))


# ---------------------------------------------------------------------------------------------------------- jobs


def jobs(made: Plan) -> Any:
    run = new_run_id()
    return run, Family(run), list(made.jobs(run, app._client.builtins[FINISH_RUN]))


def test_nothing_begins_before_the_run_is_stored() -> None:
    def flow() -> None:
        one = number.step(1)
        add.step(one)
        add.options(needs="done").step(one)
        add.options(needs="failed").step(one)

    run, family, planned = jobs(plan(flow))
    stored = [planned_job.job for planned_job in planned]
    assert [job.id for job in stored] == [family.id(n) for n in range(5)]
    on_run = [any(parent.id == run for parent in job.parents) for job in stored]
    assert on_run == [True, True, False, True, True]  # the second step waits for the first, which waits for the run
    policies = [{parent.policy for parent in job.parents if parent.id != run} for job in stored]
    assert policies == [set(), set(), {EdgePolicy.SUCCEEDED}, {EdgePolicy.DONE}, {EdgePolicy.FAILED}]


def test_the_end_waits_for_all_on_which_nothing_else_depends() -> None:
    def flow() -> Step[int]:
        one = number.step(1)
        add.step(one)
        return add.step(one)

    _, family, planned = jobs(plan(flow))
    edges = [(edge.parent, edge.dependant, edge.policy) for one in planned for edge in one.edges]
    assert edges == [(family.id(n), family.id(0), EdgePolicy.DONE) for n in (2, 3)]
    end = decode_options(planned[0].job.options).step
    assert end is not None
    assert end.parents == ((2, 3),)


def test_many_parents_come_later() -> None:
    count = MOST_PARENTS + 50
    run, _, planned = jobs(plan(lambda: total.step([number.step(n) for n in range(count)])))
    last = planned[-1]
    assert last.job.parents[0].id == run
    assert len(last.job.parents) == MOST_PARENTS + 1
    assert len([edge for edge in last.edges if edge.dependant == last.job.id]) == 50


# ----------------------------------------------------------------------------------------------------- declaring


def test_workflows_are_plain_functions_with_a_name_of_their_own() -> None:
    async def coroutine() -> None: ...

    with pytest.raises(InvalidOption, match="expected a plain `def`"):
        app.workflow(coroutine)

    @app.workflow(name="named")
    def flow(day: str) -> Step[int]:
        return number.step(1)

    assert app.workflows["named"] is flow
    with pytest.raises(InvalidName, match="taken"):
        app.workflow(name="named")(lambda: None)
    with pytest.raises(InvalidArguments, match="argument `day`"):
        flow.plan(3)
    with pytest.raises(InvalidArguments, match="missing"):
        flow.plan()  # type: ignore[call-arg]
    assert "named" not in app.tasks


def test_a_step_is_no_value_to_compare_or_to_write() -> None:
    def compared() -> Any:
        one = number.step(1)
        return number.step(2 if one == 2 else 3)

    def written() -> Any:
        return number.step(f"{number.step(1)}")

    for flow, said in ((compared, "was compared with a value"), (written, "was put into a text")):
        with pytest.raises(UsageError, match=said):
            plan(flow)

    def same() -> Any:
        one, two = number.step(1), number.step(2)
        assert one == one  # noqa: PLR0124 - that is the question
        assert one != two
        assert {one: 1, two: 2}[two] == 2
        assert two in [one, two]
        return two

    plan(same)


def test_a_chord_is_of_a_list() -> None:
    def flow() -> Any:
        return chord(number.map([1, 2]), total)  # type: ignore[arg-type]

    with pytest.raises(UsageError, match="'number' is one step, and no list of steps"):
        plan(flow)
