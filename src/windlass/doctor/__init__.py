"""Why does this job not run? Everything that is stuck, each in a sentence.

`reading` collects evidence from a store; `judging` and `surveying` turn evidence into findings, and are pure;
`findings` says what a finding is.
"""

from __future__ import annotations

from windlass.doctor.findings import Finding, Kind
from windlass.doctor.reading import examine, examine_job, examine_jobs

__all__ = ["Finding", "Kind", "examine", "examine_job", "examine_jobs"]
