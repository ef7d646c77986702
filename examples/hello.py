"""One file, one process: a worker runs inside the program. ``python examples/hello.py``"""

import asyncio

from windlass import App

app = App("memory://")


@app.task
async def greet(name: str) -> str:
    return f"Hello, {name}!"


@app.task
def square(number: int) -> int:
    """A plain function: it runs in a thread."""
    return number * number


async def main() -> None:
    async with app.worker():
        job = await greet.enqueue("world")
        print(await job.result(timeout=10))
        jobs = await app.enqueue_many(square.bind(n) for n in range(10))
        print([await job.result(timeout=10) for job in jobs])


if __name__ == "__main__":
    asyncio.run(main())
