"""Arguments and results as bytes: JSON by msgspec, with types by the task's own hints, both ways.

A payload is a JSON object, parameter name to value, so that SQL, other languages and people can read it. Nothing but
the types that the task's hints name is ever built from stored bytes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec
from msgspec import UNSET
from msgspec.structs import astuple

from windlass.core.drift import find_drift, find_nan
from windlass.core.errors import InvalidArguments, InvalidOption, InvalidResult, PayloadTooLarge, UndecodablePayload
from windlass.core.form import Form, check_function
from windlass.core.model import MAX_PAYLOAD, MAX_RESULT
from windlass.core.remote import decode_error, encode_error, rebuild_error

__all__ = ["Signature", "decode_error", "encode_error", "rebuild_error"]

_NO_JSON = "JSON cannot say"
_NO_NAN = "JSON cannot say NaN or infinity; use None, or text"
_LONGEST = 500
"""Characters of somebody else's message that ours repeats."""
_DECODE_OBJECT = msgspec.json.Decoder(dict[str, Any]).decode
_MISSING = "Object missing required field "
_MISFITS = (
    ("Object contains unknown field ", "this version of the task has no such parameter"),
    (_MISSING, "it is missing, and this version of the task has no default for it"),
)
_HOPELESS = ("Integer value out of range", "Number out of range")


