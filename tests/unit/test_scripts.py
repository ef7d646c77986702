"""The scripts of the Redis store: each is whole, and says what it may do."""

import hashlib
import re
from pathlib import Path

import pytest

from windlass.store.scripts import names, script

READING = {
    "backlog", "counts", "due_schedules", "get_documents", "get_jobs", "get_schedules", "lane", "lanes", "limits",
    "list_documents", "list_jobs", "list_schedules", "now", "open_parents", "queues", "rate_waits", "results",
    "running", "sessions",
}  # fmt: skip
STORING = {"enqueue", "fire", "put_documents", "put_schedules"}
FOLDER = Path(__file__).parents[2] / "src/windlass/store/lua"


def test_only_what_stores_something_new_may_not_run_where_memory_is_short() -> None:
    """So that a full server drains."""
    flags = {name: script(name).text.splitlines()[0] for name in names()}
    expected = {
        name: "#!lua flags=no-writes,allow-oom" if name in READING else "#!lua flags=allow-oom" for name in flags
    }
    assert flags == expected | dict.fromkeys(STORING, "#!lua")


@pytest.mark.parametrize("name", names())
def test_each_says_what_it_takes_and_answers(name: str) -> None:
    head = (FOLDER / f"{name}.lua").read_text().splitlines()[1:10]
    assert head[0].startswith("-- KEYS namespace")
    assert any(line.startswith("-- ->") for line in head)


@pytest.mark.parametrize("name", names())
def test_the_digest_is_that_of_the_text(name: str) -> None:
    found = script(name)
    assert found.digest == hashlib.sha1(found.text.encode()).hexdigest()
    assert "--!include" not in found.text


def test_scripts_build_no_scripts() -> None:
    """Nothing that comes from a caller is ever run."""
    for file in FOLDER.glob("*.lua"):
        assert not re.search(r"\b(loadstring|loadfile|dofile|setfenv|EVAL|eval)\b", file.read_text()), file.name


def test_scripts_touch_keys_of_their_namespace_only() -> None:
    """A call names its key by what begins with the namespace, or by a variable that was made so."""
    for file in FOLDER.glob("*.lua"):
        for key in re.findall(r"call\('[A-Z]+', ('[^']*')", file.read_text()):
            assert key == "'SHARDNUMSUB'", f"{file.name}: {key}"
