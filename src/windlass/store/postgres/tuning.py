"""Settings under which the functions of the schema are carried out.

A connection of ours has them from its beginning: a function that brings its own costs each call 0.06 to 0.1 ms,
whichever they are. Only what strangers call through their own connections brings them. Behind a pooler that gives each
transaction another connection, they are set for the transaction.
"""

from __future__ import annotations

SETTINGS = (
    'search_path = "{schema}", pg_temp',
    # Plans do not hang on statistics: every table is reached by an index, whatever it held when it was last analysed.
    "enable_seqscan = off",
    "enable_hashjoin = off",
    "enable_mergejoin = off",
    "jit = off",
    "plan_cache_mode = force_generic_plan",
)
"""With the place for the schema's name."""
AT_LEISURE = (
    "BEGIN; SET LOCAL enable_seqscan = on; SET LOCAL enable_hashjoin = on; SET LOCAL enable_mergejoin = on; "
    "SET LOCAL plan_cache_mode = auto"
)
"""Begins a transaction in which a statement may read a whole table, if the planner thinks so."""


def for_connection(schema: str) -> str:
    """What to say once."""
    return "; ".join(f"SET {setting.format(schema=schema)}" for setting in SETTINGS)


def for_transaction(schema: str) -> str:
    """What to begin each transaction with."""
    return "; ".join(["BEGIN", *(f"SET LOCAL {setting.format(schema=schema)}" for setting in SETTINGS)])
