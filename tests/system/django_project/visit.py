"""Visits the pages, plainly and under ASGI, and prints what became of the orders."""  # noqa: INP001 - a script

import asyncio

import shop.tasks  # noqa: F401 - sets Django up
from django.core.management import call_command
from django.test import AsyncClient, Client
from shop.models import Order

call_command("migrate", run_syncdb=True, verbosity=0)
client = Client()


def check(response):
    assert response.status_code == 200, response.content
    return response.json()


orders = [check(client.get(f"/create/plain{n}")) for n in range(5)]


async def visit_async():
    pages = AsyncClient()
    return [check(await pages.get(f"/create-async/async{n}")) for n in range(5)]


orders += asyncio.run(visit_async())
print([check(client.get(f"/result/{order['job']}"))["result"] for order in orders])  # noqa: T201 - read by the test
print(sorted(Order.objects.values_list("sent", flat=True)))  # noqa: T201 - read by the test
