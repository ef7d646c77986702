"""The tasks of the shop."""

from django.conf import settings
from django.db import close_old_connections

from windlass import App, Current, Middleware, Retry

from .models import Order


class DatabaseConnections(Middleware):
    """Around every attempt what Django does around every request: let go of connections that are too old or broken.

    Connections belong to threads, and hooks run in the thread of the task.
    """

    def before(self, attempt: Current, headers: dict[str, str]) -> None:
        close_old_connections()

    def after(self, attempt: Current, error: BaseException | None) -> None:
        close_old_connections()


app = App(settings.WINDLASS_URL, middleware=[DatabaseConnections()])


@app.task(queue="shipping", retry=Retry(attempts=5), timeout=60)
def ship(order_id: int) -> str:
    """Ship an order. A second run changes nothing: only an order without a parcel gets one."""
    Order.objects.filter(pk=order_id, parcel="").update(parcel=f"P{order_id:06}")
    return Order.objects.values_list("parcel", flat=True).get(pk=order_id)


@app.task
def count_orders() -> int:
    """Count what has been shipped."""
    return Order.objects.exclude(parcel="").count()
