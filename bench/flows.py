"""The app of the workflow figures: graphs that are nothing but edges, and tasks that are nothing but calls."""

import random
from typing import Any

from windlass import App, Step

app = App()


@app.task
async def one(n: int) -> int:
    return n


@app.task
async def length(numbers: list[int]) -> int:
    return len(numbers)


@app.task
async def numbers(n: int) -> list[int]:
    return list(range(n))


@app.task
async def node(a: int = 0, b: int = 0, c: int = 0) -> int:
    return a + b + c


@app.task
def square(n: int) -> int:
    return n * n


@app.workflow
def fan(n: int) -> Step[int]:
    return length.step([one.step(i) for i in range(n)])


@app.workflow
def mapped(n: int) -> Step[int]:
    return length.step(one.map(numbers.step(n)))


@app.workflow
def dag(n: int) -> None:
    rng = random.Random(7)
    steps: list[Step[int]] = []
    for i in range(n):
        near = steps[-200:]
        chosen: list[Any] = rng.sample(near, min(i, len(near), rng.randint(0, 3)))
        steps.append(node.step(**dict(zip("abc", chosen, strict=False))))


@app.workflow
def chained(n: int) -> Step[int]:
    last = one.step(0)
    for _ in range(n - 1):
        last = one.step(last)
    return last
