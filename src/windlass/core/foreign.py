"""Types that msgspec does not know, and that travel all the same: pydantic models and paths.

Neither pydantic nor pathlib is imported from here: who has a model or a path has imported it already.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import Any

import msgspec


def enc_hook(value: Any) -> Any:
    """Turn ``value`` into what msgspec can encode. Raises ``NotImplementedError`` for a type that nobody knows."""
    if _is_path(type(value)):
        return str(value)
    if is_model(type(value)):
        # Mode "json", but as objects and not as text: so a NaN inside stays one and can be found.
        return value.model_dump(mode="json", by_alias=True, round_trip=True)
    raise NotImplementedError(f"JSON cannot say a `{type(value).__qualname__}`")


def dec_hook(kind: type[Any], value: Any) -> Any:
    """Build a ``kind`` from decoded JSON. Raises ``ValueError`` where the value does not fit."""
    if is_model(kind):
        return _build_model(kind, value)
    if _is_path(kind):
        if not isinstance(value, str):
            raise ValueError(f"Expected `{kind.__name__}` as text, got `{type(value).__name__}`")
        return kind(value)
    raise NotImplementedError(f"nothing builds a {kind.__qualname__}")


def _build_model(kind: type[Any], value: Any) -> Any:
    try:
        # From JSON text, because strict models take text for a datetime there, and only there.
        return kind.model_validate_json(msgspec.json.encode(value))
    except sys.modules["pydantic"].ValidationError as error:
        # Its own text quotes the input, and messages must not leak arguments.
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{kind.__name__}{where and '.'}{where}: {first['msg']}") from None


def is_known(kind: object) -> bool:
    """Say whether `enc_hook` and `dec_hook` know the class."""
    return is_model(kind) or _is_path(kind)


def is_model(kind: object) -> bool:
    """Say whether ``kind`` is a class of pydantic models."""
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and isinstance(kind, type) and _derives(kind, pydantic.BaseModel)


def _is_path(kind: object) -> bool:
    pathlib = sys.modules.get("pathlib")
    return pathlib is not None and isinstance(kind, type) and _derives(kind, pathlib.PurePath)


@lru_cache(maxsize=1024)
def _derives(kind: type[Any], base: type[Any]) -> bool:
    return issubclass(kind, base)
