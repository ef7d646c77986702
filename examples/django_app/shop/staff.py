"""Who may do what in Windlass's web UI: Django's users, by their sessions."""

from importlib import import_module
from io import BytesIO
from typing import Any

from django.conf import settings
from django.contrib.auth import aget_user
from django.core.handlers.asgi import ASGIRequest

from windlass.web import Role

Session = import_module(settings.SESSION_ENGINE).SessionStore


async def who(scope: Any) -> tuple[str, Role] | None:
    """Staff may steer what runs, superusers may do everything; others do not get in."""
    request = ASGIRequest({**scope, "root_path": ""}, BytesIO())
    request.session = Session(request.COOKIES.get(settings.SESSION_COOKIE_NAME))
    user = await aget_user(request)
    if not user.is_staff:
        return None
    return user.get_username(), Role.ADMIN if user.is_superuser else Role.OPERATOR
