"""What a worker is told when it starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from windlass.core.errors import InvalidOption
from windlass.core.model import MAX_BATCH, MAX_LANES
from windlass.core.names import check_queue
from windlass.core.requirements import Offer
from windlass.engine.process_pool.config import ChildProcesses
from windlass.engine.process_pool.place import Place
from windlass.engine.recycling import NEVER, RecycleAt
from windlass.engine.tally import Tally
from windlass.engine.vitals import Vitals

if TYPE_CHECKING:
    from windlass.core.definition import Definition

DEFAULT_CONCURRENCY = 100
DEFAULT_GRACE = 25.0
DEFAULT_LAG_WARNING = 0.5


def _nothing() -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """How one worker runs. Durations are seconds."""

    queues: Mapping[str, int] = field(default_factory=lambda: {"default": 1})
    """Queue name to weight: how often the queue is the first to be asked, relative to the others."""
    strict: bool = False
    """Ask the queues always in the given order: the first is served until it is empty."""
    concurrency: int = DEFAULT_CONCURRENCY
    """Slots: attempts that run at once."""
    offer: Offer = field(default_factory=Offer)
    """What the worker has, for jobs that ask for resources or labels."""
    children: ChildProcesses = field(default_factory=ChildProcesses)
    """How attempts of process tasks run."""
    place: Place | None = None
    """Where a child process finds the app; ``None``: this worker can run no process tasks."""
    schedules: Mapping[str, Definition] = field(default_factory=dict)
    """What the application declares, by name: those that the store does not have are made when the worker starts."""
    traced: bool = False
    """Attempts are told the span of the last one that failed."""
    note_deaths: bool = False
    """Write down which jobs are about to die: see `windlass.engine.deaths`."""
    grace: float = DEFAULT_GRACE
    """How long running attempts may go on once the worker is told to stop."""
    alone: bool = False
    """Run suspects only, one at a time, and stop when there have been none for a while."""
    version: str = ""
    """The application's, for people who look at the worker."""
    on_suspects: Callable[[], None] | None = None
    """Called when a suspect waits: a supervisor then starts a process for it. ``None``: there is no supervisor, and
    this worker runs suspects itself when it is empty."""
    supervisor: int = 0
    """Process id of the supervisor, for people who look at the worker; 0: there is none."""
    on_told: Callable[[], None] | None = None
    """Called when an operator tells this worker, through the store, to drain or to stop, before it begins to: nobody
    should take its place."""
    on_hung: Callable[[], None] = _nothing
    """Called, in the heartbeat's thread, when the event loop is hung and the lease is given up."""
    on_recycle: Callable[[], None] | None = None
    """Called when a quarter of the slots are held by threads past their timeout: the process should be replaced. Again
    each 30 s for as long as it is not."""
    recycle: RecycleAt = NEVER
    """When the process is worn out. Only a supervisor can replace it: `on_worn` is called, nothing else happens."""
    on_worn: Callable[[], None] | None = None
    """Called when a limit of `recycle` is reached: as `on_recycle`, but there is no hurry."""
    lag_warning: float = DEFAULT_LAG_WARNING
    """How long the event loop may be blocked before a warning in the log names the task that blocks it; 0: for ever."""
    tally: Tally | None = None
    """Where to count what is done, for `windlass.metrics.workers`; ``None``: nowhere."""
    on_vitals: Callable[[Vitals], None] | None = None
    """Called several times each second, in the heartbeat's thread."""

    def __post_init__(self) -> None:
        if not self.queues:
            raise InvalidOption("queues: a worker needs at least one queue")
        if len(self.queues) > MAX_LANES:
            raise InvalidOption(f"queues: {len(self.queues)} named, a worker can serve at most {MAX_LANES}")
        for name, weight in self.queues.items():
            check_queue(name)
            if not 1 <= weight <= 100:
                raise InvalidOption(f"queues: weight {weight!r} of {name!r} is not between 1 and 100")
        if not 1 <= self.concurrency <= MAX_BATCH:
            raise InvalidOption(f"concurrency={self.concurrency!r}: expected 1 to {MAX_BATCH}")
        if not 0 <= self.grace <= 3600:
            raise InvalidOption(f"grace={self.grace!r}: expected 0 to 3600 seconds")
        if self.lag_warning != 0 and not 0.05 <= self.lag_warning <= 3600:
            raise InvalidOption(f"lag_warning={self.lag_warning!r}: expected 0.05 to 3600 seconds, or 0 for no warning")
