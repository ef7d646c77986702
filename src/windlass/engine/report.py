"""Tells the world outside how the workers are: systemd, and whoever asks over HTTP."""

from __future__ import annotations

import select
import time

from windlass.engine import health
from windlass.engine.notify import notify, watchdog_interval
from windlass.engine.processes import Process
from windlass.engine.slots import Slot
from windlass.engine.unix import ERROR, log

TYPE_CHECKING = False  # not typing's: that module is large
if TYPE_CHECKING:
    from collections.abc import Callable

    from windlass.engine.health_server import Headers, HealthServer, Reply
    from windlass.engine.tally import Name, Reading

    Counted = tuple[Reading, dict[str, int], int]
    """What all processes have counted; how many there are, by state; how many have died."""
    Figures = Callable[[Callable[[], Counted], Headers], Reply]
    """Answers a visitor: asks for what was counted, if it has to be shown anew."""


class Report:
    """What a supervisor reports about its slots. `slots` are those that should be filled."""

    def __init__(self, slots: list[Slot], alone: Slot) -> None:
        self._slots = slots
        self._alone = alone
        self._server: HealthServer | None = None
        self._stopping = False
        self._announced = False
        self._said = ""
        self._interval = watchdog_interval()
        self._look_at = None if self._interval is None else time.monotonic()
        self._silent = False
        self._figures: Figures | None = None
        self._gone: Reading = {}
        """What processes have counted that are gone."""
        self._named: dict[Name, None] = {}
        """Pairs of task and queue that have rows of their own."""
        self._deaths = 0

    def listen(self, host: str, port: int, poll: select.poll) -> None:
        """Answer probes there. Raises `OSError`."""
        from windlass.engine.health_server import HealthServer  # here: it costs memory where nobody asks

        pages = "/healthz and /readyz" if self._figures is None else "/healthz, /readyz and /metrics"
        self._server = HealthServer(host, port, poll, self._answer, pages)
        log(0, f"answers {self._server.url}{pages}")

    def show_figures(self, figures: Figures) -> None:
        """Show what the processes count, made up by ``figures``. Before `listen`."""
        self._figures = figures

    @property
    def counts(self) -> bool:
        """Whether anybody wants to know what is counted."""
        return self._figures is not None

    def gone(self, process: Process, *, died: bool) -> None:
        """Keep what a process has counted, now that it is gone; ``died``: and nobody had told it to stop."""
        if self._figures is None:
            return
        from windlass.engine.counted import NOW, bounded
        from windlass.engine.tally import add

        counted = process.counted()
        add(self._gone, {name: numbers for name, numbers in counted.items() if name != NOW})
        self._gone = bounded(self._gone, self._named)
        self._deaths += died

    @property
    def due(self) -> float | None:
        """When `tell` should be called at the latest, on the monotonic clock."""
        times = [self._look_at, None if self._server is None else self._server.due]
        return min((at for at in times if at is not None), default=None)

    def stop(self) -> None:
        """Say that the workers stop."""
        self._stopping = True
        notify("STOPPING=1", "STATUS=stopping")

    def tell(self, spoken: list[int]) -> None:
        """Say what is new; attend to those of these descriptors that belong to visitors."""
        if self._server is not None:
            self._server.serve(spoken)
        if not self._stopping:
            self._tell_status()
        if self._look_at is not None and self._look_at <= time.monotonic():
            self._feed_watchdog(time.monotonic())

    def _tell_status(self) -> None:
        ready = sum(slot.process is not None and slot.process.ready_at is not None for slot in self._slots)
        if not self._announced and ready == len(self._slots):
            self._announced = True
            notify("READY=1")
        status = f"{ready} of {len(self._slots)} worker processes are ready"
        if status != self._said:
            self._said = status
            notify(f"STATUS={status}")

    def _feed_watchdog(self, now: float) -> None:
        """Say that all is well while it is. A loop that stands still for less than the interval is never taken for
        dead: with looks at each quarter and a patience of one half, a sign comes in time."""
        assert self._interval is not None
        self._look_at = now + self._interval / 4
        stalled = [] if self._stopping else health.stalled(self._slots, now, self._interval / 2)
        if not stalled:
            notify("WATCHDOG=1")
        elif not self._silent:
            log(0, f"systemd's watchdog is not fed: {'; '.join(stalled)}", ERROR)
        self._silent = bool(stalled)

    def _count(self) -> Counted:
        from windlass.engine.counted import bounded
        from windlass.engine.tally import add

        total = dict(self._gone)
        states = dict.fromkeys(health.STATES, 0)
        for state, process in health.states([*self._slots, self._alone]):
            add(total, process.counted())
            states[state] += 1
        return bounded(total, self._named), states, self._deaths

    def _answer(self, path: str, headers: Headers) -> Reply | None:
        from windlass.engine.health_server import JSON, as_json

        now = time.monotonic()
        if path == "/metrics" and self._figures is not None:
            return self._figures(self._count, headers)
        if path == "/healthz":
            # To stop takes as long as it may: the supervisor sees to it, and to be killed for it would help nobody.
            reasons = [] if self._stopping else health.stalled(self._slots, now, health.STALLED_AFTER)
        elif path == "/readyz":
            reasons = ["the workers are stopping"] if self._stopping else health.not_ready(self._slots, now)
        else:
            return None
        said = {"ok": not reasons, "reasons": reasons, "processes": health.describe([*self._slots, self._alone], now)}
        return (503 if reasons else 200), JSON, as_json(said)
