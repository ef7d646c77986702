"""The benchmarks run and write what they promise. That says nothing of speed: no test does."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.__main__ import chosen, groups
from bench.figure import Aim, Metric
from bench.report import Found, lines, table

ROOT = Path(__file__).resolve().parents[2]


def test_quick_drain_writes_well_formed_lines(tmp_path: Path) -> None:
    out = tmp_path / "out" / "results.jsonl"
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "drain", "--out", str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "drain" in done.stdout
    found = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["name"] for line in found] == ["drain", "drain / reference"]
    for line in found:
        assert set(line) == {"name", "store", "value", "unit", "floor", "ratio", "versions"}
        assert (line["store"], line["unit"]) == ("sqlite", "jobs/s")
        assert line["value"] > 0
        assert line["ratio"] == pytest.approx(line["value"] / line["floor"], abs=0.01)
        assert line["versions"]["python"] == sys.version.split()[0]


def test_a_name_stands_for_itself_before_it_stands_for_what_begins_so() -> None:
    assert [group.name for group in chosen(["drain"])] == ["drain"]
    assert [group.name for group in chosen(["drain-"])] == ["drain-400", "drain-keys", "drain-memory"]
    assert chosen([]) == groups()
    with pytest.raises(SystemExit, match=r"no figure is called dran; there are: .*drain"):
        chosen(["dran"])


def test_names_of_groups_are_distinct() -> None:
    names = [group.name for group in groups()]
    assert sorted(set(names)) == sorted(names)


def test_a_missed_aim_shows() -> None:
    metric = Metric("p50", "round trip", "ms", Aim(at_most=2.0))
    met, missed = Found("sqlite", metric, 1.9, 0.7, None, 1.0), Found("sqlite", metric, 2.1, 0.7, None, 1.0)
    assert "MISSED" not in table([met])
    assert "MISSED" in table([missed])


def test_a_share_is_of_the_reference_not_of_the_floor() -> None:
    found = Found("sqlite", Metric("drain", "drain", "jobs/s", Aim(share=0.5)), 50.0, 60.0, 120.0, 1.0)
    assert "MISSED" in table([found])
    assert [(line["name"], line["ratio"]) for line in lines(found, {})] == [
        ("drain", 0.833),
        ("drain / reference", 0.417),
    ]
