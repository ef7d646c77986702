"""One application over several stores, each a shard with workers of its own. ``python examples/shards.py``

A shard is a URL. Here they are files, and their workers run inside the program. Where one store is not enough they are
namespaces, databases or servers, with workers for each; then ``python examples/shards.py outside`` leaves it to them:

    export SHARDS="redis://a.example.org/0?namespace=shop-0 redis://b.example.org/0?namespace=shop-1"
    WINDLASS_URL="redis://a.example.org/0?namespace=shop-0" windlass worker --app shards:app
    WINDLASS_URL="redis://b.example.org/0?namespace=shop-1" windlass worker --app shards:app
"""

import asyncio
import os
import sys
from collections import Counter
from contextlib import AsyncExitStack

from windlass import App, Task

URLS = os.environ.get("SHARDS", "sqlite:///shard-0.db sqlite:///shard-1.db sqlite:///shard-2.db").split()

app = App()  # what a worker runs: for the shard that WINDLASS_URL names
shards = [App(url) for url in URLS]  # what the program enqueues with


def bill(customer: int, month: str) -> str:
    return f"customer {customer}: {month}"


app.task(bill)
bills: list[Task[[int, str], str]] = [shard.task(bill) for shard in shards]


def bill_for(customer: int) -> Task[[int, str], str]:
    """What belongs together goes together: unique keys, limits and dependencies hold within a shard."""
    return bills[customer % len(bills)]


async def main(customers: int = 30) -> None:
    async with AsyncExitStack() as workers:
        if "outside" not in sys.argv:
            for shard in shards:
                await workers.enter_async_context(shard.worker())
        jobs = {customer: await bill_for(customer).enqueue(customer, "May") for customer in range(customers)}
        for customer, job in jobs.items():
            assert await job.result(timeout=30) == f"customer {customer}: May"
        billed = Counter(customer % len(shards) for customer in jobs)
        print(f"{customers} customers billed; of each shard: {[billed[number] for number in range(len(shards))]}")
    for shard in shards:
        await shard.aclose()


if __name__ == "__main__":
    asyncio.run(main())
