"""Tracing as a user would write it: the SDK's own calls for each attempt, and nothing else.

    python -m bench.traced_by_hand

Prints what the hooks of an attempt take, ours and these, where the sampler wants no traces: microseconds, the best of
many rounds.
"""

from __future__ import annotations

import os
import timeit
from typing import TYPE_CHECKING, cast

from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import SpanKind, set_span_in_context

from windlass import Current, Middleware

if TYPE_CHECKING:
    from contextvars import Token

    from opentelemetry.trace import Span, TracerProvider

    from windlass.context import NoteSink
    from windlass.engine.attempt import Attempt

_NOWHERE = Context()


class ByHand(Middleware):
    """Begins a trace with each attempt. It reads no headers, and says nothing of the job."""

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer = provider.get_tracer("bench")
        self._open: dict[Current, tuple[Span, Token[Context]]] = {}

    def before(self, attempt: Current, headers: dict[str, str]) -> None:  # noqa: ARG002 - it does without
        """Ask the SDK for a span, and make it the current one."""
        span = self._tracer.start_span("process default", _NOWHERE, SpanKind.CONSUMER)
        self._open[attempt] = span, attach(set_span_in_context(span, _NOWHERE))

    def after(self, attempt: Current, error: BaseException | None) -> None:  # noqa: ARG002 - it does without
        """End it."""
        span, token = self._open.pop(attempt)
        span.end()
        detach(token)


def main() -> None:
    """Measure and print."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

    from windlass.telemetry import Tracing

    os.environ["WINDLASS_URL"] = "memory://bench"
    provider = TracerProvider(sampler=ALWAYS_OFF)
    trace = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"}
    by_hand, ours = ByHand(provider), Tracing(provider)
    cases = {
        "hooks that do nothing": (Middleware(), _attempt(None)),
        "the SDK's calls by hand": (by_hand, _attempt(None)),
        "ours, a trace begins": (ours, _attempt(None)),
        "ours, in the unsampled trace of the job before": (ours, _attempt(trace)),
    }
    for name, (hook, attempt) in cases.items():
        print(f"{name:48}{_best(hook, attempt):.2f} µs")


def _attempt(headers: dict[str, str] | None) -> Attempt:
    from bench.app import add, app
    from windlass.core.model import ClaimedJob
    from windlass.core.task import JobOptions
    from windlass.engine.attempt import Attempt

    spec = app.runnable()[0][add.name]
    job = ClaimedJob(bytes(16), 1, add.name, b"", None, "default", "", 0, 1, 0, 0, 0, 0)
    return Attempt(job, spec, JobOptions(headers=headers), cast("NoteSink", None), 0.0)


def _best(hook: Middleware, attempt: Attempt, times: int = 20_000) -> float:
    from windlass.engine.hooks import run_after, run_before

    hooks = (hook,)

    def around() -> None:
        run_before(hooks, attempt)
        run_after(hooks, attempt, None)

    return min(timeit.repeat(around, number=times, repeat=25)) / times * 1e6


if __name__ == "__main__":
    main()
