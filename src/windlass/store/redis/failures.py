"""What the driver's and the server's errors mean to a caller of the port."""

from __future__ import annotations

from redis.exceptions import (
    AskError,
    AuthenticationError,
    ClusterDownError,
    MasterDownError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from windlass.core.errors import (
    SchemaMismatch,
    StaleEnqueue,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
)

_NOT_NOW = ("BUSY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "ASK ", "NOREPLICAS", "UNKILLABLE", "MISCONF")

_NOT_NOW_CLASSES = (AskError, ClusterDownError, MasterDownError, TryAgainError)


class Disconnected(StoreUnavailable):
    """The connection ended; what was sent may have been done. Another connection may be had at once."""


def is_unknown_script(answer: object) -> bool:
    """Whether the server does not have the script (any more)."""
    return isinstance(answer, NoScriptError) or (isinstance(answer, ResponseError) and _text(answer)[:8] == "NOSCRIPT")


def is_read_only(answer: object) -> bool:
    """Whether the server is a replica, and refused to write anything. (A parser may have taken the word away.)"""
    return isinstance(answer, ReadOnlyError) or (isinstance(answer, ResponseError) and _text(answer)[:8] == "READONLY")


def moved_to(answer: object) -> tuple[str, int] | None:
    """Where a cluster says that the namespace is, if it says that it is elsewhere."""
    if not isinstance(answer, ResponseError):
        return None
    words = _text(answer).split()
    # A parser that knows of clusters has taken the first word away.
    if type(answer).__name__ != "MovedError":
        if len(words) != 3 or words[0] != "MOVED":
            return None
        words = words[1:]
    host, _, port = words[1].rpartition(":")
    return host, int(port)


def translate(error: Exception, url: str, seconds: float) -> StoreError:
    """Say in the port's words, and with the store's URL, what went wrong."""
    if isinstance(error, StoreError):
        return error
    if isinstance(error, ResponseError) and not isinstance(error, AuthenticationError):
        return refused(error, url)
    if isinstance(error, TimeoutError) or "timeout" in str(error).lower():
        return StoreUnavailable(f"{url} did not answer within {seconds:.1f} s")
    if isinstance(error, AuthenticationError):
        return StoreUnavailable(f"{url} refuses us: {error}; look at user and password in the URL")
    if isinstance(error, RedisError | OSError):
        return Disconnected(f"cannot reach {url} (tried for {seconds:.1f} s): {_reason(error)}")
    return StoreError(f"{url}: {error!r}")


def refused(error: ResponseError, url: str) -> StoreError:
    """Say what an error means that the server answered."""
    text = _text(error)
    if text.startswith("STALE "):
        age = int(text.split()[1])
        return StaleEnqueue(f"first sent {age / 1e6:.0f} s ago, too long to repeat it safely: look the jobs up by id")
    if text.startswith("LAYOUT "):
        return SchemaMismatch(
            f"{url}: the layout there is of version {text.split()[1]}, which this version of Windlass does not know"
        )
    if isinstance(error, OutOfMemoryError) or text.startswith("OOM"):
        return StoreFull(
            f"no room left in {url}: its maxmemory is reached; nothing of this call was stored. Workers can still "
            "finish what is there"
        )
    if is_read_only(error):
        return StoreReadOnly(f"{url} is a read-only replica; use the address of its master")
    if isinstance(error, NoPermissionError) or text.startswith("NOPERM"):
        return StoreReadOnly(f"{url}: this user may not do what a store must: {text}")
    if text.startswith(_NOT_NOW) or isinstance(error, _NOT_NOW_CLASSES):
        return StoreUnavailable(f"{url} cannot serve just now: {text}")
    return StoreError(f"{url}: {text}")


def _reason(error: Exception) -> str:
    cause: BaseException = error
    while cause.__context__ is not None and not isinstance(cause, OSError):
        cause = cause.__context__
    found = getattr(cause, "strerror", None) or str(error) or type(error).__name__
    return str(found)


def _text(error: Exception) -> str:
    return str(error)
