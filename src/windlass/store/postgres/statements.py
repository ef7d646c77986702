"""The statements of a schema."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from windlass.store.statements import statements


def in_schema(text: str, schema: str) -> str:
    """A statement in which ``windlass.`` stands for the schema, for that of another name."""
    return text.replace("windlass.", f'"{schema}".')


@cache
def statements_of(schema: str) -> Mapping[str, str]:
    """All named statements."""
    return {name: in_schema(text, schema) for name, text in statements("postgres").items()}
