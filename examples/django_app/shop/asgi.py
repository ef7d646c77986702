"""A shop that hands slow work to workers.

    cd examples/django_app
    python manage.py migrate
    windlass worker --app shop.worker:app &
    uvicorn shop.asgi:application
    curl localhost:8000/orders --json '{"item": "a windlass"}'

The answer names the order; GET /orders/<order> tells the number of its parcel, once it is shipped. Staff who are logged
in see the web UI under /windlass.
"""

import os

from django.core.asgi import get_asgi_application

from windlass.web import mounted, site

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
django = get_asgi_application()

from .staff import who  # noqa: E402 - Django has to be set up before
from .tasks import app  # noqa: E402

application = mounted(site(app, who=who), "/windlass", django)
