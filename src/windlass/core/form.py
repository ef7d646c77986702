"""A function's parameters as a msgspec Struct, so that binding, encoding and typed decoding all run in C."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from inspect import Parameter
from types import GenericAlias
from typing import Any, get_origin, get_type_hints

import msgspec
from msgspec import UNSET

from windlass.core import foreign
from windlass.core.errors import InvalidOption

_VARIADIC = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
_PLAIN_DEFAULTS = (bool, int, float, str, bytes, type(None))


def check_function(task: str, function: object) -> None:
    """Refuse what cannot be a task, with `InvalidOption`: anything but a plain function or coroutine function."""
    if isinstance(function, (staticmethod, classmethod)) or inspect.ismethod(function):
        raise InvalidOption(f"task {task!r}: methods cannot be tasks; write a plain function that calls the method")
    if not inspect.isfunction(function):
        raise InvalidOption(f"task {task!r}: expected a function, got {type(function).__name__}")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise InvalidOption(f"task {task!r}: generators cannot be tasks; return one value, for example a list")
    first = next(iter(inspect.signature(function).parameters), None)
    inside = function.__qualname__.rpartition(".")[0]
    if first in ("self", "cls") and inside and not inside.endswith("<locals>"):
        raise InvalidOption(
            f"task {task!r}: {function.__qualname__} is a method; decorate a plain function that takes what it needs"
        )


class Form:
    """What `Signature` needs of one function; made once, when the hints can be resolved."""

    def __init__(self, task: str, function: Callable[..., Any]) -> None:
        signature = inspect.signature(function)
        hints = _resolve(task, function)
        self.parameters: tuple[Parameter, ...] = tuple(
            p.replace(annotation=hints.get(p.name, Any)) for p in signature.parameters.values()
        )
        self.returns: Any = hints.get("return", Any)
        self.text = f"{function.__name__}{_shown(signature, self.parameters, hints)}"
        struct = _struct(task, self.parameters, _of_worker)
        self.fields: tuple[str, ...] = struct.__struct_fields__
        self.info: Mapping[str, msgspec.inspect.Type] = _inspect(task, struct)
        self.returns_info = _inspect_return(task, self.returns)
        self.given = _struct(task, self.parameters, _of_caller)
        self.encode: Callable[[Any], bytes] = msgspec.json.Encoder(enc_hook=foreign.enc_hook).encode
        self.decode_given: Callable[[bytes], Any] = msgspec.json.Decoder(self.given, dec_hook=foreign.dec_hook).decode
        """To what `bind` made: defaults are left open."""
        self.decode: Callable[[bytes], Any] = msgspec.json.Decoder(struct, dec_hook=foreign.dec_hook).decode
        """To what the function is called with."""
        self.decode_result: Callable[[bytes], Any] = msgspec.json.Decoder(
            self.returns, dec_hook=foreign.dec_hook
        ).decode
        kinds = {p.kind for p in self.parameters}
        by_c = kinds <= {Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY}
        self.bind: Callable[..., Any] = self.given if by_c else self._bind
        self.positional = kinds <= {Parameter.POSITIONAL_OR_KEYWORD, Parameter.POSITIONAL_ONLY} and not any(
            _is_odd(p) for p in self.parameters
        )
        """Whether the Struct's values, in their order, are the arguments of the call."""
        self._signature = signature
        self._columns: dict[str, Callable[[bytes], list[Any]]] = {}

    @cached_property
    def partial(self) -> type[msgspec.Struct]:
        """The parameters, none of which need be there; by name only."""
        fields = [(p.name, _field(p, _of_caller)[1], UNSET) for p in self.parameters]
        options: dict[str, Any] = {"forbid_unknown_fields": True, "omit_defaults": True, "kw_only": True}
        return msgspec.defstruct("Arguments", fields, **options)

    @cached_property
    def decode_results(self) -> Callable[[bytes], list[Any]]:
        """To a list of what the function returns."""
        hint = GenericAlias(list, (self.returns,))
        return msgspec.json.Decoder(hint, dec_hook=foreign.dec_hook).decode

    def column(self, name: str) -> Callable[[bytes], list[Any]]:
        """A decoder to a list of arguments of one parameter."""
        found = self._columns.get(name)
        if found is None:
            hint = next(p.annotation for p in self.parameters if p.name == name)
            found = self._columns[name] = msgspec.json.Decoder(
                GenericAlias(list, (hint,)), dec_hook=foreign.dec_hook
            ).decode
        return found

    @cached_property
    def decode_partial(self) -> Callable[[bytes], Any]:
        """To a `partial`."""
        return msgspec.json.Decoder(self.partial, dec_hook=foreign.dec_hook).decode

    def _bind(self, *args: Any, **kwargs: Any) -> Any:
        """Bind as Python itself does, for the kinds of parameters that a Struct does not have."""
        given = self._signature.bind(*args, **kwargs).arguments
        for parameter in self.parameters:
            if parameter.kind is Parameter.VAR_POSITIONAL and parameter.name in given:
                given[parameter.name] = list(given[parameter.name])
        return self.given(**given)

    def unbind(self, bound: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Turn a Struct back into the arguments of a call."""
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for parameter in self.parameters:
            value = getattr(bound, parameter.name)
            if parameter.kind is Parameter.VAR_POSITIONAL:
                args.extend(() if value is UNSET else value)
            elif parameter.kind is Parameter.VAR_KEYWORD:
                kwargs.update({} if value is UNSET else value)
            elif parameter.kind is Parameter.KEYWORD_ONLY:
                kwargs[parameter.name] = parameter.default if value is UNSET else value
            else:
                args.append(parameter.default if value is UNSET else value)
        return tuple(args), kwargs

    def default_of(self, name: str) -> Any:
        """A parameter's default."""
        return next(p.default for p in self.parameters if p.name == name)

    def why_unbound(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
        """Say in Python's own words why these arguments do not fit."""
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as error:
            return str(error)
        return "the arguments do not fit"


def _resolve(task: str, function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except NameError:
        raise
    except Exception as error:
        raise InvalidOption(f"task {task!r}: its type hints cannot be read: {error}") from error


def _is_odd(parameter: Parameter) -> bool:
    """Say whether the default stays out of the payload and of the Struct: mutable, or nothing that JSON could say."""
    return parameter.default is not Parameter.empty and type(parameter.default) not in _PLAIN_DEFAULTS


def _of_worker(parameter: Parameter) -> Any:
    """What a worker takes for an argument that was not passed, as far as it need not ask the function."""
    return UNSET if _is_odd(parameter) else parameter.default


def _of_caller(parameter: Parameter) -> Any:
    """Nothing: what is passed travels, also where it says what the default says, which may be another one in the
    version that runs the job. But a default that its own hint rejects can only be left out, ``a: int = None``."""
    if not _is_odd(parameter):
        try:
            msgspec.convert(parameter.default, parameter.annotation, dec_hook=foreign.dec_hook)
        except Exception:  # noqa: BLE001 - hooks of users' types may raise anything
            return parameter.default
    return UNSET


def _field(parameter: Parameter, default: Callable[[Parameter], Any]) -> tuple[str, Any] | tuple[str, Any, Any]:
    name, hint = parameter.name, parameter.annotation
    if parameter.kind is Parameter.VAR_POSITIONAL:
        return name, GenericAlias(list, Any if _is_unpacked(hint) else hint), UNSET
    if parameter.kind is Parameter.VAR_KEYWORD:
        return name, hint.__args__[0] if _is_unpacked(hint) else GenericAlias(dict, (str, hint)), UNSET
    if parameter.default is Parameter.empty:
        return name, hint
    return name, hint, default(parameter)


def _is_unpacked(hint: Any) -> bool:
    return getattr(get_origin(hint), "__name__", None) == "Unpack" or getattr(hint, "__unpacked__", False)


def _struct(task: str, parameters: Sequence[Parameter], default: Callable[[Parameter], Any]) -> type[msgspec.Struct]:
    """Make a Struct. Keyword-only parameters come from a base class, since msgspec decides that per class."""
    by_name = [p for p in parameters if p.kind is Parameter.KEYWORD_ONLY]
    variadic = any(p.kind in _VARIADIC for p in parameters)
    rest = [p for p in parameters if variadic or p not in by_name]
    options: dict[str, Any] = {"forbid_unknown_fields": True, "omit_defaults": True}
    try:
        bases: tuple[type[msgspec.Struct], ...] | None = None
        if by_name and not variadic:
            bases = (msgspec.defstruct("Arguments", [_field(p, default) for p in by_name], kw_only=True, **options),)
        fields = [_field(p, default) for p in rest]
        return msgspec.defstruct("Arguments", fields, bases=bases, kw_only=variadic, **options)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidOption(f"task {task!r}: its parameters cannot be described: {error}") from error


def _inspect(task: str, struct: type[msgspec.Struct]) -> dict[str, msgspec.inspect.Type]:
    found = {}
    for name, hint in get_type_hints(struct, include_extras=True).items():
        found[name] = _checked(f"task {task!r}, parameter `{name}`", hint)
    return found


def _inspect_return(task: str, hint: Any) -> msgspec.inspect.Type:
    return _checked(f"task {task!r}, its return hint", hint)


def _checked(where: str, hint: Any) -> msgspec.inspect.Type:
    """Read a hint as msgspec does, and refuse what could never travel."""
    try:
        # The decoder is what refuses unions that JSON cannot tell apart.
        msgspec.json.Decoder(hint)
        info = msgspec.inspect.type_info(hint)
    except (TypeError, ValueError) as error:
        raise InvalidOption(f"{where}: {error}") from error
    stranger = _stranger(info, set())
    if stranger is not None:
        raise InvalidOption(
            f"{where}: a `{stranger}` cannot travel as JSON; use a dataclass, a msgspec.Struct, a pydantic model or a "
            "built-in type, or pass what the task needs to find it, such as an id"
        )
    return info


def _stranger(info: Any, seen: set[int]) -> str | None:
    """Find a class that neither msgspec nor we know, anywhere inside a hint."""
    if id(info) in seen:
        return None
    seen.add(id(info))
    if isinstance(info, msgspec.inspect.CustomType):
        return None if foreign.is_known(info.cls) else info.cls.__qualname__
    parts: list[Any] = []
    for name in getattr(info, "__struct_fields__", ()):
        value = getattr(info, name)
        parts.extend(value if isinstance(value, tuple) else (value,))
    inside = (part for part in parts if isinstance(part, (msgspec.inspect.Type, msgspec.inspect.Field)))
    return next((found for part in inside if (found := _stranger(part, seen))), None)


def _shown(signature: inspect.Signature, parameters: Sequence[Parameter], hints: Mapping[str, Any]) -> str:
    """The signature for messages; defaults are left out, since they may be long or secret."""
    shown = [p if p.default is Parameter.empty else p.replace(default=...) for p in parameters]
    shown = [p if p.name in hints else p.replace(annotation=Parameter.empty) for p in shown]
    returns = hints.get("return", inspect.Signature.empty)
    return str(signature.replace(parameters=shown, return_annotation=returns)).replace("Ellipsis", "...")
