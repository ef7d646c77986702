"""Spans of OpenTelemetry, with its own SDK and its exporter into memory."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Decision, Sampler, SamplingResult
from opentelemetry.semconv._incubating.attributes import messaging_attributes as names
from opentelemetry.semconv.attributes import db_attributes, error_attributes
from opentelemetry.trace import SpanKind, StatusCode

from tests.integration.engine_harness import eventually
from windlass import App, Current, Job, Middleware, ProcessDied, Retry, Snooze, current
from windlass.core.ids import new_id
from windlass.core.model import ClaimedJob
from windlass.core.options import decode_options
from windlass.core.traceparent import trace_id_of
from windlass.telemetry import MOST_BAGGAGE, Tracing

SOON = 20


class Traces:
    """An app that makes spans, and the spans."""

    def __init__(self, url: str) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.app = App(url, tracing=self.provider)
        self.tracer = self.provider.get_tracer("test")

    def spans(self, name: str | None = None) -> list[ReadableSpan]:
        """What has ended, in the order in which it began."""
        found = self._exporter.get_finished_spans()
        return sorted((span for span in found if name in (None, span.name)), key=lambda span: span.start_time or 0)

    def one(self, name: str) -> ReadableSpan:
        (span,) = self.spans(name)
        return span


@pytest_asyncio.fixture
async def traces(tmp_path: Path) -> AsyncIterator[Traces]:
    traces = Traces(f"sqlite:///{tmp_path}/windlass.db")
    yield traces
    await traces.app.aclose()
    traces.provider.shutdown()


def is_child(span: ReadableSpan, parent: ReadableSpan) -> bool:
    """Whether one span is the other's child, in its trace."""
    assert span.parent is not None
    assert span.context is not None
    assert parent.context is not None
    return (span.parent.span_id, span.context.trace_id) == (parent.context.span_id, parent.context.trace_id)


async def test_a_job_continues_the_trace_of_who_enqueued_it(traces: Traces) -> None:
    @traces.app.task(name="shop.inner", queue="inner")
    def inner() -> str | None:
        return current().trace_id

    @traces.app.task(name="shop.outer")
    async def outer() -> str:
        return (await inner.enqueue()).id

    async with traces.app.worker():
        with traces.tracer.start_as_current_span("request"):
            job = await outer.enqueue()
        trace_id = await traces.app.job(await job.result(SOON)).result(SOON)
    request, create, process = traces.one("request"), traces.one("create default"), traces.one("process default")
    inner_create, inner_process = traces.one("create inner"), traces.one("process inner")
    stored = traces.spans("enqueue sqlite")
    assert is_child(create, request)
    assert is_child(process, create)
    assert is_child(inner_create, process)
    assert is_child(inner_process, inner_create)
    assert is_child(stored[0], request)
    assert all(is_child(one, process) for one in stored[1:]), "one that went in a batch of several callers has none"
    assert request.context is not None
    assert trace_id == trace.format_trace_id(request.context.trace_id)


async def test_names_are_those_of_the_conventions(traces: Traces) -> None:
    @traces.app.task(name="shop.send", queue="mail")
    async def send() -> None: ...

    async with traces.app.worker():
        with traces.tracer.start_as_current_span("request"):
            job = await send.enqueue()
        await job.result(SOON)
    create, process, stored = map(traces.one, ("create mail", "process mail", "enqueue sqlite"))
    assert [create.kind, process.kind, stored.kind] == [SpanKind.PRODUCER, SpanKind.CONSUMER, SpanKind.CLIENT]
    for span, operation in ((create, "create"), (process, "process")):
        assert operation in {one.value for one in names.MessagingOperationTypeValues}
        said: dict[str, Any] = {
            names.MESSAGING_SYSTEM: "windlass",
            names.MESSAGING_OPERATION_NAME: operation,
            names.MESSAGING_OPERATION_TYPE: operation,
            names.MESSAGING_DESTINATION_NAME: "mail",
            names.MESSAGING_MESSAGE_ID: job.id,
            "windlass.task": "shop.send",
        }
        attempt = {"windlass.attempt": 1} if operation == "process" else {}
        assert dict(span.attributes or {}) == said | attempt
    assert dict(stored.attributes or {}) == {
        db_attributes.DB_SYSTEM_NAME: "sqlite",
        db_attributes.DB_OPERATION_NAME: "enqueue",
    }


