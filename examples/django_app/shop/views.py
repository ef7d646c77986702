"""The pages: plain views under WSGI and ASGI alike, asynchronous ones await."""

import json

from django.db import transaction
from django.http import Http404, HttpRequest, JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from windlass import JobNotFound

from .models import Order
from .tasks import app, count_orders, ship


@csrf_exempt  # for curl; a page with a form keeps the check
@require_POST
@transaction.atomic
def create(request: HttpRequest) -> JsonResponse:
    """Take an order. The job is stored once the order is: a worker could not find it before."""
    order = Order.objects.create(item=json.loads(request.body)["item"])
    transaction.on_commit(lambda: ship.options(unique=f"order-{order.pk}").enqueue_sync(order.pk))
    return JsonResponse({"order": order.pk}, status=202)


@require_GET
def show(request: HttpRequest, order_id: int) -> JsonResponse:
    """Tell what became of an order."""
    order = get_object_or_404(Order, pk=order_id)
    return JsonResponse({"order": order.pk, "item": order.item, "parcel": order.parcel or None})


@csrf_exempt
@require_POST
async def start_count(request: HttpRequest) -> JsonResponse:
    """Have the shipped orders counted, from an asynchronous view."""
    job = await count_orders.enqueue()
    return JsonResponse({"job": job.id}, status=202)


@require_GET
async def show_count(request: HttpRequest, job_id: object) -> JsonResponse:
    """Tell how far it is."""
    job = app.job(str(job_id))
    try:
        status = await job.status()
    except JobNotFound:
        raise Http404("no such job") from None
    return JsonResponse({"status": status, "orders": await job.result() if status == "succeeded" else None})
