"""Figures for Prometheus: of a whole store, read from the store itself, whoever works on it.

`figures` reads and names them, `serving` answers over HTTP; ``rules.yml`` has recording and alert rules for them.
"""

from __future__ import annotations