async def test_each_attempt_is_a_span_of_the_jobs_trace_and_failures_are_errors(traces: Traces) -> None:
    @traces.app.task(retry=Retry(attempts=2, delay=0))
    def flaky() -> None:
        raise ValueError("no")

    async with traces.app.worker():
        with traces.tracer.start_as_current_span("request"):
            job = await flaky.enqueue()
        with pytest.raises(ValueError, match="no"):
            await job.result(SOON)
    create, attempts = traces.one("create default"), traces.spans("process default")
    assert [is_child(span, create) for span in attempts] == [True, True], "retries stand side by side"
    said = [span.attributes or {} for span in attempts]
    assert [one["windlass.attempt"] for one in said] == [1, 2]
    assert [one["windlass.dead"] for one in said] == [False, True]
    assert [one[error_attributes.ERROR_TYPE] for one in said] == ["ValueError"] * 2
    assert [(span.status.status_code, span.events[0].name) for span in attempts] == [
        (StatusCode.ERROR, "exception")
    ] * 2


def test_an_attempt_whose_process_died_has_a_span_all_the_same(traces: Traces) -> None:
    options = b'{"headers":{"traceparent":"00-%s-%s-01"}}' % (b"a" * 32, b"b" * 16)
    job = ClaimedJob(new_id(), 1, "work", b"{}", options, "default", "", 5, 1, 0, 0, 0, 0)
    Tracing(traces.provider).failed(Current(job, Silent()), ProcessDied("was killed"), dead=True)
    span = traces.one("process default")
    assert span.status.status_code is StatusCode.ERROR
    assert span.parent is not None
    assert (span.parent.trace_id, span.parent.span_id) == (int("a" * 32, 16), int("b" * 16, 16))


class Silent:
    def note(self, job: ClaimedJob, *, progress: float | None, message: str | None, log: str) -> None: ...


async def test_a_snooze_is_no_error(traces: Traces) -> None:
    @traces.app.task
    async def naps() -> None:
        if current().attempt == 1:
            raise Snooze(0)

    async with traces.app.worker():
        await (await naps.enqueue()).result(SOON)
    assert [span.status.status_code for span in traces.spans("process default")] == [StatusCode.UNSET] * 2


async def test_steps_of_a_run_are_in_one_trace_and_name_the_run(traces: Traces) -> None:
    @traces.app.task
    def two(n: int) -> int:
        return 2 * n

    @traces.app.task
    def total(numbers: list[int]) -> int:
        return sum(numbers)

    @traces.app.workflow
    def doubled(n: int) -> Any:
        return total.step(two.map([n, two.step(n)]))

    async with traces.app.worker():
        with traces.tracer.start_as_current_span("request"):
            run = await doubled.start(1)
        assert await run.result(SOON) == 6
    request = traces.one("request")
    attempts = traces.spans("process default")
    assert request.context is not None
    assert {span.context.trace_id for span in attempts if span.context} == {request.context.trace_id}
    mine = [span for span in attempts if (span.attributes or {})["windlass.task"].endswith((".two", ".total"))]  # type: ignore[union-attr]
    assert len(mine) == 4
    assert {(span.attributes or {})[names.MESSAGING_MESSAGE_CONVERSATION_ID] for span in mine} == {run.id}


async def test_a_retry_is_linked_to_the_attempt_before(traces: Traces) -> None:
    @traces.app.task(retry=Retry(attempts=3, delay=0))
    async def third() -> None:
        if current().attempt < 3:
            raise ValueError

    async with traces.app.worker():
        await (await third.enqueue()).result(SOON)
        await (await third.enqueue()).result(SOON)
    attempts = traces.spans("process default")
    links = [[link.context.span_id for link in span.links] for span in attempts]
    ids = [span.context.span_id for span in attempts if span.context]
    assert links == [[], [ids[0]], [ids[1]], [], [ids[3]], [ids[4]]]


async def has_status(job: Job[Any], status: str) -> bool:
    return await job.status() == status


async def test_a_retry_is_linked_to_the_attempt_before_though_another_worker_ran_that(
    traces: Traces, tmp_path: Path
) -> None:
    others = Traces(f"sqlite:///{tmp_path}/windlass.db")

    async def second(job: int) -> None:
        if current().attempt == 1:
            raise ValueError
        failed_spans.append(current().failed_span)

    failed_spans: list[str | None] = []
    first = traces.app.task(name="second", retry=Retry(attempts=2, delay=3600))(second)
    others.app.task(name="second")(second)
    async with traces.app.worker():
        jobs = [await first.enqueue(n) for n in range(2)]
        for job in jobs:
            await eventually(lambda job=job: has_status(job, "scheduled"))
    async with others.app.worker():
        for job in jobs:
            await job.reschedule(0)
            await job.result(SOON)
    failed, retried = traces.spans("process default"), others.spans("process default")
    by_job = {(span.attributes or {})[names.MESSAGING_MESSAGE_ID]: span.context for span in failed}
    for span in retried:
        before = by_job[(span.attributes or {})[names.MESSAGING_MESSAGE_ID]]
        assert before is not None
        assert [(link.context.trace_id, link.context.span_id) for link in span.links] == [
            (before.trace_id, before.span_id)
        ]
    assert all(failed_spans)
    await others.app.aclose()


