"""Follow a long job, then change your mind. ``python examples/progress_and_cancel.py``"""

import asyncio

from windlass import App, JobCancelled, current

app = App("memory://")


@app.task
async def copy(chunks: int, pause: float) -> int:
    """A coroutine needs to do nothing to be cancelled: it is, at its next await."""
    for done in range(chunks):
        current().progress(done / chunks, f"chunk {done + 1} of {chunks}")
        await asyncio.sleep(pause)
    return chunks


@app.task
def count_in_a_thread(until: int) -> int:
    """A thread cannot be stopped from outside: it has to look."""
    for number in range(until):
        if current().wait_cancelled(0.05):
            current().log(f"stopped at {number}")
            current().raise_if_cancelled()
    return until


async def main() -> None:
    async with app.worker():
        long = [await copy.enqueue(1000, 0.05), await count_in_a_thread.enqueue(1000)]
        for _ in range(100):
            await asyncio.sleep(0.1)
            info = await long[0].info()
            if info.progress:
                print(f"{info.status}: {info.progress:.1%}, {info.message}")
                break
        for job in long:
            await job.cancel()
        for job in long:
            try:
                await job.result(timeout=10)
            except JobCancelled as error:
                print(f"cancelled: {error}")
        print(await (await copy.enqueue(3, 0)).result(timeout=10), "chunks, this time to the end")


if __name__ == "__main__":
    asyncio.run(main())
