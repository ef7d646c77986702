"""What workers have counted, as Prometheus reads it: see `windlass.engine.counts`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from windlass.engine.counted import NOW, OUTCOMES, RUNS, SHORT_TIMES, SIZES, TIMES, WAITS, bounded, width
from windlass.engine.tally import Name, Reading, Tally, add
from windlass.metrics.formats import encoder_for
from windlass.metrics.visitors import is_welcome, token_here

FRESH = 0.5
"""Seconds for which a page serves everybody who asks."""


class WorkerCollector(Collector):
    """Shows what workers of this process have counted. To be registered where others' metrics are.

    Args:
        tallies: theirs.
    """

    def __init__(self, *tallies: Tally) -> None:
        self._tallies = tallies
        self._named: dict[Name, None] = {}

    def collect(self) -> Iterable[Metric]:
        """See `Collector`."""
        total: Reading = {}
        for tally in self._tallies:
            add(total, tally.read())
        return families(bounded(total, self._named))


def families(total: Reading) -> Iterator[Metric]:
    """The metrics of what was counted, by however many."""
    tasks = {name[1:]: numbers for name, numbers in sorted(total.items()) if name[0] == "task"}
    yield from _of_tasks(tasks)
    yield from _of_verbs({name[1]: numbers for name, numbers in sorted(total.items()) if name[0] == "verb"})
    for row, name, about, bounds in (
        ("claims", "windlass_claimed_batch_jobs", "Jobs that came with one claim.", SIZES),
        ("settles", "windlass_settled_batch_jobs", "Outcomes that went to the store in one call.", SIZES),
        (
            "lag",
            "windlass_loop_lag_seconds",
            "How late the event loop came, several times a second.",
            SHORT_TIMES,
        ),
    ):
        found = HistogramMetricFamily(name, about)
        _add_histogram(found, (), total.get((row,), [0.0] * width(bounds)), bounds)
        yield found
    lost, revoked, taken_back = total.get(("losses",), [0.0, 0.0, 0.0])
    yield CounterMetricFamily("windlass_lost_attempts", "Attempts whose job was somebody else's by their end.", lost)
    yield CounterMetricFamily("windlass_lost_leases", "Sessions that were over before their worker was.", revoked)
    yield CounterMetricFamily(
        "windlass_taken_back_jobs", "Jobs taken back from other workers, which had died or fallen silent.", taken_back
    )
    slots, held, memory = total.get(NOW, [0.0, 0.0, 0.0])
    yield GaugeMetricFamily("windlass_process_slots", "Slots of these workers.", slots)
    yield GaugeMetricFamily("windlass_process_slots_used", "Jobs that these workers run or hold.", held)
    yield GaugeMetricFamily("windlass_process_resident_memory_bytes", "Memory that these workers occupy.", memory)


def _of_tasks(tasks: dict[tuple[str, ...], list[float]]) -> Iterator[Metric]:
    labels = ("task", "queue")
    ended = CounterMetricFamily("windlass_attempts", "Attempts that ended.", labels=(*labels, "outcome"))
    runs = HistogramMetricFamily("windlass_run_seconds", "How long attempts took.", labels=labels)
    waits = HistogramMetricFamily(
        "windlass_wait_seconds",
        "From enqueued to claimed for the first time, by the worker's clock; delays are part of it.",
        labels=labels,
    )
    for name, numbers in tasks.items():
        for outcome, count in zip(OUTCOMES, numbers[1:], strict=False):
            ended.add_metric((*name, outcome), count)
        _add_histogram(runs, name, numbers[RUNS:WAITS], TIMES)
        _add_histogram(waits, name, numbers[WAITS:], TIMES)
    yield from (ended, runs, waits)


def _of_verbs(verbs: dict[str, list[float]]) -> Iterator[Metric]:
    failed = CounterMetricFamily("windlass_store_errors", "Calls of the store that failed.", labels=("verb",))
    times = HistogramMetricFamily("windlass_store_seconds", "How long calls of the store took.", labels=("verb",))
    for verb, numbers in verbs.items():
        failed.add_metric((verb,), numbers[0])
        _add_histogram(times, (verb,), numbers[1:], SHORT_TIMES)
    yield from (failed, times)


def _add_histogram(
    family: HistogramMetricFamily, labels: Sequence[str], numbers: Sequence[float], bounds: Sequence[float]
) -> None:
    """Prometheus counts in each bucket what is in those below it, too."""
    buckets, so_far = [], 0.0
    for bound, count in zip((*map(str, bounds), "+Inf"), numbers, strict=False):
        so_far += count
        buckets.append((bound, so_far))
    family.add_metric(labels, buckets, sum_value=numbers[-1])


class Page:
    """What a supervisor shows of its worker processes. It is made up at most once in `FRESH` seconds, whoever asks."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[float, bytes]] = {}
        """By content type: when, on the monotonic clock, and what."""

    def answer(
        self, count: Callable[[], tuple[Reading, dict[str, int], int]], headers: dict[str, str]
    ) -> tuple[int, str, bytes]:
        """Answer a visitor: status, type and content. Where ``$WINDLASS_METRICS_TOKEN`` is set, visitors have to show
        it.

        Args:
            count: says what all worker processes have counted, those included that are gone; how many there are, by
                state; and how many have died that nobody had told to stop.
            headers: the visitor's, by their names in lower case.
        """
        if not is_welcome(token_here(), headers.get("authorization")):
            return 401, "text/plain; charset=utf-8", b"a token is needed\n"
        encode, kind = encoder_for(headers.get("accept", ""))
        now = time.monotonic()
        made_at, content = self._made.get(kind, (-FRESH, b""))
        if now - made_at >= FRESH:
            registry = CollectorRegistry(auto_describe=False)
            registry.register(_Processes(*count()))
            content = encode(registry)
            self._made[kind] = now, content
        return 200, kind, content


class _Processes(Collector):
    def __init__(self, total: Reading, states: dict[str, int], deaths: int) -> None:
        self._total = total
        self._states = states
        self._deaths = deaths

    def collect(self) -> Iterator[Metric]:
        """See `Collector`."""
        yield from families(self._total)
        known = GaugeMetricFamily("windlass_processes", "Worker processes.", labels=("state",))
        for state, count in self._states.items():
            known.add_metric((state,), count)
        yield known
        about = "Worker processes that died, and were not told to."
        yield CounterMetricFamily("windlass_process_deaths", about, self._deaths)
