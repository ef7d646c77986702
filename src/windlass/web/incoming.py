"""What is looked at in a request that somebody may make, before a handler gets it."""

from __future__ import annotations

from typing import Any

from litestar import Request
from litestar.exceptions import ClientException

from windlass.web.access.gate import HARMLESS
from windlass.web.slashes import restore_slashes

_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


async def check(request: Request[Any, Any, Any]) -> None:
    """Give a handler names as they are; refuse a body that is no text."""
    restore_slashes(request)
    if request.method not in HARMLESS and request.content_type[0] not in _FORMS:
        try:
            (await request.body()).decode()  # msgspec says it in an error that no framework knows
        except UnicodeDecodeError as error:
            raise ClientException(f"the body is not UTF-8: {error.reason} at byte {error.start}") from None
