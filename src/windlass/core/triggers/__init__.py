"""Triggers: pure functions from one instant to the next at which something is due.

A trigger is data: it is stored with its schedule, compares by value, and reads no clock. Wall times are met as Debian's
cron(8) meets them: one that a change of clocks leaves out is due at the first instant after the gap, one that it
repeats is due the first time only. A trigger without a time zone has that of the app that schedules it; by itself, UTC.
"""

from __future__ import annotations

from windlass.core.triggers.combined import AnyOf, Excluding, Trigger, Within
from windlass.core.triggers.counting import At, Calendar, Every
from windlass.core.triggers.cronlike import Cron, Daily, Monthly, Weekly

__all__ = ["AnyOf", "At", "Calendar", "Cron", "Daily", "Every", "Excluding", "Monthly", "Trigger", "Weekly", "Within"]
