"""The HTTP API and the web UI: ``pip install windlass[web]``, then ``windlass ui``, or `site` to mount it.

::

    from windlass.web import Role, site

    api.mount("/windlass", site(app, who=whoever_is_logged_in))
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from windlass.web.access.roles import Role, Visitor
    from windlass.web.application import site
    from windlass.web.mounting import mounted

__all__ = ["Role", "Visitor", "mounted", "site"]

_HOMES = {
    "Role": "windlass.web.access.roles",
    "Visitor": "windlass.web.access.roles",
    "mounted": "windlass.web.mounting",
    "site": "windlass.web.application",
}
"""Imported at first use: who only makes a token needs no framework."""


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value
