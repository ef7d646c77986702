"""A shop whose jobs are worth looking at: some are slow, some fail, some wait.

python shop.py    enqueue jobs, until it is stopped
"""

import asyncio
import random

from windlass import App, Retry

app = App()  # the store is the one of $WINDLASS_URL


@app.task(queue="mail")
async def send(to: str) -> None:
    await asyncio.sleep(random.expovariate(20))


@app.task(queue="payments", retry=Retry(attempts=3, delay=2))
async def charge(order: int) -> int:
    await asyncio.sleep(random.expovariate(5))
    if random.random() < 0.2:
        raise TimeoutError(f"no answer for order {order}")
    return order


@app.task(queue="reports")
async def report(day: int) -> None:
    await asyncio.sleep(random.uniform(1, 10))


async def buy() -> None:
    order = 0
    while True:
        order += 1
        await app.enqueue_many([charge.bind(order), send.bind(f"customer{order}@example.org")])
        if order % 20 == 0:
            await report.options(delay=5).enqueue(order)
        await asyncio.sleep(random.expovariate(10))


if __name__ == "__main__":
    asyncio.run(buy())
