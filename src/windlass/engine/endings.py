"""What a worker's log says of attempts that did not succeed."""

from __future__ import annotations

import logging

from windlass.core.clock import SECOND
from windlass.core.ids import to_text
from windlass.core.lifecycle import Outcome
from windlass.core.model import ClaimedJob, Settlement
from windlass.core.options import decode_options
from windlass.core.remote import decode_error
from windlass.core.text import indented, printable, shorten
from windlass.core.traceparent import trace_id_of

log = logging.getLogger("windlass.engine")

_LONGEST = 500
"""Characters of an error's message in one line of the log."""


def log_ending(job: ClaimedJob, settlement: Settlement, *, ran: bool = True) -> None:
    """Log a failure that will be retried (warning), a job that is dead (error, with a traceback if it ``ran``) and one
    that this worker cannot run (info). Ends that somebody asked for say nothing here."""
    if settlement.error is None:
        return
    error = decode_error(settlement.error)
    what = printable(error.type)
    if error.message:
        what += f": {printable(shorten(error.message, _LONGEST))}"
    which = printable(job.task), to_text(job.id)
    known = {"job": which[1], "task": job.task, "queue": job.queue, "attempt": job.attempt}
    trace_id = trace_id_of(decode_options(job.options).headers)
    about = {"windlass": known | ({} if trace_id is None else {"trace_id": trace_id})}
    if settlement.outcome is Outcome.DEAD:
        trace = indented(error.traceback) if ran else ""
        log.error("%s %s is dead after attempt %d: %s%s", *which, job.attempt, what, trace, extra=about)
    elif settlement.outcome is Outcome.RETRY:
        again = settlement.delay / SECOND
        log.warning("%s %s failed in attempt %d, next in %g s: %s", *which, job.attempt, again, what, extra=about)
    else:
        again = settlement.delay / SECOND
        log.info("%s %s cannot run here, next try in %g s: %s", *which, again, what, extra=about)
