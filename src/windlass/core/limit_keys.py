"""Limit keys that come from an argument: ``@app.task(limit_by="customer")`` makes ``customer:42``.

The group is the parameter's name, so that tasks which share a parameter share its limits. The value is what JSON makes
of the argument, if that is text or a whole number: so it is the same for ``42`` and ``"42"``, for a UUID and its text,
for a member of an enum and its value.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import inspect as hints

from windlass.core.codec import Signature
from windlass.core.errors import InvalidArguments, InvalidName, InvalidOption
from windlass.core.foreign import enc_hook
from windlass.core.names import check_limit_key

_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_PLAIN = (str, int)
_NO_KEYS = (
    hints.BoolType,
    hints.FloatType,
    hints.CollectionType,
    hints.TupleType,
    hints.DictType,
    hints.TypedDictType,
    hints.NamedTupleType,
    hints.StructType,
    hints.DataclassType,
)


def check_limit_by(signature: Signature, function: Callable[..., Any], limit_by: object) -> str | None:
    """Return the name of the parameter whose argument is to be the limit key, if there is one. Raises `InvalidOption`
    if the task has no such parameter, or one whose arguments could never be a key."""
    if limit_by is None:
        return None
    names = [p.name for p in inspect.signature(function).parameters.values() if p.kind not in _VARIADIC]
    where = f"task {signature.task!r}: limit_by={limit_by!a}"
    if not isinstance(limit_by, str) or limit_by not in names:
        there = f"there {'is' if len(names) == 1 else 'are'} {', '.join(names)}" if names else "it has none"
        raise InvalidOption(
            f"{where}: expected the name of one of its parameters; {there} "
            "(a key of your own: task.options(limit_by='group:value'))"
        )
    hint = signature.hint(limit_by)
    if hint is not None and not _could_be_key(hint):
        raise InvalidOption(f"{where}: a limit key is text or a whole number, which `{limit_by}` never is")
    return limit_by


def _could_be_key(hint: hints.Type) -> bool:
    if isinstance(hint, hints.UnionType):
        return any(_could_be_key(one) for one in hint.types)
    return not isinstance(hint, (*_NO_KEYS, hints.NoneType))


def key_of(signature: Signature, payload: bytes, parameter: str) -> str | None:
    """The limit key of a job with these arguments; ``None`` if the argument is ``None``. Raises `InvalidArguments` if
    it has no clear text, or none that can be a key."""
    value = signature.argument(payload, parameter)
    if value is None:
        return None
    text = value if type(value) in _PLAIN else msgspec.to_builtins(value, enc_hook=enc_hook)
    if type(text) not in _PLAIN:
        raise _refused(signature, parameter, f"expected text or a whole number, got {type(value).__name__}")
    try:
        return check_limit_key(f"{parameter}:{text}")
    except InvalidName as error:
        raise _refused(signature, parameter, str(error)) from None


def _refused(signature: Signature, parameter: str, why: str) -> InvalidArguments:
    return InvalidArguments(f"task {signature.task!r}, argument `{parameter}`, by which it is limited: {why}")