async def test_what_is_no_traceparent_is_not_linked_to(traces: Traces) -> None:
    options = b'{"headers":{"traceparent":"00-%s-%s-01"}}' % (b"a" * 32, b"b" * 16)
    tracing = Tracing(traces.provider)
    for failed_span in ("", "nothing", "00-0-0-01", f"00-{'0' * 32}-{'0' * 16}-01"):
        job = ClaimedJob(new_id(), 2, "work", b"{}", options, "default", "", 5, 2, 1, 0, 0, 0, failed_span=failed_span)
        attempt = Current(job, Silent())
        tracing.before(attempt, {})
        tracing.after(attempt, None)
    assert [len(span.links) for span in traces.spans("process default")] == [0] * 4


async def test_steps_are_linked_to_those_that_they_wait_for(traces: Traces) -> None:
    @traces.app.task(name="start", queue="a")
    def start() -> int:
        return 1

    @traces.app.task(name="left", queue="b")
    def left(n: int) -> int:
        return n

    @traces.app.task(name="right", queue="c")
    def right(n: int) -> int:
        return n

    @traces.app.task(name="joined", queue="d")
    def joined(a: int, b: int) -> int:
        return a + b

    @traces.app.workflow
    def diamond() -> Any:
        begun = start.step()
        return joined.step(left.step(begun), right.step(begun))

    async with traces.app.worker():
        with traces.tracer.start_as_current_span("request"):
            run = await diamond.start()
        assert await run.result(SOON) == 2
    spans = {queue: traces.one(f"create {queue}") for queue in "abcd"}
    made = {span.context.span_id: queue for queue, span in spans.items() if span.context}
    links = {queue: {made[link.context.span_id] for link in span.links} for queue, span in spans.items()}
    assert links == {"a": set(), "b": {"a"}, "c": {"a"}, "d": {"b", "c"}}
    assert all(link.context.trace_id == span.context.trace_id for span in spans.values() for link in span.links)


async def test_a_worker_that_is_started_in_a_trace_does_not_draw_other_jobs_into_it(traces: Traces) -> None:
    @traces.app.task
    async def one() -> str | None:
        return current().trace_id

    job = await one.enqueue()
    with traces.tracer.start_as_current_span("request"):
        async with traces.app.worker():
            assert await job.result(SOON) is None, "it was enqueued outside of any trace"
    assert {span.name for span in traces.spans() if span.parent is None} == {"process default", "request"}


async def test_other_hooks_run_inside_the_span_and_baggage_arrives(traces: Traces) -> None:
    seen: list[object] = []

    class Sees(Middleware):
        def before(self, attempt: Any, headers: dict[str, str]) -> None:
            seen.append((trace.get_current_span().is_recording(), baggage.get_baggage("tenant")))

    traces.app.middleware(Sees())

    @traces.app.task
    def work() -> None: ...

    async with traces.app.worker():
        for value in ("seven", "x" * MOST_BAGGAGE):
            token = context.attach(baggage.set_baggage("tenant", value))
            with traces.tracer.start_as_current_span("request"):
                job = await work.enqueue()
            context.detach(token)
            await job.result(SOON)
    assert seen == [(True, "seven"), (True, None)], "what is too large stays behind, and the trace goes on"


async def test_a_sampled_out_trace_stays_so_and_costs_no_store_spans(tmp_path: Path) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=ALWAYS_OFF)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    app = App(f"sqlite:///{tmp_path}/windlass.db", tracing=provider)

    @app.task
    async def work() -> dict[str, str]:
        return current().headers

    async with app.worker():
        with provider.get_tracer("test").start_as_current_span("request"):
            job = await work.enqueue()
        headers = await job.result(SOON)
    await app.aclose()
    assert int(headers["traceparent"].split("-")[3], 16) & 1 == 0, (
        "the context travels, and says that it is not sampled"
    )
    assert exporter.get_finished_spans() == ()


