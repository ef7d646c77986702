"""The HTTP API and the web UI: ``pip install windlass[web]``, then ``windlass ui``, or `site` to mount it.

::

    from windlass.web import Role, site

    api.mount("/windlass", site(app, who=whoever_is_logged_in))
"""

from windlass.web.access.roles import Role, Visitor
from windlass.web.mounting import mounted
from windlass.web.site import site

__all__ = ["Role", "Visitor", "mounted", "site"]
