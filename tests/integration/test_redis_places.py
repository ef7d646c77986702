"""Where a Redis store may be: behind a Unix socket, TLS and passwords, in a cluster; and what forks do to it."""

import asyncio
import multiprocessing
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.redis_harness import enqueue, store_on, url_of
from tests.integration.sqlite_harness import new_job, open_session, request
from tests.servers.certificates import make_certificates
from tests.servers.redis import RedisCluster, RedisServer
from tests.servers.server import free_port
from windlass.core.errors import StoreReadOnly, StoreUnavailable
from windlass.core.lifecycle import Outcome, State
from windlass.core.model import Progress, Settled, Settlement
from windlass.store.redis import RedisStore


async def serves(store: RedisStore, jobs: int = 300) -> None:
    """Bring jobs through the store, and hear of it."""
    await store.connect()
    heard = asyncio.Event()
    subscription = store.subscribe(["ready/default"], heard.set)
    await enqueue(store, *(new_job() for _ in range(jobs)))
    async with asyncio.timeout(10):
        await heard.wait()
    subscription.close()
    session = await open_session(store)
    number = 0
    while taken := (await store.claim(session, request(number := number + 1))).jobs:
        done = [Settlement(job.id, job.token, Outcome.SUCCEEDED) for job in taken]
        assert (await store.settle(session, done)).answers == [Settled.APPLIED] * len(taken)
    assert await store.counts() == {("default", State.SUCCEEDED): jobs}


async def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    with RedisServer("--unixsocket", str(path)):
        async with store_on(f"unix://{path}?namespace=a") as store:
            await serves(store)


async def test_databases_and_namespaces_are_apart(redis_server: RedisServer) -> None:
    base = f"redis://127.0.0.1:{redis_server.port}"
    for url in (f"{base}/1", f"{base}/2", f"{base}/2?namespace=a", f"{base}/2?namespace=b"):
        async with store_on(url) as store:
            await serves(store, 3)
    redis_server.flush()


async def test_passwords(tmp_path: Path) -> None:
    with RedisServer("--requirepass", "open sesame") as server:
        async with store_on(f"redis://:open%20sesame@127.0.0.1:{server.port}") as store:
            await serves(store)
        async with store_on(f"redis://:sesame@127.0.0.1:{server.port}") as store:
            with pytest.raises(StoreUnavailable) as caught:
                await store.connect()
            assert "sesame" not in str(caught.value)


async def test_an_access_list_as_the_manual_has_it() -> None:
    page = (Path(__file__).parents[2] / "docs/how-to/use-redis.md").read_text()
    (rule,) = re.findall(r"^ACL SETUSER .*?(?=^```)", page, re.MULTILINE | re.DOTALL)
    with RedisServer() as server:
        assert server.ask(" ".join(rule.split()).encode() + b"\r\n") == b"+OK\r\n"
        async with store_on(f"redis://windlass:password@127.0.0.1:{server.port}") as store:
            await serves(store)
            assert await store.release_edges() == Progress(0)
        async with store_on(f"redis://windlass:password@127.0.0.1:{server.port}?namespace=other") as store:
            with pytest.raises(StoreReadOnly, match="may not do what a store must"):
                await store.now()


# ----------------------------------------------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority of our own, and a certificate by it for 127.0.0.1."""
    return make_certificates(tmp_path_factory.mktemp("tls"), "127.0.0.1")


@pytest.fixture
def tls_server(certificates: Path) -> Iterator[tuple[RedisServer, int]]:
    port = free_port()
    files = (f"--tls-{what}-file {certificates / name}".split() for what, name in
             (("cert", "server.pem"), ("key", "server.key"), ("ca-cert", "ca.pem")))  # fmt: skip
    options = ["--tls-port", str(port), "--tls-auth-clients", "no", *(part for pair in files for part in pair)]
    with RedisServer(*options) as server:
        yield server, port


async def test_tls(tls_server: tuple[RedisServer, int], certificates: Path) -> None:
    _, port = tls_server
    async with store_on(f"rediss://127.0.0.1:{port}?ca={certificates / 'ca.pem'}") as store:
        await serves(store)


