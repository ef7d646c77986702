from django.db import transaction
from django.http import JsonResponse
from django.urls import path

from shop.models import Order
from shop.tasks import app, send


def create(request, name):
    """A plain view: the job is enqueued once the transaction has committed."""
    jobs = []
    with transaction.atomic():
        order = Order.objects.create(name=name)
        transaction.on_commit(lambda: jobs.append(send.enqueue_sync(order.id)))
    return JsonResponse({"order": order.id, "job": jobs[0].id})


async def create_async(request, name):
    """The same under ASGI."""
    order = await Order.objects.acreate(name=name)
    job = await send.enqueue(order.id)
    return JsonResponse({"order": order.id, "job": job.id})


def result(request, job):
    return JsonResponse({"result": app.job(job).result_sync(timeout=20)})


urlpatterns = [path("create/<name>", create), path("create-async/<name>", create_async), path("result/<job>", result)]