async def test_a_worker_asks_no_sampler_about_jobs_of_unsampled_traces(tmp_path: Path) -> None:
    asked: list[str] = []

    class Never(Sampler):
        def should_sample(self, parent_context: Any, trace_id: int, name: str, *_: Any, **__: Any) -> SamplingResult:
            asked.append(name)
            return SamplingResult(Decision.DROP)

        def get_description(self) -> str:
            return "never"

    provider = TracerProvider(sampler=Never())
    app = App(f"sqlite:///{tmp_path}/windlass.db", tracing=provider)

    @app.task
    async def work() -> int:
        return trace.get_current_span().get_span_context().trace_id

    jobs, expected = [], []
    for _ in range(2):
        with provider.get_tracer("test").start_as_current_span("request") as span:
            jobs += [await work.enqueue(), await work.enqueue()]
            expected += [span.get_span_context().trace_id] * 2
    begins_one = await work.enqueue()
    async with app.worker(concurrency=1):
        found = [await job.result(SOON) for job in jobs]
        begun = await begins_one.result(SOON)
    await app.aclose()
    assert found == expected
    assert begun not in {0, *expected}
    assert asked == ["request", "request", "process default"]


async def test_jobs_of_an_unsampled_trace_share_headers_and_no_others(tmp_path: Path) -> None:
    provider = TracerProvider(sampler=ALWAYS_OFF)
    tracer = provider.get_tracer("test")
    app = App(f"sqlite:///{tmp_path}/windlass.db", tracing=provider)

    @app.task
    async def work() -> None: ...

    async def headers(job: Job[Any]) -> dict[str, str]:
        (record,) = await (await app.store()).get_jobs([job._id])
        assert record is not None
        return decode_options(record.options).headers or {}

    found = []
    for _ in range(2):
        with tracer.start_as_current_span("request"):
            found += [await headers(await work.enqueue()), await headers(await work.enqueue())]
            token = context.attach(baggage.set_baggage("tenant", "7"))
            found.append(await headers(await work.enqueue()))
            context.detach(token)
            found.append(await headers(await work.options(headers={"own": "1"}).enqueue()))
    outside = await headers(await work.enqueue())
    await app.aclose()
    first, again, with_baggage, with_own, second, *_ = found
    assert first == again
    assert with_baggage == {**first, "baggage": "tenant=7"}
    assert with_own == {**first, "own": "1"}
    assert second["traceparent"] != first["traceparent"]
    assert outside == {}


async def test_without_tracing_nothing_travels(tmp_path: Path) -> None:
    app = App(f"sqlite:///{tmp_path}/windlass.db")

    @app.task
    async def work() -> None: ...

    with TracerProvider().get_tracer("test").start_as_current_span("request"):
        job = await work.enqueue()
    (record,) = await (await app.store()).get_jobs([job._id])
    assert record is not None
    assert decode_options(record.options).headers is None
    await app.aclose()


async def test_logs_name_the_trace(traces: Traces, caplog: pytest.LogCaptureFixture) -> None:
    @traces.app.task
    async def fails() -> None:
        raise ValueError("no")

    with caplog.at_level(logging.ERROR):
        async with traces.app.worker():
            with traces.tracer.start_as_current_span("request"):
                job = await fails.enqueue()
            with pytest.raises(ValueError, match="no"):
                await job.result(SOON)
    create = traces.one("create default")
    assert create.context is not None
    (ending,) = [record.windlass for record in caplog.records if hasattr(record, "windlass")]
    assert ending["trace_id"] == trace.format_trace_id(create.context.trace_id)


def test_a_job_shows_its_trace_and_nothing_that_is_none() -> None:
    assert trace_id_of({"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}) == "a" * 32
    for odd in (
        "",
        "00-",
        f"00-{'0' * 32}-{'b' * 16}-01",
        f"00-{'A' * 32}-{'b' * 16}-01",
        f"00-{'a' * 31}/-{'b' * 16}-01",
    ):
        assert trace_id_of({"traceparent": odd}) is None
    assert trace_id_of(None) is None


async def test_a_batch_of_several_callers_is_in_nobodys_trace(traces: Traces) -> None:
    @traces.app.task
    async def work() -> None: ...

    async def caller(name: str) -> None:
        with traces.tracer.start_as_current_span(name):
            await work.enqueue()
            await all_stored.wait()

    all_stored = asyncio.Barrier(3)
    await work.enqueue()  # opens the store
    await asyncio.gather(*(caller(f"caller {n}") for n in range(3)))
    (stored,) = traces.spans("enqueue sqlite")
    assert is_child(stored, traces.one("caller 0")), "who comes first sends its own, the others wait and go together"
