"""``windlass worker --metrics``: what workers have counted, whatever becomes of them."""

import asyncio
import os
import signal
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest

from tests.integration.test_metrics import SHOP, TOKEN, fetch, wait_for, windlass, worked
from tests.servers.server import find_binary
from windlass import App
from windlass.engine.counted import MOST_TASKS, UNKNOWN


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(SHOP)
    return tmp_path


def enqueue(folder: Path, task: str, count: int, *arguments: object) -> None:
    app = App(f"sqlite:///{folder}/w.db")
    found = app.task(name=task, queue="naps")(nap)

    async def store() -> None:
        await app.enqueue_many([found.bind(*arguments) for _ in range(count)])
        await app.aclose()

    asyncio.run(store())


async def nap(seconds: float = 0.0) -> None: ...


def attempts(figures: dict[str, float], task: str, outcome: str) -> float:
    return figures.get(f'windlass_attempts_total{{outcome="{outcome}",queue="naps",task="{task}"}}', 0.0)


def children(folder: Path, address: str) -> list[int]:
    import json

    with urllib.request.urlopen(address.replace("/metrics", "/healthz"), timeout=20) as answer:
        return [process["pid"] for process in json.load(answer)["processes"] if process["state"] == "working"]


def test_all_processes_are_counted_together_and_the_dead_are_not_forgotten(folder: Path) -> None:
    with worked(folder, "--processes", "2", "--concurrency", "5", "--grace", "0.5") as address:
        wait_for(lambda: fetch(address)['windlass_processes{state="working"}'] == 2)
        enqueue(folder, "nap", 40, 0.05)
        enqueue(folder, "fail", 3)
        wait_for(lambda: attempts(fetch(address), "nap", "succeeded") == 40)
        wait_for(lambda: attempts(fetch(address), "fail", "dead") == 3)
        found = fetch(address)
        assert attempts(found, "fail", "failed") == 3
        assert found['windlass_run_seconds_count{queue="naps",task="nap"}'] == 40
        assert 40 * 0.05 <= found['windlass_run_seconds_sum{queue="naps",task="nap"}'] < 40
        assert found['windlass_wait_seconds_count{queue="naps",task="nap"}'] == 40
        assert found["windlass_process_slots"] == 10
        assert found["windlass_process_resident_memory_bytes"] > 2 * 10**7
        assert found["windlass_taken_back_jobs_total"] == 0
        enqueue(folder, "nap", 1, 60)
        wait_for(lambda: fetch(address)["windlass_process_slots_used"] == 1)
        for pid in children(folder, address):
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda pid=pid: pid not in children(folder, address) and len(children(folder, address)) == 2)
        found = fetch(address)
        assert found["windlass_process_deaths_total"] == 2
        assert attempts(found, "nap", "succeeded") == 40, "counted by processes that are gone"
        assert found["windlass_process_slots"] == 10, "of those that are there"
        enqueue(folder, "nap", 2, 0.0)
        wait_for(lambda: attempts(fetch(address), "nap", "succeeded") == 42)
        wait_for(lambda: 1 <= fetch(address)["windlass_taken_back_jobs_total"] <= 2)


def test_a_process_that_was_replaced_did_not_die_and_is_not_forgotten(folder: Path) -> None:
    with worked(folder, "--recycle-jobs", "5") as address:
        enqueue(folder, "nap", 10, 0.0)
        wait_for(lambda: attempts(fetch(address), "nap", "succeeded") == 10)
        wait_for(lambda: fetch(address)['windlass_processes{state="leaving"}'] == 0)
        found = fetch(address)
        assert attempts(found, "nap", "succeeded") == 10
        assert found["windlass_process_deaths_total"] == 0


