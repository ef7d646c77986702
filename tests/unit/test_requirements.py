"""What jobs need and workers offer, as text: one text for the same needs, read again without loss."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.errors import InvalidOption
from windlass.core.requirements import Needs, Offer, changed, parse, room, signature


@pytest.mark.parametrize(
    ("resources", "labels", "process", "expected"),
    [
        ({}, (), False, ""),
        ({}, (), True, "process"),
        ({"gpu": 1}, (), False, "gpu=1"),
        ({"memory": "4GiB", "gpu": 1}, ("zone=eu", "ssd"), True, "gpu=1,memory=4GiB,process,@ssd,@zone=eu"),
        ({"memory": 4 * 2**30}, (), False, "memory=4GiB"),
        ({"memory": "4096MiB"}, (), False, "memory=4GiB"),
        ({"memory": "1.5 GiB"}, (), False, "memory=1536MiB"),
        ({"memory": "500MB"}, (), False, "memory=500000000"),
        ({"disk": "2TiB"}, (), False, "disk=2TiB"),
        ({"cpu": 0.5}, (), False, "cpu=0.5"),
        ({"cpu": "2.50"}, (), False, "cpu=2.5"),
        ({"cpu": 1024}, (), False, "cpu=1024"),
        ({"gpu": 1.0}, (), False, "gpu=1"),
    ],
)
def test_the_signature_says_it_in_one_way(resources: Any, labels: Any, process: bool, expected: str) -> None:
    assert signature(resources, labels, process=process) == expected
    needs = parse(expected)
    assert needs is not None
    assert needs.process is process
    assert needs.labels == set(labels)
    assert {name for name, _ in needs.amounts} == set(resources)


NAMES = st.from_regex(r"\A[a-z][a-z0-9_.-]{0,31}\Z").filter(lambda name: name != "process")
AMOUNTS = st.integers(1, 2**60 * 1000)


@given(
    st.dictionaries(NAMES, AMOUNTS, max_size=8),
    st.sets(st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_.:/=-]{0,62}\Z"), max_size=8),
)
def test_what_is_said_is_read_again(amounts: dict[str, int], labels: set[str]) -> None:
    resources: dict[str, Any] = {name: f"{milli // 1000}.{milli % 1000:03d}" for name, milli in amounts.items()}
    said = signature(resources, labels)
    assert parse(said) == Needs(tuple(sorted(amounts.items())), frozenset(labels))
    assert str(Offer.of(resources, labels)) == said


@pytest.mark.parametrize("text", ["gpu", "gpu=", "gpu=x", "gpu=1,", ",", "=1 2", "gpu=-1", "processes", "gpu=1;cpu=2"])
def test_what_this_version_does_not_know_it_cannot_serve(text: str) -> None:
    assert parse(text) is None
    assert not Offer.of({"gpu": 9}).covers(parse(text))


@pytest.mark.parametrize(
    ("resources", "said"),
    [
        ({"GPU": 1}, "name 'GPU'"),
        ({"": 1}, "name ''"),
        ({"a" * 33: 1}, "lower-case letters"),
        ({"gpu\n": 1}, r"name 'gpu\n'"),
        ({1: 1}, "name 1"),
        ({"process": 1}, "executor='process'"),
        ({"gpu": 0}, "gpu=0: expected"),
        ({"gpu": -1}, "gpu=-1: expected"),
        ({"gpu": 0.0001}, "gpu=0.0001: expected"),
        ({"gpu": float("nan")}, "gpu=nan: expected"),
        ({"gpu": float("inf")}, "gpu=inf: expected"),
        ({"gpu": True}, "gpu=True: expected"),
        ({"gpu": None}, "gpu=None: expected"),
        ({"memory": "4 Gigs"}, "memory='4 Gigs': expected"),
        ({"memory": "4GB iB"}, "memory='4GB iB': expected"),
        ({"memory": "9999999999TiB"}, "expected"),
        ({"memory": "1e400"}, "expected"),
        ({f"r{n}": 1 for n in range(9)}, "9 are named; at most 8"),
        (["gpu"], "expected a mapping"),
        ("gpu=1", "expected a mapping"),
    ],
)
def test_impossible_resources_are_refused(resources: Any, said: str) -> None:
    with pytest.raises(InvalidOption, match="resources") as error:
        signature(resources)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ("ssd", "expected a list of words"),
        (7, "expected a list of words"),
        ([""], "labels: ''"),
        (["a b"], "labels: 'a b'"),
        (["@ssd"], "labels: '@ssd'"),
        (["a,b"], "labels: 'a,b'"),
        ([7], "labels: 7"),
        (["x" * 64], "up to 63"),
        ([f"l{n}" for n in range(9)], "9 are given; at most 8"),
    ],
)
def test_impossible_labels_are_refused(labels: Any, said: str) -> None:
    with pytest.raises(InvalidOption, match="labels") as error:
        signature(None, labels)
    assert said in str(error.value)


def test_a_job_may_ask_for_other_things_than_its_task() -> None:
    of_task = "cpu=2,process,@ssd"
    assert changed(of_task, {"gpu": 1}, None) == "gpu=1,process,@ssd"
    assert changed(of_task, None, ["eu"]) == "cpu=2,process,@eu"
    assert changed(of_task, {}, []) == "process"


def test_an_offer_covers_what_fits_into_all_of_it() -> None:
    offer = Offer.of({"gpu": 2, "cpu": 1.5, "tape": 0}, ["ssd"])
    for fits in ("", "gpu=2", "cpu=1.5,gpu=1,@ssd", "process", "@ssd"):
        assert offer.covers(parse(fits)), fits
    for too_much in ("gpu=2.001", "cpu=2", "tape=1", "memory=1", "@eu", "gpu=1,@eu"):
        assert not offer.covers(parse(too_much)), too_much


def test_room_is_bounded_by_what_is_scarcest() -> None:
    needs = parse("cpu=1,gpu=2")
    assert needs is not None
    assert room(needs, {"cpu": 9000, "gpu": 5000}) == 2
    assert room(needs, {"cpu": 1000, "gpu": 5000}) == 1
    assert room(needs, {"cpu": 9000}) == 0
    assert room(Needs(), {}) is None
