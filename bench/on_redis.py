"""The figures of the Redis store: the probes of the others, on a private server."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import uvloop

from bench import depth as depths
from bench import drain as drains
from bench import enqueue as enqueues
from bench import roundtrip
from bench.figure import Aim, Group, Metric, Probe
from tests.servers.redis import RedisServer


def _served(probe: Callable[..., dict[str, float]], folder: Path, **arguments: object) -> dict[str, float]:
    with RedisServer("--appendfsync", "everysec") as server:
        os.environ["BENCH_URL"] = server.url
        return probe(folder, **arguments)


def drain(folder: Path, *, jobs: int, options: list[str]) -> dict[str, float]:
    """Jobs per second of real worker processes."""
    return _served(drains.sqlite, folder, jobs=jobs, options=tuple(options))


def bulk(folder: Path, *, jobs: int) -> dict[str, float]:
    """Jobs per second of `App.enqueue_many`."""
    return _served(enqueues.bulk, folder, jobs=jobs)


def coroutines(folder: Path, *, jobs: int, at_once: int) -> dict[str, float]:
    """Jobs per second of so many coroutines."""
    return _served(enqueues.coroutines, folder, jobs=jobs, at_once=at_once)


def trips(folder: Path, *, trips: int) -> dict[str, float]:
    """From `enqueue` to the result, across processes, while all is idle."""
    return _served(roundtrip.ours, folder, trips=trips)


def depth(folder: Path, *, few: int, many: int, measured: int) -> dict[str, float]:
    """Cost per job of settle with claim, while few and while many wait; taken in turns."""
    del folder  # the server has one of its own
    with RedisServer("--appendfsync", "everysec") as server:
        urls = {count: f"{server.url}?namespace=n{count}" for count in (few, many)}
        return uvloop.run(depths.compare(urls, few, many, measured))


def _drain(name: str, slots: int, options: list[str], aim: Aim | None, jobs: int) -> Group:
    return Group(
        name=name,
        store="redis",
        metrics=(Metric("drain", name, "jobs/s", aim),),
        ours=Probe("bench.on_redis:drain", {"options": options}),
        floor=Probe("bench.floors.redis_queue:drain", {"floor": "promises", "slots": slots}),
        reference=Probe("bench.floors.redis_queue:drain", {"floor": "reference", "slots": slots}),
        scale={"jobs": jobs},
        quick={"jobs": 3_000},
    )


def _enqueue(name: str, key: str, scale: dict[str, object], share: float, quick: int) -> Group:
    return Group(
        name=name,
        store="redis",
        metrics=(Metric(key, name, "jobs/s", Aim(of_floor=share)),),
        ours=Probe(f"bench.on_redis:{key}"),
        floor=Probe(f"bench.floors.redis_queue:{key}", {"floor": "promises"}),
        reference=Probe(f"bench.floors.redis_queue:{key}", {"floor": "reference"}),
        scale=scale,
        quick={"jobs": quick},
    )


GROUPS = [
    _drain("redis-drain", 100, [], Aim(of_floor=0.9), 60_000),
    _drain("redis-drain-400", 400, ["--concurrency", "400"], Aim(of_floor=0.9), 60_000),
    _drain("redis-drain-2", 200, ["--processes", "2", "--concurrency", "200"], None, 100_000),
    _enqueue("redis-enqueue-bulk", "bulk", {"jobs": 100_000}, 0.7, 5_000),
    _enqueue("redis-enqueue-100", "coroutines", {"jobs": 40_000, "at_once": 100}, 0.5, 2_000),
    Group(
        name="redis-round-trip",
        store="redis",
        metrics=(
            Metric("p50", "redis-round-trip p50", "ms", Aim(at_most=1.0)),
            Metric("p99", "redis-round-trip p99", "ms"),
        ),
        ours=Probe("bench.on_redis:trips"),
        floor=Probe("bench.floors.redis_roundtrip:trips"),
        scale={"trips": 500},
        quick={"trips": 50},
    ),
    Group(
        name="redis-depth",
        store="redis",
        metrics=(
            Metric("ratio", "redis-depth: 1 M waiting / 10 k", "x", Aim(at_most=1.2)),
            Metric("many", "redis claim + settle, 1 M waiting", "us/job"),
            Metric("few", "redis claim + settle, 10 k waiting", "us/job"),
        ),
        ours=Probe("bench.on_redis:depth"),
        scale={"few": 10_000, "many": 1_000_000, "measured": 40_000},
        quick={"few": 1_000, "many": 20_000, "measured": 4_000},
        rounds=1,
    ),
]
