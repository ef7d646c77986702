"""The example of one application over several namespaces, as somebody would run it: workers for each, and a program."""

import os
import subprocess
import sys
import uuid
from contextlib import ExitStack
from pathlib import Path

from tests.integration.redis_harness import store_on
from tests.servers.redis import RedisServer
from tests.system.supervised import Supervised, worker_command
from windlass.core.lifecycle import State

EXAMPLES = Path(__file__).parents[2] / "examples"


def run_program(urls: list[str]) -> str:
    program = subprocess.run(
        [sys.executable, "-W", "error", "shards.py", "outside"],
        cwd=EXAMPLES, env={**os.environ, "SHARDS": " ".join(urls)},
        text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=50,
    )  # fmt: skip
    assert program.returncode == 0, program.stdout
    return program.stdout


async def test_each_shard_has_its_jobs_done_by_its_workers(redis_server: RedisServer) -> None:
    base = f"redis://127.0.0.1:{redis_server.port}/0?namespace={uuid.uuid4().hex}"
    urls = [f"{base}-{number}" for number in range(2)]
    with ExitStack() as stack:
        for url in urls:
            command = worker_command("--app", "shards:app")
            stack.enter_context(Supervised(command, EXAMPLES, {"WINDLASS_URL": url, "SHARDS": " ".join(urls)})).ready()
        assert "30 customers billed; of each shard: [15, 15]" in run_program(urls)
    for url in urls:
        async with store_on(url) as store:
            assert await store.counts() == {("default", State.SUCCEEDED): 15}
    redis_server.flush()
