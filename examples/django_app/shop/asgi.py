"""A shop that hands slow work to workers.

    cd examples/django_app
    python manage.py migrate
    windlass worker --app shop.worker:app &
    uvicorn shop.asgi:application
    curl localhost:8000/orders --json '{"item": "a windlass"}'

The answer names the order; GET /orders/<order> tells the number of its parcel, once it is shipped.
"""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
application = get_asgi_application()