async def test_certificates_and_names_in_them_are_verified(
    tls_server: tuple[RedisServer, int], certificates: Path
) -> None:
    _, port = tls_server
    for url in (f"rediss://127.0.0.1:{port}", f"rediss://localhost:{port}?ca={certificates / 'ca.pem'}"):
        async with store_on(url) as store:
            with pytest.raises(StoreUnavailable, match=r"(?i)certificate"):
                await store.connect()


# ------------------------------------------------------------------------------------------------- clusters


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    with RedisCluster(masters=3) as cluster:
        yield cluster


async def test_a_cluster_is_entered_by_any_node(cluster: RedisCluster) -> None:
    homes = set()
    for number, node in enumerate(cluster.nodes):
        async with store_on(f"redis://127.0.0.1:{node.port}?namespace=entered{number}") as store:
            await serves(store)
            homes.add(store.node)
    assert len(homes) > 1, "namespaces are spread over the nodes"
    assert homes <= {("127.0.0.1", node.port) for node in cluster.nodes}


async def test_a_namespace_that_moves_is_followed(cluster: RedisCluster) -> None:
    """Another master takes the slot over while a store has connections to the first."""
    async with store_on(f"redis://127.0.0.1:{cluster.nodes[0].port}?namespace=moves") as store:
        await serves(store, 3)
        heard = asyncio.Event()
        store.subscribe(["ready/default"], heard.set)
        await store.now()
        before = store.node
        await asyncio.to_thread(cluster.move_slot, "{moves}")
        async with asyncio.timeout(20):
            while True:
                try:
                    await enqueue(store, new_job())
                    break
                except StoreUnavailable:
                    continue
        assert store.node != before
        assert await store.counts() == {("default", State.SUCCEEDED): 3, ("default", State.READY): 1}
        async with asyncio.timeout(20):
            await heard.wait()
        await store.now()
        heard.clear()
        await enqueue(store, new_job())
        async with asyncio.timeout(10):
            await heard.wait()


async def test_another_node_is_asked_where_the_first_is_gone(cluster: RedisCluster) -> None:
    async with store_on(f"redis://127.0.0.1:{cluster.nodes[0].port}?namespace=entered0") as store:
        await store.connect()
        home = next(node for node in cluster.nodes if ("127.0.0.1", node.port) == store.node)
        home.kill()
        try:
            for _ in range(3):
                with pytest.raises(StoreUnavailable):
                    await store.counts()
        finally:
            home.start()
        async with asyncio.timeout(30):
            while True:
                try:
                    assert await store.counts() == {("default", State.SUCCEEDED): 300}
                    break
                except StoreUnavailable:
                    await asyncio.sleep(0.1)


# ---------------------------------------------------------------------------------------------------- forks


async def test_a_forked_child_has_connections_of_its_own(redis_server: RedisServer) -> None:
    store = RedisStore(url_of(redis_server, namespace="forked"))
    await store.connect()
    await enqueue(store, *(new_job() for _ in range(10)))

    def child() -> None:
        async def use() -> None:
            assert await store.counts() == {("default", State.READY): 10}
            await enqueue(store, *(new_job() for _ in range(10)))
            await store.aclose()

        asyncio.run(use())
        os._exit(0)

    calls = [asyncio.create_task(store.counts()) for _ in range(3)]
    await asyncio.sleep(0)  # so that the fork finds them under way
    process = multiprocessing.get_context("fork").Process(target=_elsewhere, args=(child,))
    process.start()
    assert all([call.result() or await call for call in calls if call.done()] or [True])
    await asyncio.gather(*calls)
    await asyncio.to_thread(process.join)
    assert process.exitcode == 0
    assert await store.counts() == {("default", State.READY): 20}
    await store.aclose()
    redis_server.flush()


def _elsewhere(child) -> None:  # type: ignore[no-untyped-def]
    """The child has its parent's running loop: a thread of its own has none."""
    import threading

    thread = threading.Thread(target=child)
    thread.start()
    thread.join()
    os._exit(1)
