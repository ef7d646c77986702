"""Random graphs end as a plain evaluation says, whatever dies on the way."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import workflow_graphs
from tests.workflow_graphs import app, draw, evaluate, graph, has_failed
from windlass.testing import Harness, crash


@given(st.integers(0, 2**32), st.integers(1, 60) | st.sampled_from([200, 500]), st.booleans())
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_random_graph_ends_as_it_must(seed: int, size: int, deaths: bool) -> None:
    nodes = draw(seed, size)
    expected = evaluate(nodes)
    rng = random.Random(seed)

    def interrupt(_: int) -> None:
        if deaths and rng.random() < 0.05:
            crash()

    with pytest.MonkeyPatch.context() as patch, Harness(app, raising=False, max_steps=100_000) as harness:
        patch.setattr(workflow_graphs, "interrupt", interrupt)
        run = graph.start_sync(seed, size)
        harness.run_for_sync(seconds=600)
        steps = {int(step.name): step for step in run.steps_sync()}
        assert len(steps) == size
        assert {number: step.status for number, step in steps.items()} == {
            number: outcome.status for number, outcome in enumerate(expected)
        }
        assert run.status_sync() == ("failed" if has_failed(nodes, expected) else "succeeded")
        for number, outcome in enumerate(expected):
            if outcome.status == "succeeded" and nodes[number].kind != "map":
                assert run.step_sync(str(number)).result_sync(timeout=0) == outcome.value
                break
