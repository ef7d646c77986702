"""Makes the Grafana dashboard that comes with the package, `windlass metrics --dashboard`.

python scripts/dashboards.py            write it
python scripts/dashboards.py --print    only show it; a test compares the two
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import BigValueGraphMode, LegendDisplayMode, TooltipDisplayMode
from grafana_foundation_sdk.models.dashboard import DataSourceRef

FILE = Path(__file__).parent.parent / "src" / "windlass" / "metrics" / "dashboard.json"
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
BY_QUEUE = 'queue=~"$queue"'


def _query(expression: str, legend: str, name: str = "A") -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(expression).legend_format(legend).ref_id(name)


def _figure(title: str, expression: str, about: str, unit: str = "short") -> stat.Panel:
    panel = stat.Panel().title(title).description(about).unit(unit).datasource(SOURCE).span(4).height(4)
    return panel.graph_mode(BigValueGraphMode.AREA).with_target(_query(expression, title))


def _lines(title: str, about: str, *queries: tuple[str, str], unit: str = "short", span: int = 12) -> timeseries.Panel:
    panel = timeseries.Panel().title(title).description(about).unit(unit).datasource(SOURCE).span(span).height(8).min(0)
    panel = panel.legend(common.VizLegendOptions().show_legend(True).display_mode(LegendDisplayMode.LIST))
    panel = panel.tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
    for name, (expression, legend) in zip("ABCDE", queries, strict=False):
        panel = panel.with_target(_query(expression, legend, name))
    return panel


def _share(share: float, name: str, label: str, which: str = "") -> str:
    buckets = f"sum by (le, {label}) (rate({name}_bucket{{{which}}}[$__rate_interval]))"
    return f"histogram_quantile({share}, {buckets})"


def _mean(name: str) -> str:
    return f"sum(rate({name}_sum[$__rate_interval])) / (sum(rate({name}_count[$__rate_interval])) > 0)"


def make() -> str:
    """The dashboard, as JSON."""
    made = (
        dashboard.Dashboard("Windlass")
        .uid("windlass")
        .tags(["windlass"])
        .refresh("30s")
        .time("now-3h", "now")
        .timezone("browser")
        .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
        .with_variable(
            dashboard.QueryVariable("queue")
            .label("Queue")
            .datasource(SOURCE)
            .query("label_values(windlass_jobs, queue)")
            .multi(True)
            .include_all(True)
            .all_value(".*")
        )
        .with_row(dashboard.Row("Now"))
        .with_panel(_figure("Ready", f'sum(windlass_jobs{{state="ready", {BY_QUEUE}}})', "Jobs that could start"))
        .with_panel(_figure("Running", f'sum(windlass_jobs{{state="running", {BY_QUEUE}}})', "Jobs that workers run"))
        .with_panel(_figure("Dead", f'sum(windlass_jobs{{state="dead", {BY_QUEUE}}})', "Dead jobs that are kept"))
        .with_panel(_figure("Workers", 'sum(windlass_workers{state="live"})', "Live worker processes"))
        .with_panel(
            _figure("Slots used", "instance:windlass_slots_used:ratio", "Of those of live workers", "percentunit")
        )
        .with_panel(
            _figure(
                "Oldest ready", f"max(windlass_queue_oldest_ready_seconds{{{BY_QUEUE}}})", "Since it was enqueued", "s"
            )
        )
        .with_row(dashboard.Row("Work"))
        .with_panel(
            _lines(
                "Attempts that ended in the last minute",
                "By how they ended; all workers together",
                ("windlass_last_minute_attempts", "{{outcome}}"),
            )
        )
        .with_panel(
            _lines(
                "From enqueued to started",
                "Of first attempts in the last minute; delays are part of it",
                ("windlass_last_minute_wait_seconds", "{{of}}"),
                unit="s",
            )
        )
        .with_row(dashboard.Row("Queues"))
        .with_panel(
            _lines(
                "Ready jobs", "By queue", (f'sum by (queue) (windlass_jobs{{state="ready", {BY_QUEUE}}})', "{{queue}}")
            )
        )
        .with_panel(
            _lines(
                "Age of the oldest ready job",
                "Since it was enqueued; delays are part of it",
                (f"windlass_queue_oldest_ready_seconds{{{BY_QUEUE}}}", "{{queue}}"),
                unit="s",
            )
        )
        .with_panel(
            _lines(
                "Jobs by state",
                "All that the store has",
                (f"sum by (state) (windlass_jobs{{{BY_QUEUE}}})", "{{state}}"),
            )
        )
        .with_panel(
            _lines(
                "What keeps jobs from running",
                "Each should be 0",
                (f"sum by (queue) (windlass_unserved_jobs{{{BY_QUEUE}}})", "no worker has what they need: {{queue}}"),
                (f"sum by (queue) (windlass_queue_suspects{{{BY_QUEUE}}})", "wait to run alone: {{queue}}"),
                (f"sum by (queue) (windlass_queue_paused{{{BY_QUEUE}}})", "paused: {{queue}}"),
                ("sum(windlass_lost_jobs)", "held by silent workers"),
            )
        )
        .with_row(dashboard.Row("Workers and schedules"))
        .with_panel(_lines("Worker processes", "By state", ("sum by (state) (windlass_workers)", "{{state}}"), span=8))
        .with_panel(
            _lines(
                "Slots",
                "Of live workers",
                ("sum(windlass_worker_slots)", "slots"),
                ("sum(windlass_worker_slots_used)", "used"),
                span=8,
            )
        )
        .with_panel(
            _lines(
                "Schedules that are late",
                "The latest, and how many",
                ("max(windlass_schedule_lateness_seconds)", "seconds"),
                ("sum(windlass_schedules_due)", "due"),
                span=8,
            )
        )
        .with_row(dashboard.Row("What workers count (--metrics)"))
        .with_panel(
            _lines(
                "Attempts a second",
                "By task and how they ended",
                (
                    f"sum by (task, outcome) (rate(windlass_attempts_total{{{BY_QUEUE}}}[$__rate_interval])) > 0",
                    "{{task}} {{outcome}}",
                ),
            )
        )
        .with_panel(
            _lines(
                "How long attempts take",
                "19 of 20 take less, by task",
                (_share(0.95, "windlass_run_seconds", "task", BY_QUEUE), "{{task}}"),
                unit="s",
            )
        )
        .with_panel(
            _lines(
                "From enqueued to claimed",
                "19 of 20 wait less, by queue; delays are part of it",
                (_share(0.95, "windlass_wait_seconds", "queue", BY_QUEUE), "{{queue}}"),
                unit="s",
            )
        )
        .with_panel(
            _lines(
                "Calls of the store",
                "19 of 20 take less, by verb",
                (_share(0.95, "windlass_store_seconds", "verb"), "{{verb}}"),
                unit="s",
            )
        )
        .with_panel(
            _lines(
                "Jobs in one call",
                "On average",
                (_mean("windlass_claimed_batch_jobs"), "claimed"),
                (_mean("windlass_settled_batch_jobs"), "settled"),
                span=8,
            )
        )
        .with_panel(
            _lines(
                "Lag of event loops",
                "99 of 100 looks find less",
                (_share(0.99, "windlass_loop_lag_seconds", "instance"), "{{instance}}"),
                unit="s",
                span=8,
            )
        )
        .with_panel(
            _lines(
                "Memory of workers",
                "Resident",
                ("sum by (instance) (windlass_process_resident_memory_bytes)", "{{instance}}"),
                unit="bytes",
                span=8,
            )
        )
        .with_panel(
            _lines(
                "What went wrong",
                "In a second; each should be 0",
                ("sum(rate(windlass_store_errors_total[$__rate_interval]))", "calls of the store failed"),
                (
                    "sum(rate(windlass_lost_attempts_total[$__rate_interval]))",
                    "attempts were somebody else's by their end",
                ),
                ("sum(rate(windlass_lost_leases_total[$__rate_interval]))", "leases were lost"),
                (
                    "sum(rate(windlass_taken_back_jobs_total[$__rate_interval]))",
                    "jobs were taken back from workers that were gone",
                ),
                ("sum(rate(windlass_process_deaths_total[$__rate_interval]))", "processes died"),
                span=24,
            )
        )
        .with_row(dashboard.Row("The exporter"))
        .with_panel(
            _lines(
                "Reading the store",
                "How long it took, and whether it could be",
                ("windlass_read_seconds", "seconds"),
                ("windlass_up", "up"),
                span=24,
            )
        )
    )
    found = json.loads(JSONEncoder().encode(made.build()))
    for variable in found["templating"]["list"]:
        variable.pop("allowCustomValue", None)  # true anyway, and unknown to Grafana 10
    return json.dumps(found, sort_keys=True, indent=2) + "\n"


if __name__ == "__main__":
    if "--print" in sys.argv:
        sys.stdout.write(make())
    else:
        FILE.write_text(make())
