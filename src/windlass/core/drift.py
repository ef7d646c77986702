"""What a value would become on its way through JSON, where that differs from what was given.

JSON knows fewer types than Python. With a hint the value comes back as what the hint says; without one, a datetime
would silently arrive as text. These functions find such places, so that they are refused where the value enters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import msgspec
from msgspec import inspect

from windlass.core import foreign

Found: TypeAlias = tuple[str, str]
"""(path below the parameter, what is wrong there)."""

_ANY = inspect.AnyType()
_LISTS = (inspect.ListType, inspect.SetType, inspect.FrozenSetType, inspect.VarTupleType)
_OBJECTS = (inspect.StructType, inspect.DataclassType, inspect.TypedDictType, inspect.NamedTupleType)


def find_nan(value: Any) -> bool:
    """Say whether a NaN or an infinity hides in ``value``: msgspec would write it as null."""
    try:
        return _any_nan(msgspec.to_builtins(value, enc_hook=foreign.enc_hook))
    except (TypeError, ValueError):
        return False


def _any_nan(value: object) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, dict):
        return any(_any_nan(key) or _any_nan(item) for key, item in value.items())
    if isinstance(value, (list, tuple, set, frozenset)):
        return any(_any_nan(item) for item in value)
    return False


def find_drift(given: Any, got: Any, hint: inspect.Type) -> Found | None:
    """Compare what was given with what would arrive, and find the first place where a type was lost.

    What a hint asks for is no loss: a tuple for a ``Sequence``, text for a ``datetime``, an int for a ``float``.
    """
    if given is got:
        return None
    hint = _branch(hint, got)
    match got:
        case str():
            return None if isinstance(given, str) else ("", _arrives(given, got))
        case bool() | int() | float() | None:
            return None if isinstance(given, (int, float, type(None))) else ("", _arrives(given, got))
        case list() if hint == _ANY and not isinstance(given, list):
            return "", _arrives(given, got)
        case dict() if not isinstance(given, dict):
            return "", _arrives(given, got)
        case dict():
            return _first(_entries(given, got, hint))
    if isinstance(hint, _OBJECTS) and type(given) is type(got):
        return _first(
            _below(f".{f.name}", getattr(given, f.name, None), getattr(got, f.name, None), f.type) for f in hint.fields
        )
    if isinstance(got, (list, tuple)) and isinstance(given, (list, tuple)):
        return _first(_below(f"[{i}]", a, b, _item(hint, i)) for i, (a, b) in enumerate(zip(given, got, strict=False)))
    return None


def _entries(given: dict[Any, Any], got: dict[Any, Any], hint: inspect.Type) -> Iterator[Found | None]:
    for key, value in given.items():
        if key not in got:
            # An enum or the like as a typed key comes back as itself; a key that is gone has become text.
            yield "", f"the key of type `{type(key).__name__}` would arrive as `str`"
        else:
            yield _below(f"[{str(key)[:40]!r}]", value, got[key], _value(hint, key))


def _below(step: str, given: Any, got: Any, hint: inspect.Type) -> Found | None:
    found = find_drift(given, got, hint)
    return found and (step + found[0], found[1])


def _first(found: Iterator[Found | None]) -> Found | None:
    return next((one for one in found if one is not None), None)


def _arrives(given: Any, got: Any) -> str:
    return f"`{type(given).__name__}` would arrive as `{'null' if got is None else type(got).__name__}`"


def _branch(hint: inspect.Type, got: object) -> inspect.Type:
    """Choose the member of a union that built ``got``, as far as it matters: unions hold one list and one object."""
    if not isinstance(hint, inspect.UnionType):
        return hint
    wanted: Callable[[inspect.Type], bool]
    if isinstance(got, dict):
        wanted = lambda one: isinstance(one, (inspect.DictType, inspect.TypedDictType))  # noqa: E731
    elif isinstance(got, (list, tuple)):
        wanted = lambda one: isinstance(one, (*_LISTS, inspect.TupleType, inspect.NamedTupleType))  # noqa: E731
    else:
        wanted = lambda one: getattr(one, "cls", None) is type(got)  # noqa: E731
    return next((one for one in hint.types if wanted(one)), hint)


def _item(hint: inspect.Type, index: int) -> inspect.Type:
    if isinstance(hint, _LISTS):
        return hint.item_type
    if isinstance(hint, inspect.TupleType) and index < len(hint.item_types):
        return hint.item_types[index]
    return _ANY


def _value(hint: inspect.Type, key: object) -> inspect.Type:
    if isinstance(hint, inspect.DictType):
        return hint.value_type
    if isinstance(hint, inspect.TypedDictType):
        return next((field.type for field in hint.fields if field.name == key), _ANY)
    return _ANY
