"""From evidence to an overview of what is stuck: pure, as `judging` is, which says why one job is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from windlass.core.clock import SECOND, Span
from windlass.core.ids import to_text
from windlass.core.records import JobRecord, LaneRecord, LimitScope, SessionRecord
from windlass.core.schedules import DueSchedules
from windlass.doctor.evidence import Evidence
from windlass.doctor.findings import Cause, Finding, Kind, in_words
from windlass.doctor.judging import (
    SHOWN,
    explain,
    lost,
    name_job,
    no_lane,
    paused,
    sentence,
    silent,
)

LATE: Span = 30 * SECOND
"""Two workers that die one after the other delay a schedule by less."""
_WORTH_SAYING = (Kind.LIMIT, Kind.RATE, Kind.FAR)
"""Kinds that an overview names although they pass by themselves."""


def survey(evidence: Evidence) -> list[Finding]:
    """Say what keeps jobs from running: what is stuck first."""
    findings = [finding for lane in evidence.backlog.lanes for finding in _survey_lane(lane, evidence)]
    scheduled = list(evidence.backlog.scheduled)
    last = evidence.backlog.last_scheduled
    if last is not None and all(job.id != last.id for job in scheduled):
        scheduled.append(last)
    findings += _grouped(scheduled, evidence)
    findings += _grouped(evidence.backlog.waiting, evidence)
    findings += _survey_sessions(evidence)
    return sorted(findings, key=lambda finding: not finding.stuck)


def _survey_lane(lane: LaneRecord, evidence: Evidence) -> list[Finding]:
    cause = paused((LimitScope.QUEUE, lane.queue), evidence) or no_lane(lane.queue, lane.requires, evidence)
    if cause is not None:
        return [_finding(cause, lane.first, lane.ready)]
    return _grouped(lane.first, evidence, all_there=len(lane.first) == lane.ready)


def _grouped(jobs: Iterable[JobRecord], evidence: Evidence, *, all_there: bool = True) -> list[Finding]:
    """A finding for each cause."""
    groups: dict[tuple[Kind, str, str, str], list[tuple[JobRecord, Cause]]] = {}
    for job in jobs:
        cause = explain(job, evidence)
        if cause.stuck or cause.kind in _WORTH_SAYING:
            groups.setdefault((cause.kind, cause.text, job.queue, job.task), []).append((job, cause))
    findings = []
    for group in groups.values():
        longest = max((cause for _, cause in group), key=lambda cause: cause.since or 0)
        findings.append(_finding(longest, [job for job, _ in group], len(group), exact=all_there))
    return findings


def _finding(cause: Cause, jobs: Sequence[JobRecord], count: int, *, exact: bool = True) -> Finding:
    """A finding about some jobs of one queue, of which ``jobs`` are the first."""
    first = jobs[0]
    where = f"{first.state.word} in queue {first.queue}"
    if count == 1:
        subject = f"{name_job(first)}, {where}"
    else:
        task = f" of task {first.task}" if all(job.task == first.task for job in jobs) and len(jobs) == count else ""
        subject = f"{'' if exact else 'at least '}{count:,} jobs{task}, {where} (the first is {to_text(first.id)})"
    return Finding(
        kind=cause.kind,
        stuck=cause.stuck,
        sentence=sentence(subject, cause),
        jobs=count,
        examples=[to_text(job.id) for job in jobs[:SHOWN]],
    )


def _survey_sessions(evidence: Evidence) -> list[Finding]:
    causes = []
    for record in evidence.sessions:
        if record.running and not evidence.is_live(record):
            silent_for = evidence.now - record.lease_until
            causes.append((record.running, lost(f"running for {silent(record, evidence)}", evidence, silent_for)))
    unknown = [f"running for session {session.hex()}, which nobody knows" for session in evidence.strangers]
    causes += [(0, lost(text, evidence, None)) for text in unknown]
    return [
        Finding(
            kind=cause.kind,
            stuck=True,
            sentence=sentence(f"{count:,} job{'' if count == 1 else 's'}" if count else "jobs", cause),
            jobs=count,
        )
        for count, cause in causes
        if cause.stuck
    ]


def late_schedules(due: DueSchedules, sessions: Sequence[SessionRecord]) -> list[Finding]:
    """Say which schedules are due, and not fired although there was time enough."""
    late = [one for one in due.schedules if one.next is not None and due.now - one.next > LATE]
    if not late:
        return []
    longest = due.now - min(one.next or due.now for one in late)
    names = ", ".join(one.name for one in late[:SHOWN]) + (", ..." if late[SHOWN:] else "")
    many = len(late) > 1
    what, it = (f"{len(late)} schedules ({names}) were", "them") if many else (f"schedule {names} was", "it")
    text = f"{what} due {in_words(longest)} ago, and "
    if any(one.lease_until > due.now and not one.revoked for one in sessions):
        text += f"no live worker fires {it}: see their logs; perhaps a newer version made {it}"
    else:
        text += f"no worker is live to fire {it}; start one with `windlass worker`"
    return [Finding(kind=Kind.SCHEDULE_LATE, stuck=True, sentence=text)]