def test_who_does_not_show_the_token_sees_no_figures(folder: Path) -> None:
    with worked(folder, WINDLASS_METRICS_TOKEN=TOKEN) as address:
        assert fetch(address, TOKEN)["windlass_process_deaths_total"] == 0
        for wrong in (None, "", TOKEN[:-1], TOKEN + "x"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                fetch(address, wrong)
            with refused.value as answer:
                assert (answer.code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
                assert b"windlass_" not in answer.read()
        with urllib.request.urlopen(address.replace("/metrics", "/healthz"), timeout=20) as answer:
            assert answer.status == 200, "probes show nothing"


def test_a_token_may_have_come_from_a_file(folder: Path) -> None:
    with worked(folder, WINDLASS_METRICS_TOKEN=f"{TOKEN}\n") as address:
        assert fetch(address, TOKEN)["windlass_process_deaths_total"] == 0
        request = urllib.request.Request(address, headers={"Authorization": f"bearer {TOKEN}"})
        with urllib.request.urlopen(request, timeout=20) as answer:
            assert answer.status == 200, "the scheme's name has no case"


def test_names_from_outside_push_nobody_out(folder: Path) -> None:
    with worked(folder) as address:
        for number in range(MOST_TASKS + 50):
            enqueue(folder, f"unheard.of.{number}", 1)
        wait_for(lambda: attempts(fetch(address), UNKNOWN, "undeliverable") >= MOST_TASKS + 50)
        enqueue(folder, "nap", 3)
        wait_for(lambda: attempts(fetch(address), "nap", "succeeded") == 3)
        found = fetch(address)
        assert not any("unheard" in name for name in found)
        waits = f'windlass_wait_seconds_count{{queue="naps",task="{UNKNOWN}"}}'
        assert found[waits] == MOST_TASKS + 50, "each once, however often it was claimed"


@pytest.mark.parametrize("task", ["nap", "block", "apart"])
def test_what_is_given_back_is_counted_and_has_waited_once(folder: Path, task: str) -> None:
    with worked(folder, "--grace", "0.5", "--process-slots", "2") as address:
        enqueue(folder, task, 2, 60)
        wait_for(lambda: fetch(address)["windlass_process_slots_used"] == 2)
        if task == "apart":  # children are on their way
            wait_for(lambda: len(psutil.Process(children(folder, address)[0]).children()) == 2)
        (before,) = children(folder, address)
        os.kill(psutil.Process(before).ppid(), signal.SIGHUP)
        wait_for(lambda: children(folder, address) not in ([], [before]))
        wait_for(lambda: attempts(fetch(address), task, "released") == 2)
        wait_for(lambda: fetch(address)["windlass_process_slots_used"] == 2)
        assert fetch(address)[f'windlass_wait_seconds_count{{queue="naps",task="{task}"}}'] == 2


def test_a_job_for_which_no_process_starts_is_undeliverable(folder: Path) -> None:
    with worked(folder, "--memory-limit-per-child", "16MiB") as address:
        enqueue(folder, "apart", 2, 0)
        wait_for(lambda: attempts(fetch(address), "apart", "undeliverable") >= 2)


@pytest.mark.parametrize("accept", ["text/plain; version=abc", "application/openmetrics-text; version=,q=", "\xff", ""])
def test_whatever_a_visitor_asks_for_it_is_answered(folder: Path, accept: str) -> None:
    with worked(folder) as address:
        request = urllib.request.Request(address, headers={"Accept": accept})
        with urllib.request.urlopen(request, timeout=20) as answer:
            assert b"windlass_processes" in answer.read()
        wait_for(lambda: len(children(folder, address)) == 1)  # it may have opened its session just now


def test_promtool_has_nothing_to_say_against_it(folder: Path) -> None:
    with worked(folder) as address:
        enqueue(folder, "fail", 1)
        wait_for(lambda: attempts(fetch(address), "fail", "dead") == 1)
        with urllib.request.urlopen(address, timeout=20) as answer:
            page = answer.read()
            assert answer.headers["Content-Type"].startswith("text/plain; version=")
    promtool = find_binary("promtool", "prometheus")
    subprocess.run([promtool, "check", "metrics"], input=page, check=True, timeout=60)


@pytest.mark.parametrize(
    ("arguments", "token", "said"),
    [
        ((), "", "--health"),
        (("--health", "0.0.0.0:0"), "", "WINDLASS_METRICS_TOKEN"),
        (("--health", "[::]:0"), "", "WINDLASS_METRICS_TOKEN"),
        (("--health", "0"), "short", "the token has 5 characters"),
        (("--health", "0"), "das geheime Wörtchen", "expected printable ASCII"),
    ],
)
def test_where_figures_must_not_be_shown(folder: Path, arguments: tuple[str, ...], token: str, said: str) -> None:
    command = windlass("worker", "--app", "shop:app", "--metrics", *arguments)
    environment = {**os.environ, "WINDLASS_METRICS_TOKEN": token}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment, cwd=folder)
    assert done.returncode == 2
    assert said in done.stderr


def test_without_the_option_there_is_no_such_page(folder: Path) -> None:
    from tests.system.supervised import Supervised

    with Supervised(windlass("worker", "--app", "shop:app", "--health", "127.0.0.1:0"), folder) as supervisor:
        found = supervisor.next(r"answers (http://\S+)/healthz and /readyz")
        supervisor.ready()
        with pytest.raises(urllib.error.HTTPError) as missing:
            urllib.request.urlopen(f"{found[1]}/metrics", timeout=20)
        with missing.value as answer:
            assert answer.code == 404
        supervisor.signal(signal.SIGTERM)
        assert supervisor.ended() == 0