class Signature:
    """How one task's arguments and results travel; made once, at registration.

    Hints that name something defined later are resolved at first use. Raises `InvalidOption` where the function cannot
    be a task, or where a hint names a type that cannot travel.
    """

    __slots__ = ("_form", "_function", "max_payload", "max_result", "task")

    def __init__(
        self,
        task: str,
        function: Callable[..., Any],
        *,
        max_payload: int = MAX_PAYLOAD,
        max_result: int = MAX_RESULT,
    ) -> None:
        check_function(task, function)
        self.task = task
        self.max_payload = max_payload
        """Bytes."""
        self.max_result = max_result
        """Bytes."""
        self._function = function
        self._form: Form | None = None
        try:
            self._form = Form(task, function)
        except NameError:
            pass

    def resolve(self) -> None:
        """Resolve the hints now. Raises `InvalidOption` if one names what does not exist."""
        self._form = self._form or self._read()

    def _read(self) -> Form:
        try:
            self._form = Form(self.task, self._function)
        except NameError as error:
            raise InvalidOption(
                f"task {self.task!r}: a type hint cannot be resolved: {error}; names in hints must exist at run time "
                "(not only under TYPE_CHECKING, nor only inside another function)"
            ) from error
        return self._form

    # ---------------------------------------------------------------------------------------------- arguments

    def encode(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
        """Bind and encode the arguments of a call, and prove that a worker will be able to decode them.

        Raises:
            InvalidArguments: they do not fit the signature or its hints, or JSON cannot say them.
            PayloadTooLarge: more than `max_payload` bytes.
        """
        form = self._form or self._read()
        return self._encode(form, self._bind(form, args, kwargs), form.decode_given)

    def encode_around(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], punch: Callable[[str, Any], Any]
    ) -> bytes:
        """As `encode`, where some values come later.

        Args:
            args: the arguments by position.
            kwargs: the arguments by name.
            punch: called with each parameter and its argument: gives the argument with ``None`` in place of what comes
                later, or the very same, if nothing does. What has such holes is not held to its hint yet.
        """
        form = self._form or self._read()
        bound = self._bind(form, args, kwargs)
        rest: dict[str, Any] = {}
        holed = False
        for name in form.fields:
            value = getattr(bound, name)
            if value is UNSET:
                continue
            kept = punch(name, value)
            if kept is value:
                rest[name] = value
            else:
                holed = True
                setattr(bound, name, kept)
        if not holed:
            return self._encode(form, bound, form.decode_given)
        self._encode(form, form.partial(**rest), form.decode_partial)
        try:
            payload = form.encode(bound)
        except Exception as error:  # noqa: BLE001 - as in `_encode`
            raise self._refused(form, bound, error) from None
        if len(payload) > self.max_payload:
            raise self._too_large("arguments", len(payload), self.max_payload)
        return payload

    def encode_one(self, name: str, value: Any) -> bytes:
        """Encode the argument of one parameter. Raises as `encode`."""
        form = self._form or self._read()
        if name not in form.fields:
            raise InvalidArguments(f"task {self.task!r} has no parameter {name!r}; {_wanted(form)}")
        self._encode(form, form.partial(**{name: value}), form.decode_partial)
        return form.encode(value)

    def check_size(self, payload: bytes) -> None:
        """Raise `PayloadTooLarge` for more than `max_payload` bytes."""
        if len(payload) > self.max_payload:
            raise self._too_large("arguments", len(payload), self.max_payload)

    def check_complete(self, given: Collection[str]) -> None:
        """Raise `InvalidArguments` for a parameter that has no default, and no argument among these names."""
        form = self._form or self._read()
        for one in form.parameters:
            is_single = one.kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
            if is_single and one.default is inspect.Parameter.empty and one.name not in given:
                raise InvalidArguments(
                    f"task {self.task!r}: missing a required argument: {one.name!r}; {_wanted(form)}"
                )

    def encode_column(self, name: str, values: Sequence[Any]) -> bytes:
        """Encode many arguments of one parameter as a list, and prove each. Raises as `encode`."""
        form = self._form or self._read()
        given = list(values)
        with suppress(Exception):  # the item that is to blame says more
            data = form.encode(given)
            if _equal(form.column(name)(data), given):
                return data
        return b"[%s]" % b",".join([self.encode_one(name, value) for value in given])

    def decode_column(self, name: str, data: bytes) -> list[Any]:
        """Turn a list that `encode_column` made into arguments. Raises `InvalidArguments`."""
        form = self._form or self._read()
        if name not in form.fields:
            raise InvalidArguments(f"task {self.task!r} has no parameter {name!r}; {_wanted(form)}")
        try:
            return form.column(name)(data)
        except Exception as error:  # noqa: BLE001 - as in decode
            raise InvalidArguments(f"task {self.task!r}, argument `{name}`{_located(error)}; {_wanted(form)}") from None

    def decode_some(self, payload: bytes) -> dict[str, Any]:
        """Turn some arguments, by name, into what the task gets. Raises `InvalidArguments`."""
        form = self._form or self._read()
        try:
            bound = form.decode_partial(payload)
        except Exception as error:  # noqa: BLE001 - as in decode
            raise InvalidArguments(f"task {self.task!r}{_located(error)}; {_wanted(form)}") from None
        return {name: value for name in form.fields if (value := getattr(bound, name)) is not UNSET}

    @property
    def positional(self) -> tuple[str, ...]:
        """The parameters that can be given by position, in their order."""
        form = self._form or self._read()
        kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        return tuple(one.name for one in form.parameters if one.kind in kinds)

    @property
    def names(self) -> tuple[str, ...]:
        """All parameters, in their order."""
        return tuple((self._form or self._read()).fields)

    def _bind(self, form: Form, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        try:
            return form.bind(*args, **kwargs)
        except TypeError:
            raise InvalidArguments(f"task {self.task!r}: {form.why_unbound(args, kwargs)}; {_wanted(form)}") from None

    def _encode(self, form: Form, bound: Any, decode: Callable[[bytes], Any]) -> bytes:
        try:
            payload = form.encode(bound)
            if len(payload) > self.max_payload:
                raise self._too_large("arguments", len(payload), self.max_payload)
            back = decode(payload)
        except PayloadTooLarge:
            raise
        except Exception as error:  # noqa: BLE001 - hooks and __post_init__ of users' types may raise anything
            raise self._refused(form, bound, error) from None
        # What comes back equal has lost nothing; NaN, unequal even to itself, never does.
        if not _equal(back, bound):
            self._look_closer(form, bound, back, payload)
        return payload

    def decode(self, payload: bytes, *, filled: bool = False) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Turn a payload into the arguments of a call. ``filled``: it has results of other jobs in it, which have a
        limit of their own.

        Raises:
            InvalidArguments: the hints or the limit reject them; another version of the task may accept them.
            UndecodablePayload: no version could read them (no JSON object, too deep, impossible numbers).
        """
        form = self._form or self._read()
        if len(payload) > self.max_payload and not filled:
            # Not hopeless: a worker with a higher limit may be on its way.
            raise InvalidArguments(f"task {self.task!r}: {len(payload)} bytes exceed the limit of {self.max_payload}")
        try:
            bound = form.decode(payload)
        except Exception as error:  # noqa: BLE001 - as above; and hostile bytes must never stop a worker
            raise self._undecodable(form, payload, error) from None
        return (astuple(bound), {}) if form.positional else form.unbind(bound)

    def argument(self, payload: bytes, name: str) -> Any:
        """One argument of a payload that `encode` made, as the task gets it."""
        form = self._form or self._read()
        value = getattr(form.decode(payload), name)
        return form.default_of(name) if value is UNSET else value

    def hint(self, name: str) -> msgspec.inspect.Type | None:
        """What a parameter's hint says; ``None`` while it names what is defined later."""
        return None if self._form is None else self._form.info[name]

    def describe(self) -> str:
        """The function's name and parameters with their hints, for messages."""
        return (self._form or self._read()).text

    def _refused(self, form: Form, bound: Any, error: Exception) -> InvalidArguments:
        """Find the argument that was refused, and say so."""
        for name in form.fields:
            given = getattr(bound, name)
            why = None if given is UNSET else _why_unencodable(form, given) or (_NO_NAN if find_nan(given) else None)
            if why:
                return InvalidArguments(f"task {self.task!r}, argument `{name}`: {why}; {_wanted(form)}")
        return InvalidArguments(f"task {self.task!r}{_located(error)}; {_wanted(form)}")

    def _look_closer(self, form: Form, bound: Any, back: Any, payload: bytes) -> None:
        """Arguments came back unequal: find out whether that is what the hints ask for."""
        for name in form.fields:
            given, got = getattr(bound, name), getattr(back, name)
            where = f"task {self.task!r}, argument `{name}"
            if b"null" in payload and find_nan(given):
                raise InvalidArguments(f"{where}`: {_NO_NAN}")
            try:
                found = find_drift(given, got, form.info[name])
            except RecursionError:
                found = ("", "nested too deeply")
            if found:
                path, what = found
                advice = _advice(form, name, given, nested=bool(path))
                raise InvalidArguments(f"{where}{path}`: {what}{advice}; {_wanted(form)}")

    def _undecodable(self, form: Form, payload: bytes, error: Exception) -> Exception:
        """Tell arguments that do not fit here from bytes that fit nowhere."""
        flaw = _flaw(payload)
        if flaw is None and str(error).startswith(_HOPELESS):
            flaw = str(error)
        if flaw is not None:
            return UndecodablePayload(f"task {self.task!r}: the stored arguments cannot be decoded: {flaw[:_LONGEST]}")
        if isinstance(error, msgspec.ValidationError):
            misfit = InvalidArguments(f"task {self.task!r}{_misfit(error)}; {_wanted(form)}")
            misfit.argument = _root(error)
            return misfit
        # A type's own __post_init__ or hook, with an exception that msgspec does not translate.
        what = f"{type(error).__name__}: {error}"[:_LONGEST]
        return InvalidArguments(f"task {self.task!r}: {what}; {_wanted(form)}")

    # ------------------------------------------------------------------------------------------------ results

    def encode_result(self, value: Any) -> bytes:
        """Encode what the task returned, and prove that a caller will be able to decode it.

        Without a return hint JSON decides: tuples come back as lists; a datetime is refused.

        Raises:
            InvalidResult: it does not fit the return hint, or JSON cannot say it.
            PayloadTooLarge: more than `max_result` bytes.
        """
        if value is None:
            return self._encode_none()
        form = self._form or self._read()
        try:
            data = form.encode(value)
            if len(data) > self.max_result:
                raise self._too_large("result", len(data), self.max_result)
            back = form.decode_result(data)
        except PayloadTooLarge:
            raise
        except Exception as error:  # noqa: BLE001 - hooks and __post_init__ of users' types may raise anything
            why = _why_unencodable(form, value) or (_NO_NAN if find_nan(value) else None)
            text = f": {why}" if why else _located(error, "at")
            raise InvalidResult(f"task {self.task!r}, result{text}; {_wanted(form)}") from None
        if not _equal(back, value):
            self._look_closer_at_result(form, value, back, data)
        return data

    def _encode_none(self) -> bytes:
        form = self._form or self._read()
        try:
            form.decode_result(b"null")
        except msgspec.ValidationError as error:
            raise InvalidResult(f"task {self.task!r}, result{_located(error, 'at')}; {_wanted(form)}") from None
        return b"null"

    def _look_closer_at_result(self, form: Form, value: Any, back: Any, data: bytes) -> None:
        where = f"task {self.task!r}, result"
        if b"null" in data and find_nan(value):
            raise InvalidResult(f"{where}: {_NO_NAN}")
        # Nobody annotates everything, and the work is done: a tuple may become a list here, unlike in arguments.
        given = list(value) if type(value) is tuple and isinstance(back, list) else value
        found = find_drift(given, back, form.returns_info)
        if found:
            raise InvalidResult(f"{where}{found[0]}: {found[1]}; annotate what {form.text} returns")

    def decode_result(self, data: bytes) -> Any:
        """Turn a stored result into what the task returned. Raises `InvalidResult` if the return hint rejects it."""
        form = self._form or self._read()
        try:
            return form.decode_result(data)
        except Exception as error:  # noqa: BLE001 - as in decode
            raise InvalidResult(f"task {self.task!r}, stored result{_located(error, 'at')}; {_wanted(form)}") from None

    def encode_results(self, values: list[Any]) -> bytes:
        """Encode many results as a list, and prove each. Raises as `encode_result`, but for its limit."""
        form = self._form or self._read()
        with suppress(Exception):  # the result that is to blame says more
            data = form.encode(values)
            if _equal(form.decode_results(data), values):
                return data
        return b"[%s]" % b",".join([self.encode_result(value) for value in values])

    def decode_results(self, data: bytes) -> list[Any]:
        """Turn what `encode_results` made into results. Raises `InvalidResult`."""
        form = self._form or self._read()
        try:
            return form.decode_results(data)
        except Exception as error:  # noqa: BLE001 - as in decode
            raise InvalidResult(f"task {self.task!r}, stored result{_located(error, 'at')}; {_wanted(form)}") from None

    def _too_large(self, what: str, size: int, limit: int) -> PayloadTooLarge:
        return PayloadTooLarge(
            f"task {self.task!r}: {what} of {size} bytes exceed the limit of {limit}; "
            "store large data elsewhere and pass a reference to it, or raise the limit"
        )


def _wanted(form: Form) -> str:
    return f"the task is {form.text}"


def _misfit(error: msgspec.ValidationError) -> str:
    """Name the argument that the task does not take, or misses: another version of it enqueued the job."""
    text = str(error)
    for said, meant in _MISFITS:
        if text.startswith(said) and " - at `$" not in text:
            return f", argument {text[len(said) :]}: {meant}"
    return _located(error)


def _located(error: Exception, word: str = "argument") -> str:
    """Turn msgspec's "Expected `int`, got `str` - at `$.a[0]`" into ", argument `a[0]`: expected ..."."""
    text, _, path = str(error).partition(" - at `$")
    path = path.rstrip("`").lstrip(".")
    text = text[:1].lower() + text[1:_LONGEST]
    return f", {word} `{path}`: {text}" if path else f": {text}"


def _root(error: Exception) -> str | None:
    """The parameter in msgspec's "... - at `$.a[0]`", or that is missing."""
    text = str(error)
    if text.startswith(_MISSING) and " - at `$" not in text:
        return text.removeprefix(_MISSING).strip("`")
    _, _, path = text.partition(" - at `$.")
    return path.replace("[", ".").replace("`", ".").partition(".")[0] or None


def _why_unencodable(form: Form, value: Any) -> str | None:
    """Say why JSON cannot say ``value``, or ``None`` if it can."""
    try:
        form.encode(value)
    except RecursionError:
        return "nested too deeply, or contains itself"
    except UnicodeEncodeError:
        return f"{_NO_JSON} text with lone surrogates (undecodable bytes?); pass bytes"
    except Exception as error:  # noqa: BLE001 - whatever a user's type raises is the reason
        return str(error)[:_LONGEST]
    return None


def _advice(form: Form, name: str, value: Any, *, nested: bool) -> str:
    """What to write where a hint is missing, or is too vague for the value."""
    if not isinstance(form.info[name], msgspec.inspect.AnyType):
        return ""
    if nested or isinstance(value, dict):
        return f"; annotate `{name}` with the types inside it"
    return f"; annotate `{name}: {type(value).__name__}` so that it arrives as one"


def _flaw(payload: bytes) -> str | None:
    """Say why the bytes are no JSON object; the typed decoder stops at the first thing that does not fit."""
    try:
        _DECODE_OBJECT(payload)
    except (ValueError, RecursionError, MemoryError) as error:
        return str(error)
    return None


def _equal(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except Exception:  # noqa: BLE001 - a user's __eq__ may raise anything
        return False
