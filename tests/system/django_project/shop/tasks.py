"""The tasks of the project, set up as docs/how-to/use-from-blocking-code.md says."""

import os

import django
from django.apps import apps

from windlass import App, Middleware

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
if not apps.ready:
    django.setup()

from django.db import close_old_connections

from shop.models import Order


class CloseConnections(Middleware):
    def before(self, attempt, headers):
        close_old_connections()

    def after(self, attempt, error):
        close_old_connections()


app = App(os.environ["WINDLASS_URL"], middleware=[CloseConnections()])


@app.task
def send(order_id: int) -> str:
    order = Order.objects.get(pk=order_id)
    order.sent += 1
    order.save()
    return order.name
